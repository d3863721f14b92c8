"""The disk space that `cache.max_gib` leaves for files that can be computed again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from melt_ser.config import CacheConfig
from melt_ser.core.package import cache_folder, expanded

GIB = 2**30
Kind = Literal["waveforms", "features"]
KINDS: tuple[Kind, ...] = ("waveforms", "features")  # the budget covers both, of all corpora together


def subfolder(config: CacheConfig, kind: Kind) -> Path:
    """Return the cache's folder for one kind of files."""
    return _root(config) / kind


def why_not_cached(path: Path, size: int, config: CacheConfig) -> str | None:
    """Return why the cache cannot hold `size` bytes at `path`, in the subfolder of a kind, or None if it can.

    Bytes that `path` already has on the disk are not counted twice. Raises OSError if there is no such subfolder.
    """
    root = _root(config)
    own = _bytes_on_disk(path)
    others = sum(_bytes_on_disk(file) for kind in KINDS for file in _files_below(root / kind)) - own
    free = shutil.disk_usage(path.parent).free
    needed = f"{size_text(size)} are needed"
    if others + size > config.max_gib * GIB:
        taken = f"{size_text(others)} of cache.max_gib={config.max_gib:g} are taken in {root}"
        return f"{needed} and {taken}; raise it, or delete old files there"
    if size - own > free:
        return f"{needed} and {size_text(free)} are free in {root}; set cache.folder"
    return None


def size_text(size: int) -> str:
    """Return a number of bytes in the unit of `cache.max_gib`, or in a smaller one that shows it.

    >>> size_text(0), size_text(5_000), size_text(3_000_000), size_text(30 * GIB)
    ('0 KiB', '5 KiB', '2.9 MiB', '30.00 GiB')
    """
    if size < 2**20:
        return f"{size / 2**10:.0f} KiB"
    return f"{size / 2**20:.1f} MiB" if size < 0.1 * GIB else f"{size / GIB:.2f} GiB"


def _root(config: CacheConfig) -> Path:
    return expanded(config.folder) if config.folder else cache_folder()


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield all files; a folder that another process renames meanwhile is passed over."""
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def _bytes_on_disk(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except OSError:  # the file does not exist, or another process has deleted it
        return 0
