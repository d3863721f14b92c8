"""Recordings within a shard: members of a tar file, or rows of a parquet file, read in place.

A path that goes on behind a shard names one: `corpus/train-0001.tar/anna_7.flac`. The index of the shard
(`shard_index`) says where it is, so a recording of a tar file is read by one seek, in any order. One of a parquet file
is read with its row group.
"""

from __future__ import annotations

import bisect
import contextlib
import io
import os
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow

from melt_ser.audio.shard_index import (
    FIRST,
    MEMBER,
    SIZE,
    audio_column,
    damaged,
    index_of,
    is_parquet,
    open_parquet,
)
from melt_ser.core.errors import InputError
from melt_ser.core.places import Stamp, stamp_of

SHARD = re.compile(r"\.(?:tar|parquet)(?=/|$)", re.IGNORECASE)
GROUPS = 4  # row groups of parquet files in memory; the datasets library writes 100 rows of audio into each


@dataclass(frozen=True)
class Place:
    """Where the bytes of a recording are: in a file, from byte `first` on, or in row `first` of a parquet file."""

    file: Path
    first: int
    size: int  # bytes; of a row 0
    stamp: Stamp
    is_row: bool = False
    is_file: bool = False  # the recording is the whole file

    def open(self) -> tuple[BinaryIO, int, int]:
        """Return a file that has the recording, to be closed, its first byte there, and the number of its bytes."""
        if self.is_row:
            content = _content(self.file, self.stamp, self.first)
            return io.BytesIO(content), 0, len(content)
        return self.file.open("rb"), self.first, self.size


def shard_of(path: str) -> str:
    """Return the shard that a path leads into (a/train-1.tar of a/train-1.tar/b.wav); "" if it leads into none."""
    found = SHARD.search(path)
    return path[: found.end()] if found and found.end() < len(path) and os.path.isfile(path[: found.end()]) else ""


def is_recording(path: str) -> bool:
    """Return whether there is such a file, or such a recording in a shard."""
    if os.path.isfile(path):
        return True
    with contextlib.suppress(OSError):
        return bool(SHARD.search(path)) and not place_of(Path(path)).is_file
    return False


def place_of(path: Path) -> Place:
    """Return where a recording is; raise OSError if there is none, InputError if its shard is damaged."""
    try:
        stamp = stamp_of(path)
    except NotADirectoryError:
        shard = Path(shard_of(path.as_posix()))
        if not shard.name:
            raise
        stamp = stamp_of(shard)
        return _Index.of(shard, stamp).place(path.relative_to(shard).as_posix())
    return Place(path, 0, stamp[0], stamp, is_file=True)


class _Index:
    """The recordings of a shard, sorted by name, in arrays: a million of them take some 60 MB."""

    def __init__(self, shard: Path, stamp: Stamp) -> None:
        table = index_of(shard, stamp).select([MEMBER, FIRST, SIZE]).sort_by(MEMBER).combine_chunks()
        self.shard, self.stamp = shard, stamp
        self.names: pyarrow.Array = table[MEMBER].combine_chunks()
        self.firsts: npt.NDArray[np.int64] = table[FIRST].to_numpy()
        self.sizes: npt.NDArray[np.int64] = table[SIZE].to_numpy()

    @staticmethod
    @cache
    def of(shard: Path, stamp: Stamp) -> _Index:
        return _Index(shard, stamp)

    def place(self, member: str) -> Place:
        number = bisect.bisect_left(range(len(self.names)), member, key=lambda number: self.names[number].as_py())
        if number == len(self.names) or self.names[number].as_py() != member:
            raise FileNotFoundError(f"{self.shard} has no '{member}'")
        is_row = is_parquet(self.shard)
        return Place(self.shard, int(self.firsts[number]), int(self.sizes[number]), self.stamp, is_row)


def _content(path: Path, stamp: Stamp, row: int) -> bytes:
    """Return the bytes of the recording in a row; raise InputError if there are none."""
    ends = _ends(path, stamp)
    group = bisect.bisect_right(ends, row)
    first = ends[group - 1] if group else 0
    found = _group(path, stamp, group)[row - first].as_py()
    if not found:
        raise InputError(f"{path}: row {row} has no bytes of audio; write the file with its audio embedded.")
    return bytes(found)


@lru_cache(maxsize=4096)
def _ends(path: Path, stamp: Stamp) -> list[int]:
    """Return the number of rows up to the end of each row group."""
    metadata = open_parquet(path).metadata
    return list(accumulate(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)))


@lru_cache(maxsize=GROUPS)
def _group(path: Path, stamp: Stamp, group: int) -> pyarrow.Array:
    file = open_parquet(path)
    audio = audio_column(path, file.schema_arrow)
    try:
        return file.read_row_group(group, [f"{audio}.bytes"])[audio].combine_chunks().field("bytes")
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(path, error) from None
