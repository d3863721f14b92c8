"""The places that paths lead to: files, links, pipes, devices, and the open files of this process."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from pathlib import Path

from melt_ser.core.errors import SetupError

NAME = re.compile(r"(?!\.)[\w.-]{1,100}")  # of a folder that any system, page and shell takes
Stamp = tuple[int, int, int]  # of a file, see `stamp_of`
LONGEST_NAME = 240  # bytes of a neighbour's name; file systems allow 255, and SQLite and renames append to it


def refuse_unfit_name(key: str, name: str) -> None:
    """Raise SetupError if a name, the value of a setting, cannot name files and folders."""
    if not NAME.fullmatch(name):
        raise SetupError(
            f"{key} '{name}' cannot name files and folders; "
            f"use up to 100 letters, digits, '-', '_' and '.', and no '.' in front."
        )


def named(path: Path) -> Path:
    """Return a path that ends in a name: the whole path of `.`, or of one that ends in `..`."""
    return path.resolve() if path.name in ("", "..") else path


def neighbour(path: Path, before: str, after: str) -> Path:
    """Return the path next to another whose name is the other's between two texts.

    If that name is too long for a file system, the end of the other's name is replaced by a digest.
    """
    path = named(path)
    name = f"{before}{path.name}{after}"
    if len(os.fsencode(name)) > LONGEST_NAME:
        whole = os.fsencode(path.name)
        digest = hashlib.sha256(whole).hexdigest()[:8]
        room = LONGEST_NAME - len(os.fsencode(f"{before}~{digest}{after}"))
        name = f"{before}{whole[:room].decode(errors='ignore')}~{digest}{after}"
    return path.parent / name


def is_stream(path: Path) -> bool:
    """Return whether a path is no file to replace: a pipe, a device, or an open file (/dev/stdout)."""
    try:
        status = status_of(path)
    except OSError:  # a loop of links: writing the file will tell
        return False
    if status is None or stat.S_ISDIR(status.st_mode):
        return False
    return not stat.S_ISREG(status.st_mode) or descriptor_of(path) is not None


def status_of(path: Path) -> os.stat_result | None:
    """Return the status of a path, behind links; None if there is nothing. Raises OSError for a loop of links."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def descriptor_of(path: Path) -> int | None:
    """Return the number of the open file of this process that an existing path names, such as 1 for /dev/stdout."""
    while True:
        folder = os.path.realpath(path.parent)
        if folder in (f"/proc/{os.getpid()}/fd", "/dev/fd") and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = Path(folder) / os.readlink(path)


def stream_to_open(path: Path) -> Path | int:
    """Return the argument for `open` that writes to a stream (see `is_stream`) behind what has been printed to it."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: the shell has closed it
        stream.flush()
    descriptor = descriptor_of(path)
    return path if descriptor is None else os.dup(descriptor)


def stamp_of(path: str | Path) -> Stamp:
    """Return size (bytes), modification time and change time (ns) of a file; together they show that it has changed.

    Every write and every rename sets the change time to the clock, and no program can set it back, unlike the
    modification time. Raises OSError if there is no file.
    """
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
