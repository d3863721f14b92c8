"""Memory that runs out, told as the setting to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from melt_ser.errors import SetupError


@contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Raise SetupError with `advice` where the block runs out of memory, on a GPU or a CPU."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
            raise SetupError(f"Out of memory: {advice}.") from None
        raise
