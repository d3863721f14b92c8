"""Rows of a corpus as the input of a model: audio, words, or audio with the vectors of the words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from melt_ser.corpora.corpus import Corpus
from melt_ser.data.datasets import ClipDataset, WaveformDataset
from melt_ser.data.words import TextDataset
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.families.text import TextBackbone


def read_utterances(model: SpeechClassifier, table: pd.DataFrame, corpus: Corpus, **of_audio: Any) -> ClipDataset:
    """Return rows of a corpus, with a column `class`, as the input of a model.

    of_audio: further arguments of `WaveformDataset`; words have none of them.
    """
    backbone = model.backbone
    if isinstance(backbone, TextBackbone):
        return TextDataset(table, corpus.root, model.classes, backbone.tokenise)
    utterances = WaveformDataset(table, corpus.root, model.classes, backbone.do_normalize, **of_audio)
    if model.text is not None:
        utterances.text = model.text.of(table["text"].tolist(), backbone.device)
    return utterances
