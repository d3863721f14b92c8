"""Utterances as the token ids of their words, for a text encoder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from melt_ser.core.console import say
from melt_ser.core.files import sha256
from melt_ser.data.datasets import Batch, ClipDataset

SECONDS_OF_TOKEN = 0.02
"""The seconds that a token counts for in settings of batches: those of a frame of the encoders of speech."""

Tokenise = Callable[[Sequence[str]], tuple[list[list[int]], int]]


class TextDataset(ClipDataset):
    """The rows of a corpus table as (token ids, class, row), from the column `text`."""

    def __init__(self, table: pd.DataFrame, root: Path, classes: Sequence[str], tokenise: Tokenise) -> None:
        """Tokenise the texts of a table; a note tells how many are cut.

        Args:
            table: rows of a corpus table with a column `class`; each has a text.
            root: the folder of the audio files, which are named in messages.
            classes: the names of the classes, in the order of their indices.
            tokenise: returns the token ids of texts, and the number of texts that it cut.
        """
        super().__init__()
        self.root, self.audio = root, table["audio"].to_numpy()
        self.read_labels(table, classes)
        ids, cut = tokenise(table["text"].tolist())
        self.ids = [np.asarray(of_text, dtype=np.int64) for of_text in ids]
        self.seconds = SECONDS_OF_TOKEN * np.array([len(of_text) for of_text in ids], dtype=np.float64)
        if cut:
            _tell_once(
                f"note: {cut} of {len(ids):,} texts have more tokens than the encoder reads; their ends are cut."
            )

    @property
    def lengths(self) -> Tensor:
        """Return the number of tokens of each utterance, (utterances,)."""
        return torch.tensor([len(of_text) for of_text in self.ids])

    def path(self, row: int) -> Path:
        """Return the audio file of a row."""
        return self.root / str(self.audio[row])

    def __getitem__(self, row: int) -> tuple[Tensor, int, int]:
        return torch.from_numpy(self.ids[row]), int(self.classes[row]), row

    @staticmethod
    def collate(items: Sequence[tuple[Tensor, int, int]]) -> Batch:
        """Pad the token ids with zeros to the longest and return them as a batch; the encoder puts its own padding."""
        ids, classes, rows = zip(*items, strict=True)
        return Batch(*padded(ids), torch.tensor(classes), torch.tensor(rows))


def padded(ids: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the token ids of texts, padded with zeros, (texts, tokens), and the tokens of each, (texts,)."""
    return pad_sequence(list(ids), batch_first=True), torch.tensor([len(of_text) for of_text in ids])


def named_by_words(table: pd.DataFrame) -> pd.DataFrame:
    """Return a corpus table whose rows are the same clip if their words are the same, for the cache of features."""
    return table.assign(content_hash=table["text"].map(sha256), sample_rate=0)


@functools.cache  # the train, dev and test parts of each fold are read again
def _tell_once(sentence: str) -> None:
    say(sentence)
