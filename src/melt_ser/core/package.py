"""The package: its version and its two folders, the cache and the YAML files."""

from __future__ import annotations

import os
from pathlib import Path

from melt_ser.core.errors import SetupError

__version__ = "0.1.0"  # each result names it

CACHE_VARIABLE = "MELT_SER_CACHE"
STUDENTS = "melt_ser/"  # what the names of checkpoints in the package begin with


def cache_folder() -> Path:
    """Return the folder for everything that can be computed again.

    It is `$MELT_SER_CACHE`, or `melt_ser` in `$XDG_CACHE_HOME` (if that is an absolute path, as its standard demands),
    or `~/.cache/melt_ser`.
    """
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return expanded(own)
    usual = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (usual if usual.is_absolute() else expanded("~/.cache")) / "melt_ser"


def expanded(path: str) -> Path:
    """Return a path that a user gave, with `~` and `~user` as their home folders; SetupError if there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        start = Path(path).parts[0]
        fix = f"set HOME, or {CACHE_VARIABLE} for the cache" if start == "~" else "give the whole path"
        raise SetupError(f"{path}: there is no home folder for {start}; {fix}.") from None


def checkpoint_path(checkpoint: str) -> Path:
    """Return the path that the name of a checkpoint means: a student's folder in the package, or the user's path.

    The path need not exist: `checkpoint` may be a name of the hub.
    """
    if checkpoint.startswith(STUDENTS):
        return students_folder() / checkpoint.removeprefix(STUDENTS)
    return expanded(checkpoint)


def students_folder() -> Path:
    """Return the folder of the small encoders in the package, and of their card."""
    return Path(__file__).parents[1] / "students"


def conf_folder() -> Path:
    """Return the folder of YAMLs: inside the package in a wheel, at the top of a checkout."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "conf"
