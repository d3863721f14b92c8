"""Batches of similar length: little padding on real durations, yet random; micro-batches that fit into memory."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from melt_ser.data.batches import Shard, ShuffledBatches
from melt_ser.data.ladder import MOST_RUNGS, Ladder, Shape


@pytest.fixture(scope="module")
def melt_seconds(shared_data: Path) -> np.ndarray:
    """Return the durations of MELT's training clips by their time stamps, cropped to 15 s."""
    times = pd.read_csv(shared_data / "melt" / "meld_train.csv")[["StartTime", "EndTime"]]
    start, end = (pd.to_timedelta(times[name].str.replace(",", ".")).dt.total_seconds() for name in times)
    return (end - start).clip(upper=15.0).to_numpy()


def padding(seconds: np.ndarray, batches: list[list[int]]) -> float:
    """Return the fraction of the computed audio that is padding."""
    return 1 - sum(seconds[rows].sum() for rows in batches) / sum(len(rows) * seconds[rows].max() for rows in batches)


def pairs(batches: list[list[int]]) -> set[tuple[int, int]]:
    """Return all pairs of utterances that share a batch."""
    return {(one, other) for rows in batches for one in rows for other in rows if one < other}


@pytest.mark.parametrize(("batch_size", "met_again"), [(8, 0.02), (32, 0.09)])
def test_batches_of_melt_have_little_padding_and_are_random(
    melt_seconds: np.ndarray, batch_size: int, met_again: float
) -> None:
    assert melt_seconds.mean() == pytest.approx(3.67, abs=0.01)
    sampler = ShuffledBatches(melt_seconds, batch_size, seed=0)
    epochs = []
    for epoch in (1, 2, 3):
        epochs.append(list(sampler.batches(epoch)))
        assert sorted(np.concatenate(epochs[-1])) == list(range(len(melt_seconds)))  # each utterance once
        assert padding(melt_seconds, epochs[-1]) < 0.10
        assert epochs[-1] == list(sampler.batches(epoch))  # a function of seed and epoch
    for first, second in ((0, 1), (1, 2)):
        assert not {frozenset(rows) for rows in epochs[first]} & {frozenset(rows) for rows in epochs[second]}
        shared = len(pairs(epochs[first]) & pairs(epochs[second])) / len(pairs(epochs[first]))
        assert shared < met_again
    # The length of a step does not depend on its place in the epoch: batches are shuffled.
    lengths = [melt_seconds[rows].max() for rows in epochs[0]]
    assert abs(np.corrcoef(lengths, np.arange(len(lengths)))[0, 1]) < 0.15


@pytest.mark.parametrize("accumulation", [1, 3])
def test_micro_batches_of_a_step_are_its_utterances_within_the_budget(
    melt_seconds: np.ndarray, accumulation: int
) -> None:
    whole = ShuffledBatches(melt_seconds, 32, 7, gradient_accumulation=accumulation)
    cut = ShuffledBatches(melt_seconds, 32, 7, gradient_accumulation=accumulation, batch_seconds=12.0)
    whole_steps, cut_steps = list(whole.steps(1)), list(cut.steps(1))
    assert cut.steps_until(1) == len(cut_steps) == len(whole_steps)
    for batches, micro_batches in zip(whole_steps, cut_steps, strict=True):
        assert len(batches) <= accumulation
        assert sorted(np.concatenate(batches)) == sorted(np.concatenate(micro_batches))
        for rows in micro_batches:
            longest = melt_seconds[rows].max()
            assert len(rows) * longest <= 12.0 or len(rows) == 1  # a longer clip is alone
        assert len(micro_batches) <= np.ceil(2 * melt_seconds[np.concatenate(batches)].sum() / 12.0) + 1
    assert any(melt_seconds[rows[0]] > 12.0 for step in cut_steps for rows in step)
    micro_batches_of_epoch = [rows for step in cut_steps for rows in step]
    assert padding(melt_seconds, micro_batches_of_epoch) < padding(melt_seconds, list(whole.batches(1)))


def test_micro_batches_name_their_step_and_the_last_ends_it() -> None:
    seconds = np.random.default_rng(0).uniform(1, 9, 23)
    plan = ShuffledBatches(seconds, 4, 3, gradient_accumulation=2, batch_seconds=10.0)
    micro_batches = list(plan.micro_batches(1))
    assert sum(micro_batch.ends_step for micro_batch in micro_batches) == plan.steps_until(1)
    for number, step in enumerate(plan.steps(1), start=1):
        own = [micro_batch for micro_batch in micro_batches if micro_batch.step == number]
        assert [micro_batch.rows for micro_batch in own] == step
        assert [micro_batch.ends_step for micro_batch in own] == [False] * (len(step) - 1) + [True]
        assert all(micro_batch.step_rows.tolist() == np.concatenate(step).tolist() for micro_batch in own)


