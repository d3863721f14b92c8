"""Recordings within a shard: members of a tar file, or rows of a parquet file, read in place.

A path that goes on behind a shard names one: `corpus/train-0001.tar/anna_7.flac`. An index of each shard says where its
recordings are. It is made once, without reading any audio, and kept in `shards/` of the cache folder until the shard
changes. So a recording is read by one seek, in any order.
"""

from __future__ import annotations

import bisect
import contextlib
import io
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet

from melt_ser.audio import parquet_shards, tar_shards
from melt_ser.core import files
from melt_ser.core.errors import OutputError
from melt_ser.core.package import cache_folder
from melt_ser.core.places import stamp_of

VERSION = 1  # of the index
SHARD = re.compile(r"\.(?:tar|parquet)(?=/|$)", re.IGNORECASE)
MEMBER, FIRST, SIZE = "member", "first", "size"  # the columns of an index that say where a recording is

Stamp = tuple[int, int, int]


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
            content = parquet_shards.content(self.file, self.stamp, self.first)
            return io.BytesIO(content), 0, len(content)
        return self.file.open("rb", buffering=0), self.first, self.size


def shard_of(path: str) -> str:
    """Return the shard that a path leads into; "" if it leads into none.

    >>> shard_of("a/train-1.tar/b.wav"), shard_of("a/b.wav"), shard_of("a/train-1.tar")
    ('a/train-1.tar', '', '')
    """
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
    """The recordings of a shard, sorted by name, in arrays: a million of them take some 40 MB."""

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


def is_parquet(shard: Path) -> bool:
    """Return whether a shard is a parquet file; otherwise it is a tar file."""
    return shard.suffix.lower() == ".parquet"


def index_of(shard: Path, stamp: Stamp | None = None) -> pyarrow.Table:
    """Return the index of a shard: a row for each sample, in the order of the shard, from the cache if it is there.

    The columns are `member` ("": the sample has no audio), `first` and `size`, `key` (the name of the sample), and
    `data.<name>` for each of its data, as text. Raises InputError if the shard is damaged, or its names are not sound.
    """
    stamp = stamp or stamp_of(shard)
    owner = files.sha256(f"{VERSION}\n{os.path.realpath(shard)}")[:20]
    path = cache_folder() / "shards" / f"{owner}-{files.sha256(repr(stamp))[:20]}.parquet"
    with contextlib.suppress(OSError, pyarrow.ArrowInvalid):
        table: pyarrow.Table = pyarrow.parquet.read_table(path)
        return table
    scan = parquet_shards.scan if is_parquet(shard) else tar_shards.scan
    samples = scan(shard)
    names = dict.fromkeys(name for sample in samples for name in sample.data)
    table = pyarrow.table(
        {
            MEMBER: pyarrow.array([sample.member for sample in samples], pyarrow.large_string()),
            FIRST: pyarrow.array([sample.first for sample in samples], pyarrow.int64()),
            SIZE: pyarrow.array([sample.size for sample in samples], pyarrow.int64()),
            "key": pyarrow.array([sample.key for sample in samples], pyarrow.large_string()),
            **{
                f"data.{name}": pyarrow.array([sample.data.get(name, "") for sample in samples], pyarrow.large_string())
                for name in names
            },
        }
    )
    with contextlib.suppress(OutputError), files.replacing_file(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)
    with contextlib.suppress(OSError):
        for older in set(path.parent.glob(f"{owner}-*")) - {path}:  # of the shard before it changed
            older.unlink()
    return table
