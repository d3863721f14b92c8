"""Let the main process work before the others. Torch is imported only if there are several processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from melt_ser.core.processes import several


@contextmanager
def main_process_first(device: str) -> Iterator[None]:
    """Run the block in the main process, then in the others, which wait for it.

    device: the value of the setting `device` (auto, cpu, cuda, ...); accelerate needs it to connect the processes.
    """
    if not several():
        yield
        return
    from melt_ser.training.device import make_accelerator

    with make_accelerator(device).main_process_first():
        yield
