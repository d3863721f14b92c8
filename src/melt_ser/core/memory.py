"""Memory: an error names the setting to lower, and on a CPU the C library keeps freed tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from melt_ser.core.errors import SetupError

NO_MEMORY = ("out of memory", "ALLOC_FAILED", "can't allocate memory")  # messages of CUDA, its libraries, the CPU
NO_ROOM_FOR_MODEL = "choose a smaller backbone, or wait until other programs have left the GPU"
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from glibc's malloc.h


@contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Raise SetupError with `advice` if the block runs out of memory, on a GPU or a CPU."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or any(sign in str(error) for sign in NO_MEMORY):
            raise SetupError(f"Out of memory: {advice}.") from None
        raise


def keep_freed_memory() -> None:
    """Tell glibc to keep the memory of freed tensors for the next ones; do nothing with another C library.

    By default glibc returns each large tensor to the system and asks for it again, and the system clears every page at
    its first use. That takes a tenth of a training step (benchmarks/LOG.md).
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    set_option(M_MMAP_MAX, 0)
    set_option(M_TRIM_THRESHOLD, -1)
