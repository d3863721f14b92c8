"""What the model of a fold reads: audio, or the kept features of its frozen prefix."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

import pandas as pd
from accelerate import Accelerator

from melt_ser.audio.augment import Augmentation
from melt_ser.data.audio_cache import AudioCache
from melt_ser.data.datasets import ClipDataset, WaveformDataset
from melt_ser.data.stage import Stage
from melt_ser.evaluation.evaluation_sets import EvaluationSet
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.training.features import KeptFeatures

if TYPE_CHECKING:
    from melt_ser.corpora.splits import FoldSplit
    from melt_ser.runs.plan import RunPlan


class FoldInputs:
    """Inputs of one fold's model. Features are computed for all parts of all folds together, so once for a corpus.

    A test is read as audio, so that what is reported is what the saved model says of it; only pooled features, which
    are kept in float32, are as good as that.
    """

    def __init__(
        self,
        study: RunPlan,
        parts: FoldSplit,
        model: SpeechClassifier,
        accelerator: Accelerator,
        cache: AudioCache | None = None,
    ) -> None:
        self.study, self.parts, self.model, self.accelerator, self.cache = study, parts, model, accelerator, cache
        self.trainer = study.config.trainer
        crop_seconds = self.trainer.crop_seconds
        crops = crop_seconds is not None and bool((self.study.utterances["duration"] > crop_seconds).any())
        self.prefix = model.frozen_stage(crops)
        self.kept = KeptFeatures(study.config.cache, model, self.prefix, accelerator, study.not_kept)

    def train(self) -> ClipDataset:
        """The training part."""
        config, trainer = self.study.config, self.trainer
        pad_seconds = trainer.crop_seconds if trainer.pad_to_crop else None
        utterances = WaveformDataset(
            self.parts.train,
            self.study.corpus.root,
            self.model.classes,
            self.model.backbone.do_normalize,
            config.augment,
            trainer.crop_seconds if self.prefix is Stage.nothing else None,  # else its features are cropped
            pad_seconds,
            config.seed,
            self.cache,
        )
        if not Augmentation(config.augment).changes_nothing:
            return utterances
        padded = partial(self._plain, pad_seconds=pad_seconds)
        return self.kept.of(utterances, self.parts.train, self.study.utterances, padded)

    @cached_property
    def dev(self) -> ClipDataset:
        """The dev part."""
        return self._of_the_corpus(self.parts.dev)

    def test(self, target: EvaluationSet) -> ClipDataset:
        """The utterances of a target."""
        if target.corpus is self.study.corpus:
            pooled = self.prefix is Stage.pooled
            return self._of_the_corpus(target.table) if pooled else self._plain(target.table)

        def read(table: pd.DataFrame) -> WaveformDataset:
            return WaveformDataset(table, target.corpus.root, self.model.classes, self.model.backbone.do_normalize)

        utterances = read(target.table)
        if self.prefix is not Stage.pooled:
            return utterances
        return self.kept.of(utterances, target.table, target.table, read)

    def _of_the_corpus(self, table: pd.DataFrame) -> ClipDataset:
        return self.kept.of(self._plain(table), table, self.study.utterances, self._plain)

    def _plain(self, table: pd.DataFrame, pad_seconds: float | None = None) -> WaveformDataset:
        root, normalize = self.study.corpus.root, self.model.backbone.do_normalize
        return WaveformDataset(table, root, self.model.classes, normalize, pad_seconds=pad_seconds, cache=self.cache)
