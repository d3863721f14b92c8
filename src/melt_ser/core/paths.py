"""Folders: the cache, the YAMLs."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "MELT_SER_CACHE"


def cache_folder() -> Path:
    """The folder for what can be computed again: `$MELT_SER_CACHE`, else `~/.cache/melt_ser`."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "melt_ser").expanduser()


def conf_folder() -> Path:
    """The folder of YAMLs: beside the package in a wheel, at the top of a checkout."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "conf"
