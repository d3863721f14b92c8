"""The words of a corpus as token ids: batches, the length that counts, and one cached clip for one text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from melt_ser.data.audio_cache import distinct_clips
from melt_ser.data.words import SECONDS_OF_TOKEN, TextDataset, named_by_words

TABLE = pd.DataFrame(
    {
        "audio": ["a.wav", "b.wav", "c.wav"],
        "text": ["oh my", "oh", "oh my"],
        "class": ["sad", "angry", "angry"],
        "content_hash": ["same", "same", "other"],
        "sample_rate": 16000,
    }
)


def letters(texts: Sequence[str]) -> tuple[list[list[int]], int]:
    return [[ord(letter) for letter in text] for text in texts], 0


def test_words_are_padded_together_and_keep_their_lengths_classes_and_rows() -> None:
    words = TextDataset(TABLE, Path("root"), ["angry", "sad"], letters)
    batch = words.collate([words[1], words[0]])
    assert batch.inputs.dtype == torch.int64
    assert batch.inputs.tolist() == [[111, 104, 0, 0, 0], [111, 104, 32, 109, 121]]
    assert (batch.lengths.tolist(), batch.classes.tolist(), batch.rows.tolist()) == ([2, 5], [0, 1], [1, 0])
    assert words.lengths.tolist() == [5, 2, 5]
    assert words.seconds.tolist() == [5 * SECONDS_OF_TOKEN, 2 * SECONDS_OF_TOKEN, 5 * SECONDS_OF_TOKEN]
    assert words.path(1) == Path("root/b.wav")


def test_words_rows_with_the_same_text_are_one_clip_whatever_their_audio() -> None:
    assert len(distinct_clips(TABLE)) == 2
    assert sorted(distinct_clips(named_by_words(TABLE))["text"]) == ["oh", "oh my"]
    assert TABLE["content_hash"].tolist() == ["same", "same", "other"]
