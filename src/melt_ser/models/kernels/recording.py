"""Whether code may read the lengths of a batch.

On a CPU it may, and then computes each utterance alone. On a GPU the CPU would wait for it. A graph that is recorded
(models/onnx_graph.py) has to hold for all lengths, so it computes padded batches as a GPU does.
"""

from __future__ import annotations

import torch
from torch import Tensor


def is_recording() -> bool:
    """Say whether torch records the operations of this call as a graph."""
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return tracing or torch.compiler.is_exporting()


def reads_lengths(device: torch.device) -> bool:
    """Say whether the lengths of a batch on this device may be read as numbers."""
    return device.type == "cpu" and not is_recording()


def least(size: int, bound: int) -> int:
    """Return the smaller of a tensor's size and a bound; while a graph is recorded, sizes are tensors."""
    return size.clamp(max=bound) if isinstance(size, Tensor) else min(size, bound)
