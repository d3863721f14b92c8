"""Verification of a clip: decoded whole at its own rate, measured, and refused with a reason where it is no use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from melt_ser.audio.decode import TooLong, read_native
from melt_ser.errors import InputError

SILENCE = 1e-4  # of full scale, about -80 dBFS: nothing a person could hear beside any noise


@dataclass(frozen=True)
class Verified:
    """What decoding found; `reason` is None for a clip that can be used."""

    duration: float  # seconds, NaN where nothing was decoded
    sample_rate: int
    content_hash: str  # SHA-256 of the decoded samples
    reason: str | None


def verify_clip(
    root: Path,
    audio: str,
    start: float | None = None,
    end: float | None = None,
    minimum_seconds: float = 0.0,
    maximum_seconds: float = float("inf"),
) -> Verified:
    """Decode one clip of a corpus; never raises for bad input, gives the reason instead.

    A reason starts with one of: outside the root, unreadable, silent, too short, too long.
    """
    path = root / audio
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError) as error:  # too long, a null character, a loop of links
        return Verified(float("nan"), 0, "", f"unreadable: the path leads nowhere ({error})")
    if not inside:
        return Verified(float("nan"), 0, "", "outside the root: the path or its link leaves the corpus folder")
    try:
        waveform, rate = read_native(path, start, end, maximum_seconds)
    except TooLong as error:
        lasts = str(error).removeprefix(f"{path}: ").rstrip(".")
        return Verified(float("nan"), 0, "", f"too long: {lasts}, over dataset.maximum_seconds={maximum_seconds}")
    except InputError as error:
        return Verified(float("nan"), 0, "", f"unreadable: {str(error).removeprefix(f'{path}: ')}")
    duration = len(waveform) / rate
    reason = None
    if np.abs(waveform).max() < SILENCE:
        reason = "silent: no sample above -80 dBFS"
    elif duration < minimum_seconds:
        reason = f"too short: {duration:.3f} s is under dataset.minimum_seconds={minimum_seconds}"
    return Verified(duration, rate, hashlib.sha256(waveform.tobytes()).hexdigest(), reason)
