"""Decoded clips at 16 kHz, one file a corpus: clips that are slow to decode are decoded once, not every epoch.

    <cache folder>/waveforms/<key>    checksum and number of samples of each clip, then the float32 samples of all clips

The process or worker that first decodes a clip writes it; later reads check its checksum. So nothing is built before a
run starts, and after a kill, on a full disk or with two writers at once a clip is at worst decoded again. The file is
sparse: clips that are not decoded yet take no space. It is read at an offset, not memory-mapped: mapped pages count as
memory of the process, and writing to them on a full disk kills the process.

The key is a hash of the clips' content hashes and lengths and of torch's and torchaudio's versions: a corpus with a
changed recording has another file.
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
from melt_ser.data.cache_budget import size_text, subfolder, why_not_cached

VERSION = 1  # raise it if decoding, resampling or the layout changes
SAMPLE_BYTES = 4
ENTRY_BYTES = 16  # checksum, number of samples


class AudioCache:
    """The decoded clips of a corpus; `read` and `write` take a clip's number, as `numbers` returns it."""

    def __init__(self, path: Path, names: pyarrow.Array, firsts: npt.NDArray[np.int64]) -> None:
        """Open the cache's file, or create it; raise OSError if that fails.

        names: the name of each clip, (clips,), see `clip_names`.
        firsts: the first sample of each clip's space in the file, and the end of the last, (clips + 1,).
        """
        self.path, self.names, self.firsts = path, names, firsts
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    def __reduce__(self) -> tuple[type[AudioCache], tuple[Any, ...]]:
        return AudioCache, (self.path, self.names, self.firsts)

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)

    def numbers(self, table: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Return the number of each row's clip, (utterances,); -1 for a clip that is not cached."""
        positions = pyarrow.compute.index_in(clip_names(table), value_set=self.names)
        numbers: npt.NDArray[np.int64] = positions.fill_null(-1).to_numpy().astype(np.int64)
        return numbers

    def read(self, clip: int) -> npt.NDArray[np.float32] | None:
        """Return the samples of a clip, (samples,), or None if some are missing or their checksum is wrong."""
        entry = np.frombuffer(os.pread(self.file, ENTRY_BYTES, clip * ENTRY_BYTES), dtype=np.uint64)
        if len(entry) < 2 or not 0 < entry[1] <= self._space(clip):
            return None
        waveform = np.empty(int(entry[1]), dtype=np.float32)
        bytes_read = os.preadv(self.file, [waveform.data], self._offset(clip))
        return waveform if bytes_read == waveform.nbytes and xxh3_64_intdigest(waveform.data) == entry[0] else None

    def write(self, clip: int, waveform: npt.NDArray[np.float32]) -> None:
        """Write the samples of a clip, (samples,); do nothing if the disk is full."""
        if not 0 < len(waveform) <= self._space(clip):
            return
        waveform = np.ascontiguousarray(waveform)
        entry = np.array([xxh3_64_intdigest(waveform.data), len(waveform)], dtype=np.uint64)
        with contextlib.suppress(OSError):
            os.pwrite(self.file, waveform.data, self._offset(clip))
            os.pwrite(self.file, entry.data, clip * ENTRY_BYTES)

    def _space(self, clip: int) -> int:
        return int(self.firsts[clip + 1] - self.firsts[clip])

    def _offset(self, clip: int) -> int:
        return len(self.names) * ENTRY_BYTES + int(self.firsts[clip]) * SAMPLE_BYTES


def clip_names(table: pd.DataFrame) -> pyarrow.Array:
    """Return a name for the decoded samples of each row, (utterances,): the hash of its content and its sample rate."""
    return pyarrow.array(table["content_hash"] + "@" + table["sample_rate"].astype("str"), pyarrow.large_string())


def distinct_clips(table: pd.DataFrame) -> pd.DataFrame:
    """Return a corpus table with each clip once, in an order that depends on the clips alone."""
    names: pd.Series = clip_names(table).to_pandas()
    return table.iloc[names.drop_duplicates().sort_values().index].reset_index(drop=True)


def slow_to_decode(table: pd.DataFrame) -> pd.Series:
    """Return whether each row is something other than wav at 16 kHz, or lies in a parquet file, (utterances,).

    A clip of wav at 16 kHz is read in less than 1 ms. Other formats take 5 to 150 ms, and less than 1 ms from the cache
    (`benchmarks/decode.py`).
    """
    name = table["audio"].str.lower()
    wav = name.str.endswith(".wav") & ~name.str.contains(".parquet/", regex=False)  # where many rows are read for one
    return ~(wav & (table["sample_rate"] == SAMPLE_RATE))


def open_audio_cache(corpus: str, table: pd.DataFrame, settings: CacheConfig) -> AudioCache | None:
    """Open the cache of a corpus; return None if it would not help or is off.

    If the cache does not fit or cannot be written, print why and return None.

    corpus: the name of the corpus, for messages; table: its corpus table.
    """
    clips = table[slow_to_decode(table)].drop_duplicates(["content_hash", "sample_rate"])
    if not settings.audio or clips.empty:
        return None
    names = clip_names(clips)
    spaces = np.ceil(clips["duration"].to_numpy() * SAMPLE_RATE).astype(np.int64) + 4  # durations are rounded
    firsts = np.concatenate([[0], spaces.cumsum()])
    key = hashlib.sha256(f"{VERSION} {metadata.version('torch')} {metadata.version('torchaudio')}".encode())
    key.update("".join(names.to_pylist()).encode())
    key.update(firsts.tobytes())
    path = subfolder(settings, "waveforms") / key.hexdigest()[:20]
    size = len(names) * ENTRY_BYTES + int(firsts[-1]) * SAMPLE_BYTES
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        reason = why_not_cached(path, size, settings)
        if reason is None:
            if not path.exists():
                say(f"note: decoded clips of '{corpus}' are cached in {path} (up to {size_text(size)}).")
            return AudioCache(path, names, firsts)
    except OSError as error:
        reason = f"{path} cannot be written ({error.strerror}); set cache.folder"
    say(f"note: the clips of '{corpus}' are decoded anew every epoch: {reason}.")
    return None
