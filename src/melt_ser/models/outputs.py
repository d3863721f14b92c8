"""The outputs of a model: a probability of each class, then a number for each attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Outputs:
    """The outputs, in the order of the logits.

    classes: their names; [] if the model knows attributes alone.
    scales: the lowest and highest value of each attribute. A logit of -1 is the lowest, and 1 the highest.
    independent: whether each class was learnt by itself (objective=multi_label): its probability is the sigmoid of its
        logit, scaled so that those of all classes sum to 1.
    """

    classes: Sequence[str]
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    independent: bool = False

    def __len__(self) -> int:
        return len(self.classes) + len(self.scales)

    @property
    def names(self) -> list[str]:
        """Return the names of all outputs, in their order."""
        return [*self.classes, *self.scales]

    def answers(self, logits: Tensor) -> Tensor:
        """Return probabilities, then attributes on their scales, (..., outputs), in float32."""
        logits = logits.float()
        if not self.scales and not self.independent:
            return logits.softmax(dim=-1)
        count = len(self.classes)
        probabilities = logits[..., :count]
        if self.independent:
            own = probabilities.sigmoid()
            probabilities = own / own.sum(dim=-1, keepdim=True)
        elif count:
            probabilities = probabilities.softmax(dim=-1)
        import torch

        low, high = torch.tensor(list(self.scales.values()), device=logits.device).reshape(-1, 2).unbind(dim=1)
        attributes = low + (logits[..., count:] + 1) * ((high - low) / 2)
        return torch.cat([probabilities, attributes], dim=-1)