def test_every_process_has_a_row_of_every_micro_batch() -> None:
    """Of three processes, two lack the row of a micro-batch of one; they compute it too, but do not count it."""
    seconds = np.random.default_rng(0).uniform(1, 9, 23)
    plan = ShuffledBatches(seconds, 4, 3, gradient_accumulation=2, batch_seconds=10.0)
    micro_batches = [micro_batch.rows for micro_batch in plan.micro_batches(1)]
    assert any(len(rows) == 1 for rows in micro_batches)
    for number in range(3):
        shard = Shard(number, 3)
        assert all(shard.to_compute(rows) == (shard.of(rows) or rows[:1]) != [] for rows in micro_batches)
    counted = [row for number in range(3) for rows in micro_batches for row in Shard(number, 3).of(rows)]
    assert sorted(counted) == list(range(23))


LENGTHS = st.lists(st.floats(0.1, 40.0), min_size=1, max_size=300)


@given(LENGTHS, st.integers(1, 200), st.integers(0, 5), st.integers(1, 3))
def test_steps_by_seconds_have_each_clip_once_and_stay_within_their_bound(
    lengths: list[float], step_seconds: int, seed: int, epoch: int
) -> None:
    seconds = np.array(lengths)
    plan = ShuffledBatches(seconds, 8, seed, step_seconds=step_seconds)
    steps = [batch.rows for batch in plan.micro_batches(epoch)]
    assert sorted(np.concatenate(steps)) == list(range(len(seconds)))
    for rows in steps:
        assert len(rows) * seconds[rows].max() <= step_seconds or len(rows) == 1  # a longer clip is alone
    assert steps == [batch.rows for batch in plan.micro_batches(epoch)]  # a function of seed and epoch
    assert all(batch.ends_step for batch in plan.micro_batches(epoch))
    assert plan.steps_until(epoch) - plan.steps_until(epoch - 1) == len(steps)


@given(LENGTHS, st.integers(1, 200), st.integers(1, 5))
def test_processes_share_a_step_by_seconds_evenly(lengths: list[float], step_seconds: int, processes: int) -> None:
    """In number, and in length: a process has no longer clip than the others by more than one place in the order."""
    seconds = np.array(lengths)
    for batch in ShuffledBatches(seconds, 8, 0, step_seconds=step_seconds).micro_batches(1):
        shares = [Shard(number, processes).of(batch.rows) for number in range(processes)]
        assert sorted(row for rows in shares for row in rows) == sorted(batch.rows)
        sizes = [len(rows) for rows in shares]
        assert max(sizes) - min(sizes) <= 1
        for first, second in itertools.pairwise(shares):
            assert all(seconds[one] >= seconds[other] for one, other in zip(first, second, strict=False))


@given(LENGTHS, st.integers(1, 100), st.integers(1, 4))
def test_each_clip_counts_the_same_in_an_epoch_of_steps_by_seconds(
    lengths: list[float], step_seconds: int, epoch: int
) -> None:
    """The divisor is one number for the epoch, and that of a mean over steps of equal size."""
    plan = ShuffledBatches(np.array(lengths), 8, 0, step_seconds=step_seconds, batch_seconds=10.0)
    batches = list(plan.micro_batches(epoch))
    [divisor] = {batch.divisor for batch in batches}
    assert divisor == len(lengths) / len({batch.step for batch in batches})


def test_a_step_of_a_number_of_clips_is_divided_by_its_own_number() -> None:
    for batch in ShuffledBatches(np.linspace(1, 9, 23), 4, 3, batch_seconds=10.0).micro_batches(1):
        assert batch.divisor == len(batch.step_rows) in (4, 3)


@pytest.mark.parametrize("step_seconds", [30, 120, 480])
def test_steps_by_seconds_of_melt_have_little_padding_and_are_random(
    melt_seconds: np.ndarray, step_seconds: int
) -> None:
    plan = ShuffledBatches(melt_seconds, 8, seed=0, step_seconds=step_seconds)
    first, second = list(plan.batches(1)), list(plan.batches(2))
    assert padding(melt_seconds, first) < 0.07
    computed = np.array([len(rows) * melt_seconds[rows].max() for rows in first])
    assert np.median(computed) > 0.85 * step_seconds  # few steps are much smaller than the bound
    assert not {frozenset(rows) for rows in first if len(rows) > 1} & {frozenset(rows) for rows in second}
    lengths = [melt_seconds[rows].max() for rows in first]
    assert abs(np.corrcoef(lengths, np.arange(len(lengths)))[0, 1]) < 0.25  # steps are shuffled


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"batch_size": 8}, 1.05),
        ({"batch_size": 32}, 1.05),
        *(({"step_seconds": seconds}, 1.055) for seconds in (30, 64, 120, 240, 480)),
    ],
)
def test_graphs_for_melt_need_few_shapes_and_little_padding(
    melt_seconds: np.ndarray, settings: dict[str, int], most: float
) -> None:
    """At most 32 shapes, chosen in one epoch; in another, hardly more than 5 % more frames."""
    plan = ShuffledBatches(melt_seconds, seed=0, **{"batch_size": 8} | settings)
    chosen, other = (
        [Shape(len(batch.rows), int(50 * melt_seconds[batch.rows].max())) for batch in plan.micro_batches(epoch)]
        for epoch in (1, 2)
    )
    ladder = Ladder.of(np.array(chosen))
    assert len(ladder.rungs) <= MOST_RUNGS
    assert sum((ladder.rung_for(shape) or shape).size for shape in other) <= most * sum(shape.size for shape in other)
