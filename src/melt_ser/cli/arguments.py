"""Types for `type=` of argparse: a wrong value ends in a sentence before any work begins."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def names(text: str) -> list[str]:
    """Parse a list separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def whole_number(least: int) -> Callable[[str], int]:
    """Return a parser for whole numbers from `least` up."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"is a whole number from {least} up, not {text!r}")
        return int(text)

    return parse


def number(text: str) -> float:
    """Parse a finite number from 0 up."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"is a number from 0 up, not {text!r}")
    return value
