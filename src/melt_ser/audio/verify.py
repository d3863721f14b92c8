"""Verify a clip: decode all of it at its own rate and measure it; `rules` then judge the measures."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import xxhash

from melt_ser.audio.contents import contents_of
from melt_ser.audio.decode import TooLong, read_native
from melt_ser.audio.rules import Levels
from melt_ser.audio.shards import shard_of
from melt_ser.audio.sound import WrongSound
from melt_ser.core.errors import InputError


@dataclass(frozen=True)
class Verified:
    """The measures of a clip; `reason` says why it could not be decoded, and is None if it could."""

    duration: float  # seconds; NaN if nothing was decoded
    sample_rate: int  # Hz
    peak: float  # the largest magnitude, 1.0 being full scale; compressed formats may exceed it
    clipped: float  # share of the samples at full scale, 0 to 1
    content_hash: str  # 128 bits (XXH3) of the decoded samples, independent of the file's name and format
    found: str  # how the file differs from what its header states; "": not
    reason: str | None


def verify_clip(
    root: Path,
    audio: str,
    start: float | None = None,
    end: float | None = None,
    maximum_seconds: float = math.inf,
) -> Verified:
    """Decode one clip of a corpus and return its measures; for bad input return the reason instead of raising.

    Channels are averaged first, as for training, so a single clipped channel of several is not noticed.

    Args:
        root: the corpus folder.
        audio: the clip's path relative to it.
        start: of the segment, in seconds; None: from the beginning.
        end: of the segment, in seconds; None: to the end.
        maximum_seconds: a longer clip is refused before it fills the memory.

    A reason starts with one of: outside the root, unreadable, too long, integer scale, channels cancel.
    """
    path = root / audio
    try:
        file = Path(shard_of(str(path)) or path)
        inside = _real_path(file).startswith(os.path.join(_real_folder(str(root)), ""))  # "/" is a root too
    except (OSError, ValueError) as error:  # a name that is too long, a null character, a loop of links
        return _undecoded(f"unreadable: the path leads nowhere ({error})")
    if not inside:
        return _undecoded(
            "outside the root: the path or its link leaves the corpus folder; set dataset.root to where the files are"
        )
    try:
        waveform, rate = read_native(path, start, end, maximum_seconds)
    except TooLong as error:
        lasts = str(error).removeprefix(f"{path}: ").rstrip(".")
        return _undecoded(f"too long: {lasts}, over dataset.maximum_seconds={maximum_seconds}")
    except WrongSound as error:
        return _undecoded(f"{error.rule}: {error.reason}")
    except InputError as error:
        return _undecoded(f"unreadable: {str(error).removeprefix(f'{path}: ')}")
    levels = Levels()
    levels.add(waveform, rate)
    content_hash = xxhash.xxh3_128_hexdigest(waveform.data)
    found = contents_of(path).found
    return Verified(levels.duration, rate, levels.peak, levels.clipped, content_hash, found, None)


def _undecoded(reason: str) -> Verified:
    return Verified(float("nan"), 0, float("nan"), float("nan"), "", "", reason)


def _real_path(path: Path) -> str:
    """Return the path without links; each folder is resolved once, since it may hold thousands of files."""
    if path.name == ".." or path.is_symlink():
        return os.path.realpath(path, strict=True)
    return os.path.join(_real_folder(str(path.parent)), path.name)


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)
