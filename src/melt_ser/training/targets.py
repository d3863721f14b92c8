"""The right answers for each utterance of a part, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from melt_ser.config import ObjectiveConfig
from melt_ser.data.datasets import ClipDataset


@dataclass(frozen=True)
class Targets:
    """The right answers of the utterances of a part, in the order of its table.

    classes: the number of the class of each, (utterances,); all 0 if the model has no classes.
    shares: of the classes among the votes, (utterances, classes); None: no votes, or the class is the target.
    attributes: each on a scale from -1 to 1, (utterances, attributes), NaN if it is not known.
    is_distribution: whether the shares are the target, and not the class.
    """

    classes: np.ndarray
    shares: np.ndarray | None = None
    attributes: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    is_distribution: bool = False

    def shares_to_learn(self, count: int) -> np.ndarray:
        """Return the shares of the classes, (utterances, classes): those of the votes, or 1 for the class of each.

        count: the number of classes.
        """
        if self.is_distribution:
            assert self.shares is not None
            return self.shares
        of_class: np.ndarray = np.eye(count)[self.classes]
        return of_class


@dataclass(frozen=True)
class Goals:
    """The goals of a training: the loss, and the right answers of its parts; `dev` is None without a dev part."""

    objective: ObjectiveConfig
    train: Targets
    dev: Targets | None

    @classmethod
    def of_classes(cls, train: ClipDataset, dev: ClipDataset | None) -> Goals:
        """Return the cross-entropy of the classes of utterances."""
        parts = [None if part is None else Targets(part.classes) for part in (train, dev)]
        assert parts[0] is not None
        return cls(ObjectiveConfig(), parts[0], parts[1])
