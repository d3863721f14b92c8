"""The package: its version and its two folders, the cache and the YAML files."""

from __future__ import annotations

import os
from pathlib import Path

__version__ = "0.1.0"  # each result names it

CACHE_VARIABLE = "MELT_SER_CACHE"


def cache_folder() -> Path:
    """Return the folder for everything that can be computed again: `$MELT_SER_CACHE`, or `~/.cache/melt_ser`."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "melt_ser").expanduser()


def conf_folder() -> Path:
    """Return the folder of YAMLs: inside the package in a wheel, at the top of a checkout."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "conf"
