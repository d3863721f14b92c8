"""What a model should answer for each utterance of a part, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from melt_ser.config import ObjectiveConfig
from melt_ser.corpora.labels import LabelSpace
from melt_ser.corpora.targets import attributes_of, shares_of
from melt_ser.data.datasets import ClipDataset
from melt_ser.models.outputs import Outputs


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

    @classmethod
    def of(cls, table: pd.DataFrame, outputs: Outputs, space: LabelSpace, is_distribution: bool) -> Targets:
        """Return the targets of the rows of a corpus table.

        space: the classes by emotion, for the votes. is_distribution: see `Targets`.
        """
        numbers = {name: number for number, name in enumerate(outputs.classes)}
        if numbers:
            classes = table["class"].map(numbers).to_numpy(dtype="int64")
        else:
            classes = np.zeros(len(table), dtype=np.int64)
        shares = shares_of(table, space, outputs.classes) if numbers else None
        if shares is not None and not shares.any():
            shares = None
        low, high = np.array(list(outputs.scales.values()), dtype=np.float64).reshape(-1, 2).T
        attributes = 2 * (attributes_of(table, list(outputs.scales)) - low) / (high - low) - 1
        return cls(classes, shares, attributes, is_distribution)


@dataclass(frozen=True)
class Goals:
    """What a training aims at: the loss, and the right answers of its parts; `dev` is None without a dev part."""

    objective: ObjectiveConfig
    train: Targets
    dev: Targets | None

    @classmethod
    def of_classes(cls, train: ClipDataset, dev: ClipDataset | None) -> Goals:
        """Return the cross-entropy of the classes of utterances."""
        parts = [None if part is None else Targets(part.classes) for part in (train, dev)]
        assert parts[0] is not None
        return cls(ObjectiveConfig(), parts[0], parts[1])
