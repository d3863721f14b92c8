"""Batches of like length: little padding on real durations, still random; steps in pieces that fit into memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from melt_ser.config import AugmentConfig
from melt_ser.data.batches import Shard, ShuffledBatches
from melt_ser.data.datasets import WaveformDataset
from small_runs import NO_DROPOUT, corpus, train


@pytest.fixture(scope="module")
def melt_seconds(shared_data: Path) -> np.ndarray:
    """The durations of MELT's training clips by their time stamps, as training crops them."""
    times = pd.read_csv(shared_data / "melt" / "meld_train.csv")[["StartTime", "EndTime"]]
    start, end = (pd.to_timedelta(times[name].str.replace(",", ".")).dt.total_seconds() for name in times)
    return (end - start).clip(upper=15.0).to_numpy()


def padding(seconds: np.ndarray, batches: list[list[int]]) -> float:
    """The share of what is computed that is padding."""
    return 1 - sum(seconds[rows].sum() for rows in batches) / sum(len(rows) * seconds[rows].max() for rows in batches)


def pairs(batches: list[list[int]]) -> set[tuple[int, int]]:
    """Which two utterances share a batch."""
    return {(one, other) for rows in batches for one in rows for other in rows if one < other}


@pytest.mark.parametrize(("batch_size", "met_again"), [(8, 0.02), (32, 0.09)])
def test_on_melt_little_is_padding_and_epochs_are_random(
    melt_seconds: np.ndarray, batch_size: int, met_again: float
) -> None:
    assert melt_seconds.mean() == pytest.approx(3.67, abs=0.01)
    sampler = ShuffledBatches(melt_seconds, batch_size, seed=0)
    epochs = []
    for sampler.epoch in (1, 2, 3):
        epochs.append(list(sampler.batches()))
        assert sorted(np.concatenate(epochs[-1])) == list(range(len(melt_seconds)))  # each utterance once
        assert padding(melt_seconds, epochs[-1]) < 0.10
        assert epochs[-1] == list(sampler.batches())  # a function of seed and epoch
    for first, second in ((0, 1), (1, 2)):
        assert not {frozenset(rows) for rows in epochs[first]} & {frozenset(rows) for rows in epochs[second]}
        shared = len(pairs(epochs[first]) & pairs(epochs[second])) / len(pairs(epochs[first]))
        assert shared < met_again
    # Neither does a step's length say where in the epoch it comes: batches are shuffled.
    lengths = [melt_seconds[rows].max() for rows in epochs[0]]
    assert abs(np.corrcoef(lengths, np.arange(len(lengths)))[0, 1]) < 0.15


@pytest.mark.parametrize("accumulation", [1, 3])
def test_pieces_of_a_step_are_its_utterances_within_the_budget(melt_seconds: np.ndarray, accumulation: int) -> None:
    whole = ShuffledBatches(melt_seconds, 32, 7, gradient_accumulation=accumulation)
    cut = ShuffledBatches(melt_seconds, 32, 7, gradient_accumulation=accumulation, batch_seconds=12.0)
    assert cut.steps_per_epoch == len(list(cut.steps())) == len(list(whole.steps()))
    for batches, pieces in zip(whole.steps(), cut.steps(), strict=True):
        assert len(batches) <= accumulation
        assert sorted(np.concatenate(batches)) == sorted(np.concatenate(pieces))
        for rows in pieces:
            longest = melt_seconds[rows].max()
            assert len(rows) * longest <= 12.0 or len(rows) == 1  # a clip that is longer is alone
        assert len(pieces) <= np.ceil(2 * melt_seconds[np.concatenate(batches)].sum() / 12.0) + 1
    assert any(melt_seconds[rows[0]] > 12.0 for step in cut.steps() for rows in step)
    pieces_of_epoch = [rows for step in cut.steps() for rows in step]
    assert padding(melt_seconds, pieces_of_epoch) < padding(melt_seconds, list(whole.batches()))


def test_every_process_has_a_row_of_every_piece() -> None:
    """Pieces of one utterance among three processes: the two without it compute it too, to be counted as nothing."""
    seconds = np.random.default_rng(0).uniform(1, 9, 23)
    whole = ShuffledBatches(seconds, 4, 3, gradient_accumulation=2, batch_seconds=10.0)
    pieces = [rows for step in whole.steps() for rows in step]
    assert any(len(rows) == 1 for rows in pieces)
    for number in range(3):
        shares = list(ShuffledBatches(seconds, 4, 3, None, Shard(number, 3), 2, 10.0))
        assert shares == [Shard(number, 3).of(rows) or rows[:1] for rows in pieces]
    counted = [row for number in range(3) for rows in pieces for row in Shard(number, 3).of(rows)]
    assert sorted(counted) == list(range(23))


def test_steps_in_pieces_learn_what_whole_steps_learn(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c", each=7)
    settings = (*NO_DROPOUT, "trainer.epochs=5", "dataset.folds=4", "trainer.head_learning_rate=1e-2")
    settings += ("trainer.batch_size=8", "trainer.gradient_accumulation=2")
    losses = [
        pd.read_csv(train(tmp_path / "runs", root, *settings, *more)[0] / "metrics.csv")["train_loss"]
        for more in ((), ("trainer.batch_seconds=1",))
    ]
    assert 0 < np.abs(losses[0] - losses[1]).max() < 1e-4  # rounding: they were cut otherwise, and learn the same


def test_the_result_says_how_much_was_padding(tmp_path: Path) -> None:
    folder, result = train(tmp_path / "runs", corpus(tmp_path / "c"), "trainer.epochs=2")
    by_epoch = pd.read_csv(folder / "metrics.csv")["padding"]
    assert result["train"]["padding"] == pytest.approx(by_epoch.mean(), abs=1e-4)
    assert 0 < result["train"]["padding"] < 0.5


def test_lengths_are_those_after_speed_and_crop(tmp_path: Path) -> None:
    table = pd.DataFrame({"audio": ["a.wav", "b.wav"], "start": np.nan, "end": np.nan, "duration": [1.8, 9.0]})
    table["class"] = "sad"
    slow = AugmentConfig(speed_factors=[0.9, 1.0])
    assert WaveformDataset(table, tmp_path, ["sad"], True).seconds.tolist() == [1.8, 9.0]
    assert WaveformDataset(table, tmp_path, ["sad"], True, slow).seconds.tolist() == [2.0, 10.0]
    assert WaveformDataset(table, tmp_path, ["sad"], True, slow, 5.0).seconds.tolist() == [2.0, 5.0]
    assert WaveformDataset(table, tmp_path, ["sad"], True, slow, 5.0, pad_seconds=5.0).seconds.tolist() == [5.0, 5.0]
