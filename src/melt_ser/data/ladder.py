"""A ladder of shapes: batches are padded to one of a few shapes, so that a GPU computes each by a recorded graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

MOST_RUNGS = 32  # each has a graph, which takes part of a second to record


class Shape(NamedTuple):
    """The shape of a batch: its utterances, and its frames with padding."""

    rows: int
    frames: int

    @property
    def size(self) -> int:
        """Return the number of frames that are computed."""
        return self.rows * self.frames


@dataclass(frozen=True)
class Ladder:
    """The shapes to pad to, from the smallest to the largest."""

    rungs: tuple[Shape, ...]

    @classmethod
    def of(cls, shapes: npt.ArrayLike, most: int = MOST_RUNGS) -> Ladder:
        """Return a ladder of at most `most` rungs that fits these batches with little padding.

        shapes: the rows and frames of each batch, (batches, 2).

        Each shape that occurs is a rung at first. As long as there are too many, the two are merged into one that has
        room for both whose merging adds the fewest frames. For one number of rows the result is within a tenth of the
        best (tests/unit/data/test_ladder.py).
        """
        kinds, times = np.unique(np.asarray(shapes, dtype=float), axis=0, return_counts=True)
        costs = np.array([_costs(kinds, times, place) for place in range(len(kinds))])
        while len(kinds) > most:
            kept, merged = divmod(int(costs.argmin()), len(kinds))
            kinds[kept], times[kept] = np.maximum(kinds[kept], kinds[merged]), times[kept] + times[merged]
            kinds, times = np.delete(kinds, merged, axis=0), np.delete(times, merged)
            costs = np.delete(np.delete(costs, merged, axis=0), merged, axis=1)
            kept -= merged < kept
            costs[kept] = costs[:, kept] = _costs(kinds, times, kept)
        rungs = (Shape(int(rows), int(frames)) for rows, frames in kinds)
        return cls(tuple(sorted(rungs, key=lambda rung: rung.size)))

    def rung_for(self, shape: Shape) -> Shape | None:
        """Return the smallest rung that has room for a batch; None if none has."""
        return next((rung for rung in self.rungs if rung.rows >= shape.rows and rung.frames >= shape.frames), None)


def _costs(kinds: np.ndarray, times: np.ndarray, place: int) -> np.ndarray:
    """Return the frames that are added if the shape at `place` is merged with each shape; infinite with itself.

    kinds: the rows and frames of each shape, (shapes, 2). times: how often each occurs, (shapes,).
    """
    together = np.maximum(kinds, kinds[place]).prod(axis=1) * (times + times[place])
    costs: np.ndarray = together - kinds.prod(axis=1) * times - kinds[place].prod() * times[place]
    costs[place] = np.inf
    return costs
