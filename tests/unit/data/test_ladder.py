"""Batches are padded to few shapes with little padding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from clips import draw_seconds
from melt_ser.data.batches import ShuffledBatches
from melt_ser.data.ladder import MOST_RUNGS, Ladder, Shape


def computed(ladder: Ladder, shapes: np.ndarray) -> int:
    """Return the number of frames that are computed; a batch without a rung stays as it is."""
    each = [Shape(int(rows), int(frames)) for rows, frames in shapes]
    return sum((ladder.rung_for(shape) or shape).size for shape in each)


@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_hardly_any_ladder_has_less_padding(most: int) -> None:
    generator = np.random.default_rng(most)
    lengths = np.sort(generator.choice(200, 9, replace=False))
    shapes = np.stack([np.full(60, 8), generator.choice(lengths, 60)], axis=1)
    ladder = Ladder.of(shapes, most)
    assert len(ladder.rungs) <= most
    others = (
        Ladder(tuple(Shape(8, int(lengths[place])) for place in (*cut, 8)))
        for cut in itertools.combinations(range(8), min(most, 9) - 1)
    )
    own = int(shapes.prod(axis=1).sum())
    least = min(computed(other, shapes) for other in others)
    assert computed(ladder, shapes) - own <= 1.1 * (least - own)


@pytest.mark.parametrize(
    ("settings", "most"),
    [({"batch_size": 8}, 1.05), ({"batch_size": 32}, 1.05), ({"batch_size": 32, "batch_seconds": 64.0}, 1.1)],
)
def test_the_lengths_of_melt_need_few_shapes_and_little_padding(settings: dict[str, float], most: float) -> None:
    """At most 32 shapes, chosen in one epoch; in another, whole batches have at most 5 % more frames."""
    seconds = np.minimum(draw_seconds(9988, seed=0), 15.0)
    batches = ShuffledBatches(seconds, seed=0, **settings)  # type: ignore[arg-type]
    first, second = (
        np.array([(len(batch.rows), int(50 * seconds[batch.rows].max())) for batch in batches.micro_batches(epoch)])
        for epoch in (1, 2)
    )
    ladder = Ladder.of(first)
    assert len(ladder.rungs) <= MOST_RUNGS
    assert computed(ladder, second) / second.prod(axis=1).sum() < most
    without = [shape for shape in second if ladder.rung_for(Shape(*shape)) is None]
    assert len(without) < 0.02 * len(second)


def test_a_batch_gets_the_smallest_rung_with_room() -> None:
    ladder = Ladder((Shape(8, 40), Shape(4, 100), Shape(8, 120)))
    assert ladder.rung_for(Shape(8, 40)) == Shape(8, 40)
    assert ladder.rung_for(Shape(3, 41)) == Shape(4, 100)
    assert ladder.rung_for(Shape(5, 41)) == Shape(8, 120)
    assert ladder.rung_for(Shape(1, 121)) is None
    assert ladder.rung_for(Shape(9, 10)) is None
