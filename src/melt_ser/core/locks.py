"""A lock that lets one process at a time work in a folder, or on a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import SetupError
from melt_ser.core.places import neighbour
from melt_ser.core.processes import is_main_process


@contextmanager
def exclusive_lock(folder: Path, waits: bool = False) -> Iterator[None]:
    """Hold a folder or an output file for this process; of several processes of a run, the main one holds it for all.

    The operating system releases the lock when the process ends, even if it is killed; on a disk without such locks, as
    some clusters have, the file of a killed process stays. If another process holds the lock, print that and wait if
    `waits`; otherwise raise SetupError. Raises OutputError if the lock cannot be written.
    """
    if not is_main_process():
        yield
        return
    path = neighbour(folder, ".", ".lock")
    lock = FileLock(path)
    with files.telling_failed_writes(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not waits:
                raise SetupError(
                    f"Another process is at work in {folder} (it holds {path}); wait until it has ended, or stop it; "
                    f"if there is none on any machine, delete that file."
                ) from None
            say(f"waiting for another process that is at work in {folder} (it holds {path})")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
