"""Several processes of one run (`accelerate launch`), told apart before torch is imported: one speaks and writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def several() -> bool:
    """Whether a launcher started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_main_process() -> bool:
    """Whether this is the process that speaks and writes files; the only one usually is."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def main_process_first() -> Iterator[None]:
    """The block in the main process, then in the others; the process group has to be formed already."""
    if not several():
        yield
        return
    from accelerate import PartialState

    with PartialState().main_process_first():
        yield
