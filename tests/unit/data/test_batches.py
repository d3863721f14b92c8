"""Batches of similar length: little padding on real durations, yet random; micro-batches that fit into memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from melt_ser.data.batches import Shard, ShuffledBatches


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
    assert cut.steps_per_epoch == len(cut_steps) == len(whole_steps)
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
    assert sum(micro_batch.ends_step for micro_batch in micro_batches) == plan.steps_per_epoch
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
