"""What the main process of several does before the others; torch is imported only where there are several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from melt_ser.core.processes import several


@contextmanager
def main_process_first(device: str) -> Iterator[None]:
    """The block in the main process, then in the others, which find each other on `device` for it."""
    if not several():
        yield
        return
    from melt_ser.training.device import make_accelerator

    with make_accelerator(device).main_process_first():
        yield
