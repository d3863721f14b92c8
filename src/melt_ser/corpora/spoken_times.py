"""Read the times of lines: in seconds, or as subtitles have them. `where` and `column` name the cell in errors."""

from __future__ import annotations

import math
import re

from melt_ser.core.errors import InputError

CLOCK = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})[,.](\d{1,3})")


def time_of(text: str, where: str, column: str) -> float | None:
    """Return the seconds of a time in seconds or as subtitles have it; None if it is empty. Raises InputError."""
    if CLOCK.fullmatch(text):
        return clock_time(text, where, column)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):  # lines cannot be ordered by nan
        raise InputError(f"{where}, {column}: '{text}' is no time in seconds (such as 1.5, or empty).")
    return seconds


def clock_time(text: str, where: str, column: str) -> float | None:
    """Return the seconds of a subtitle's time, such as 00:16:16,059; None if it is empty. Raises InputError."""
    if not text:
        return None
    match = CLOCK.fullmatch(text)
    if not match:
        raise InputError(f"{where}, {column}: '{text}' is no time such as 00:16:16,059.")
    hours, minutes, seconds, milliseconds = match.groups()
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds) + float(f"0.{milliseconds}")
