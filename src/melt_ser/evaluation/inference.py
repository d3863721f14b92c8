"""Compute a model's answers for utterances."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from melt_ser.config import ScorePrecision
from melt_ser.core.console import Progress
from melt_ser.core.errors import SetupError
from melt_ser.core.memory import memory_advice
from melt_ser.data.batches import Shard, SortedBatches
from melt_ser.data.datasets import Batch, ClipDataset
from melt_ser.data.loading import AheadLoader
from melt_ser.models.classifier import SpeechClassifier, logits_of_all


def exact_products() -> AbstractContextManager[None]:
    """Forbid TF32 in a GPU's convolutions and matrix products within the block.

    TF32 has errors of about 1e-3 that depend on the batch.
    """
    return _with_tf32(False)


@contextmanager
def _with_tf32(tf32: bool) -> Iterator[None]:
    """Allow or forbid TF32 within the block."""
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed


@contextmanager
def computing_in(precision: ScorePrecision, device: torch.device) -> Iterator[None]:
    """Compute in this number format within the block; raises SetupError for tf32 without a CUDA GPU."""
    if precision is ScorePrecision.tf32 and device.type != "cuda":
        raise SetupError(f"The precision tf32 needs a CUDA GPU, and this device is {device}; choose fp32 or bf16.")
    half = torch.autocast(device.type, torch.bfloat16, enabled=precision is ScorePrecision.bf16)
    with _with_tf32(precision is ScorePrecision.tf32), half:
        yield


def predict_probabilities(
    model: SpeechClassifier,
    utterances: ClipDataset,
    batch_size: int,
    accelerator: Accelerator,
    less_memory: str = "lower eval.batch_size",
    title: str = "scoring",
    precision: ScorePrecision | None = None,
) -> np.ndarray:
    """Return the probabilities of one model, (utterances, classes); the arguments are those of `predict_with_all`."""
    probabilities: np.ndarray = predict_with_all(
        [model], utterances, batch_size, accelerator, less_memory, title, precision
    )[0]
    return probabilities


@torch.no_grad()
def in_batches(
    compute: Callable[[Batch], Tensor],
    utterances: ClipDataset,
    batch_size: int,
    accelerator: Accelerator,
    less_memory: str,
    title: str,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows of each batch of this process, (batch,), and the result for it, without gradients.

    Args:
        compute: returns the result for a batch on the accelerator's device.
        utterances: audio, or cached features.
        batch_size: utterances per batch of a process; those of a batch have similar lengths.
        accelerator: gives the device and the processes, which share the work.
        less_memory: the advice in the error if memory runs out.
        title: a name for the progress.
        generator: a loader draws a random number from it; None: from torch's global random state.

    Raises SetupError if memory runs out.
    """
    share = Shard(accelerator.process_index, accelerator.num_processes)
    batches = SortedBatches(utterances.seconds, batch_size, share)
    loader = AheadLoader(utterances, batches, accelerator.device.type == "cuda", generator=generator)
    with exact_products(), memory_advice(less_memory), Progress(title, len(batches.order)) as shown:
        for batch in loader:
            batch = batch.to(accelerator.device)
            yield batch.rows, compute(batch)
            shown.advance(len(batch.rows))


@torch.no_grad()
def predict_with_all(
    models: Sequence[SpeechClassifier],
    utterances: ClipDataset,
    batch_size: int,
    accelerator: Accelerator,
    less_memory: str = "lower eval.batch_size",
    title: str = "scoring",
    precision: ScorePrecision | None = None,
) -> np.ndarray:
    """Return the answers of each model, (models, utterances, outputs), in the order of the table and in float32.

    They are probabilities of classes, then attributes on their scales (`models/outputs.py`).

    A backbone that models share is computed once. Several processes share the work; each utterance is computed exactly
    once, and every process gets all results.

    Args:
        models: have the same outputs; they are set to evaluation mode.
        utterances: audio, or cached features of the models.
        batch_size: utterances per batch of a process.
        accelerator: gives the device and the processes.
        less_memory: the advice in the error if memory runs out.
        title: a name for the progress.
        precision: the number format; None: that of the models, which may be in training.

    Raises SetupError if memory runs out or the device lacks the precision, RuntimeError if an utterance was not
    computed exactly once.
    """
    for model in models:
        model.eval()
    device = accelerator.device
    shape = (len(models), len(utterances), len(models[0].outputs))
    probabilities = torch.zeros(shape, dtype=torch.float32, device=device)
    times = torch.zeros(len(utterances), dtype=torch.int64, device=device)

    def logits_of(batch: Batch) -> Tensor:
        with contextlib.nullcontext() if precision is None else computing_in(precision, device):
            return torch.stack(logits_of_all(models, batch.inputs, batch.lengths, batch.stage, batch.text))

    for rows, logits in in_batches(logits_of, utterances, batch_size, accelerator, less_memory, title):
        probabilities[:, rows] = models[0].outputs.answers(logits)
        times[rows] += 1
    probabilities, times = accelerator.reduce((probabilities, times), "sum")
    if not bool((times == 1).all()):
        raise RuntimeError(f"Utterances were computed {times.min().item()} to {times.max().item()} times, not once.")
    computed: np.ndarray = probabilities.cpu().numpy()
    return computed
