"""Loss and gradients by recorded CUDA graphs (`trainer.cuda_graphs`): a GPU starts one graph, not a thousand kernels.

For a batch of eight short clips a GPU computes a kernel in less time than a CPU needs to start it. A graph is recorded
once for each shape of a ladder (data/ladder.py); then each batch is copied into its fixed tensors and the graph is run
again. Frozen convolutions, clipping and the update of the weights stay outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from melt_ser.config import TrainerConfig
from melt_ser.core.console import say
from melt_ser.core.errors import first_line
from melt_ser.data.ladder import Ladder, Shape
from melt_ser.data.stage import Stage
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.training.fit import Gradients, StepInput

Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
"""Record a computation; return a function that repeats it, and the tensor that it writes."""


class RecordedGradients:
    """Compute `Gradients` by graphs. The tensor that it returns holds until the next call.

    A batch that no rung of the ladder has room for is computed without a graph; so is every batch if a recording fails,
    and the reason is said. A rung's rows beyond the batch have one frame and the weight 0.
    """

    def __init__(
        self, gradients: Gradients, ladder: Ladder, learning: Iterable[nn.Parameter], record: Record | None = None
    ) -> None:
        """Prepare to record.

        Args:
            gradients: the computation; it reads nothing but its input and the weights, and it waits for no number.
            ladder: the shapes.
            learning: the weights that learn; their gradients get fixed places, so set them to zero, not to None.
            record: by default `record_cuda_graph`.
        """
        self.gradients, self.ladder, self.learning = gradients, ladder, list(learning)
        self.record = record or CudaRecorder(self.learning)
        self.graphs: dict[Shape, tuple[StepInput, Callable[[], None], Tensor]] = {}
        self.works = True
        for weight in self.learning:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)

    def __call__(self, batch: StepInput) -> Tensor:
        rung = self.ladder.rung_for(_shape(batch)) if self.works else None
        if rung is not None and rung not in self.graphs:
            self._record(rung, batch)
        if rung is None or not self.works:
            return self.gradients(batch)
        fixed, repeat, loss = self.graphs[rung]
        _fill(fixed, batch)
        repeat()
        return loss

    def _record(self, rung: Shape, batch: StepInput) -> None:
        fixed = _room_for(rung, batch)
        _fill(fixed, batch)
        try:
            repeat, loss = self.record(lambda: self.gradients(fixed))
        except RuntimeError as error:
            self.works = False
            self.graphs.clear()
            say(f"note: training goes on without trainer.cuda_graphs: no graph was recorded, {first_line(error)}")
        else:
            self.graphs[rung] = fixed, repeat, loss


class CudaRecorder:
    """Record CUDA graphs that share one pool of memory. A recording leaves gradients and random state as they were."""

    def __init__(self, learning: list[nn.Parameter]) -> None:
        self.learning = learning
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        kept = [weight.grad.clone() for weight in self.learning if weight.grad is not None]
        random_state = torch.cuda.get_rng_state()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.stream(stream):  # libraries allocate at their first call, which no graph may do
                for _ in range(2):
                    compute()
            torch.cuda.current_stream().wait_stream(stream)
            # thread_local: the loader's thread may allocate page-locked memory meanwhile (data/loading.py).
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                loss = compute()
        except RuntimeError:
            _replace_random_state(random_state)
            raise
        else:
            torch.cuda.set_rng_state(random_state)
        finally:  # also if the recording fails, since the training goes on without it
            for weight, gradient in zip(self.learning, kept, strict=True):
                assert weight.grad is not None
                weight.grad.copy_(gradient)
        return graph.replay, loss


def _replace_random_state(random_state: Tensor) -> None:
    """Let the GPU draw from a new state with this content: older versions of torch lock that of a failed graph."""
    unlocked = torch.Generator("cuda")
    unlocked.set_state(random_state)
    torch.cuda.default_generators[torch.cuda.current_device()].graphsafe_set_state(unlocked)


def recorded_gradients(
    config: TrainerConfig,
    model: SpeechClassifier,
    gradients: Gradients,
    stage: Stage,
    learning: list[nn.Parameter],
    shapes: np.ndarray,
    accelerator: Accelerator,
) -> RecordedGradients | None:
    """Return `gradients` by graphs; None, and say why, if the training cannot use them.

    shapes: rows and frames of the micro-batches of an epoch, (micro-batches, 2), for the choice of the ladder.
    """
    reasons = {
        "graphs need a CUDA GPU": accelerator.device.type != "cuda",
        "several processes train": accelerator.num_processes > 1,
        "the loss is scaled (trainer.precision=fp16)": accelerator.scaler is not None,
        "the convolutional encoder learns (trainer.freeze=nothing)": stage is Stage.nothing,
        "only the head learns": stage in (Stage.states, Stage.pooled),
        "layers are skipped at random (backbone.layer_drop)": model.backbone.layer_drop > 0,
        "the input is masked at random (augment=masking)": model.backbone.masks_input,
        "words are read beside the audio (backbone.text)": model.text is not None,
        "layers are computed again (trainer.gradient_checkpointing)": config.gradient_checkpointing,
    }
    reason = next((reason for reason, holds in reasons.items() if holds), None)
    if reason is not None:
        say(f"note: trainer.cuda_graphs has no effect: {reason}.")
        return None
    return RecordedGradients(gradients, Ladder.of(shapes), learning)


def _shape(batch: StepInput) -> Shape:
    return Shape(*batch.features.shape[:2])


def _room_for(rung: Shape, batch: StepInput) -> StepInput:
    features = batch.features.new_zeros(*rung, *batch.features.shape[2:])
    counts, rows, weights = (tensor.new_zeros(rung.rows, *tensor.shape[1:]) for tensor in batch[1:4])
    return StepInput(features, counts, rows, weights, batch.scale.clone())


def _fill(fixed: StepInput, batch: StepInput) -> None:
    """Copy a batch into a rung's tensors; the rest is zero, and one frame long."""
    rows, frames = _shape(batch)
    fixed.features.zero_()
    fixed.features[:rows, :frames].copy_(batch.features)
    for own, given, rest in zip(fixed[1:4], batch[1:4], (1, 0, 0), strict=True):
        own.fill_(rest)
        own[:rows].copy_(given)
    fixed.scale.copy_(batch.scale)
