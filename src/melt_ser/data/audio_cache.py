"""Decoded clips at 16 kHz, one file a corpus: what is slow to decode is decoded once and not every epoch.

    <cache folder>/waveforms/<key>    for each clip: checksum of its samples, how many; then their float32, clip by clip

A clip is written when it is first decoded, by whichever process or decoding worker that is, and read only where its
checksum is right. So nothing is built before a run starts, and a kill, a full disk or two writers at once leave nothing
worse than a clip that is decoded again. The file is sparse: what is not decoded yet takes no space. It is read at an
offset and not mapped, since mapped pages count as the memory of the process and a full disk would kill it.

The key is made of what was decoded (the content hashes), so a corpus with a changed recording has another file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute
from xxhash import xxh3_64_intdigest

from melt_ser.audio import SAMPLE_RATE
from melt_ser.config import CacheConfig
from melt_ser.core.console import say
from melt_ser.corpora.corpus import Corpus
from melt_ser.data.cache_budget import GIB, kept_folder, why_not_cached

VERSION = 1  # of decoding, resampling and the layout
BYTES = 4  # of a sample
ENTRY = 16  # bytes: checksum, number of samples


class AudioCache:
    """The decoded clips of a corpus; `read` and `write` take a clip's number, which `numbers` gives."""

    def __init__(self, path: Path, names: pyarrow.Array, firsts: npt.NDArray[np.int64]) -> None:
        """Open a cache, or begin it; OSError where that cannot be.

        names: (clips,), see `clip_names`; firsts: (clips + 1,), where each clip's room for samples begins, and the end.
        """
        self.path, self.names, self.firsts = path, names, firsts
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def __reduce__(self) -> tuple[type[AudioCache], tuple[Any, ...]]:
        return AudioCache, (self.path, self.names, self.firsts)

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)

    def numbers(self, table: pd.DataFrame) -> npt.NDArray[np.int64]:
        """The number of each row's clip, (utterances,); -1 for a clip that is not for the cache."""
        found = pyarrow.compute.index_in(clip_names(table), value_set=self.names)
        numbers: npt.NDArray[np.int64] = found.fill_null(-1).to_numpy().astype(np.int64)
        return numbers

    def read(self, clip: int) -> npt.NDArray[np.float32] | None:
        """The samples of a clip, (samples,); None where they are not there, or not whole."""
        entry = np.frombuffer(os.pread(self.file, ENTRY, clip * ENTRY), dtype=np.uint64)
        if len(entry) < 2 or not 0 < entry[1] <= self._room(clip):
            return None
        waveform = np.empty(int(entry[1]), dtype=np.float32)
        there = os.preadv(self.file, [waveform.data], self._offset(clip))
        return waveform if there == waveform.nbytes and xxh3_64_intdigest(waveform.data) == entry[0] else None

    def write(self, clip: int, waveform: npt.NDArray[np.float32]) -> None:
        """Keep the samples of a clip, (samples,); where the disk is full it is not kept."""
        if not 0 < len(waveform) <= self._room(clip):
            return
        waveform = np.ascontiguousarray(waveform)
        entry = np.array([xxh3_64_intdigest(waveform.data), len(waveform)], dtype=np.uint64)
        with contextlib.suppress(OSError):
            os.pwrite(self.file, waveform.data, self._offset(clip))
            os.pwrite(self.file, entry.data, clip * ENTRY)

    def _room(self, clip: int) -> int:
        return int(self.firsts[clip + 1] - self.firsts[clip])

    def _offset(self, clip: int) -> int:
        return len(self.names) * ENTRY + int(self.firsts[clip]) * BYTES


def clip_names(table: pd.DataFrame) -> pyarrow.Array:
    """What the decoded samples of each row depend on, (utterances,): its content, and the rate that it is taken for."""
    return pyarrow.array(table["content_hash"] + "@" + table["sample_rate"].astype("str"), pyarrow.large_string())


def distinct_clips(table: pd.DataFrame) -> pd.DataFrame:
    """A corpus table with each clip once, in an order that follows from the clips alone."""
    names: pd.Series = clip_names(table).to_pandas()
    return table.iloc[names.drop_duplicates().sort_values().index].reset_index(drop=True)


def slow_to_decode(table: pd.DataFrame) -> pd.Series:
    """Whether each row is anything but wav at 16 kHz, (utterances,).

    That is read in less than a millisecond a clip; the rest takes 5 to 150 ms, and from the cache a fraction of one
    (`benchmarks/decode.py`).
    """
    wav = table["audio"].str.lower().str.endswith(".wav")
    return ~(wav & (table["sample_rate"] == SAMPLE_RATE))


def open_audio_cache(corpus: Corpus, settings: CacheConfig) -> AudioCache | None:
    """The cache of a corpus; None, and a sentence, where it does not fit or cannot be written, or it is no use."""
    clips = corpus.table[slow_to_decode(corpus.table)].drop_duplicates(["content_hash", "sample_rate"])
    if not settings.audio or clips.empty:
        return None
    names = clip_names(clips)
    room = np.ceil(clips["duration"].to_numpy() * SAMPLE_RATE).astype(np.int64) + 4  # durations are rounded
    firsts = np.concatenate([[0], room.cumsum()])
    key = hashlib.sha256(f"{VERSION} {metadata.version('torch')} {metadata.version('torchaudio')}".encode())
    key.update("".join(names.to_pylist()).encode())
    key.update(firsts.tobytes())
    path = kept_folder(settings, "waveforms") / key.hexdigest()[:20]
    size = len(names) * ENTRY + int(firsts[-1]) * BYTES
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        reason = why_not_cached(path, size, settings)
        if reason is None:
            if not path.exists():
                say(f"note: decoded clips of '{corpus.name}' are kept in {path} (up to {size / GIB:.2f} GiB).")
            return AudioCache(path, names, firsts)
    except OSError as error:
        reason = f"{path} cannot be written ({error.strerror}); set cache.folder"
    say(f"note: the clips of '{corpus.name}' are decoded anew every epoch: {reason}.")
    return None
