"""An exponential moving average of the weights that learn (`trainer.average`).

After each step, average = decay * average + (1 - decay) * weights. The decay rises to `trainer.average` as
(1 + t) / (10 + t) after t steps, so that the initial weights are soon forgotten (TensorFlow's
ExponentialMovingAverage). Dev is scored with the average, and the best epoch and the saved model are the average;
training goes on from the weights themselves, as without an average.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """The average of weights, in float32, on their device; with decay 0 there is none, and nothing happens."""

    def __init__(self, weights: Sequence[nn.Parameter], decay: float) -> None:
        """Begin the average at the present values.

        weights: those that learn, in float32.
        decay: the highest decay, at least 0 and below 1.
        """
        self.decay = decay
        self.weights = list(weights) if decay > 0.0 else []
        self.averages = [weight.detach().clone() for weight in self.weights]
        self.steps = 0

    def update(self) -> None:
        """Move the average towards the weights, after a step of the optimiser."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        if self.weights:
            get_ema_multi_avg_fn(decay)(self.averages, self.weights, None)  # type: ignore[no-untyped-call]

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Let the model have the average as its weights within the block."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for weight, average in zip(self.weights, self.averages, strict=True):
            weight.data, average.data = average.data, weight.data  # no copy: only the storage changes hands

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` reads."""
        return {"steps": self.steps, "averages": self.averages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved average. Raises ValueError if it is one of other weights."""
        self.steps = state["steps"]
        saved: list[Tensor] = state["averages"]
        for average, value in zip(self.averages, saved, strict=True):
            average.copy_(value)
