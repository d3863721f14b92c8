"""Two and four processes (gloo) train and score as one does, on the same global batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from melt_ser.data.batches import Shard, ShuffledBatches, SortedBatches
from small_runs import CLASSES, NO_DROPOUT, corpus, predictions, train, typed

# Ten steps of three batches in micro-batches. The utterances do not divide evenly, and classes have unequal weights.
TEN_STEPS = (
    *NO_DROPOUT,
    "trainer.epochs=10",
    "trainer.batch_size=8",
    "trainer.gradient_accumulation=3",
    "trainer.head_learning_rate=1e-2",
    "dataset.folds=4",
)
TEN_STEPS += ("trainer.batch_seconds=1",)


TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node")
ACCELERATE = ("accelerate.commands.launch", "--multi_gpu", "--main_process_port", "0", "--num_processes")


def launched(
    launcher: tuple[str, ...], verb: str, out: Path, *overrides: str, processes: int = 2
) -> subprocess.CompletedProcess[str]:
    """Run a verb on some processes, such as `torchrun --standalone --nproc_per_node 2 -m melt_ser.<verb>`."""
    command = [sys.executable, "-m", *launcher, str(processes), "-m", f"melt_ser.{verb}", *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=out)


def trained_alike(
    out: Path, root: Path, *settings: str, launcher: tuple[str, ...] = TORCHRUN, processes: int = 2
) -> tuple[Path, Path]:
    """Train with one process and with several; assert that the losses are the same, and return both runs' folders."""
    one, _ = train(out / "one", root, *settings)
    done = launched(launcher, "train", out, *typed(out / "several", root, *settings), processes=processes)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("result: ")]
    several = Path(line.removeprefix("result: ")).parent
    found = json.loads((several / "result.json").read_text())
    assert (several.name, found["run"]["processes"]) == (one.name, processes)
    alone, together = (pd.read_csv(folder / "metrics.csv") for folder in (one, several))
    assert np.abs(alone[["train_loss", "dev_loss"]] - together[["train_loss", "dev_loss"]]).to_numpy().max() < 1e-4
    return one, several


@pytest.mark.slow
def test_two_processes_train_and_score_as_one_does(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c", each=7)
    one, result = train(tmp_path / "one", root, *TEN_STEPS)
    done = launched(TORCHRUN, "train", tmp_path, *typed(tmp_path / "two", root, *TEN_STEPS, "logger=tensorboard"))
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("result: ")]
    assert len(lines) == 1  # one process speaks
    two = Path(lines[0].removeprefix("result: ")).parent
    assert two.name == one.name  # the run's identity is the same
    assert len(list((two / "tensorboard").iterdir())) == 1  # one process tracks

    alone, together = pd.read_csv(one / "metrics.csv"), pd.read_csv(two / "metrics.csv")
    assert len(together) == 10
    assert np.abs(alone["train_loss"] - together["train_loss"]).max() < 1e-4
    assert alone["train_loss"].iloc[0] - alone["train_loss"].iloc[-1] > 0.01  # it did learn
    both = json.loads((two / "result.json").read_text())
    assert both["run"]["processes"] == 2

    # The same weights: two processes score as one does, each utterance exactly once.
    for row in (both["evals"][0], result["evals"][0]):
        assert row["n"] == 7
    score = [f"run={two}", "dataset=csv", "dataset.name=other", f"dataset.root={root}", "dataset.table=table.csv"]
    score += ["eval.allow_overlap=true", "device=cpu"]
    done = launched(ACCELERATE, "evaluate", tmp_path, *score)
    assert done.returncode == 0, done.stderr
    together = pd.read_csv(two / "predictions" / "other_all.csv")
    assert len(together) == together["utterance"].nunique() == 28

    from melt_ser.cli.compose import compose
    from melt_ser.evaluate import evaluate

    evaluate(compose(score, "evaluate"))
    alone = pd.read_csv(two / "predictions" / "other_all.csv")
    assert list(alone["utterance"]) == list(together["utterance"])
    assert np.abs(alone[list(CLASSES)] - together[list(CLASSES)]).to_numpy().max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_four_processes_accumulate_the_gradients_that_one_does(launcher: tuple[str, ...], tmp_path: Path) -> None:
    root = corpus(tmp_path / "c", each=7)
    one, four = trained_alike(tmp_path, root, *TEN_STEPS, launcher=launcher, processes=4)
    assert np.abs(predictions(one) - predictions(four)).to_numpy().max() < 1e-4


@pytest.mark.slow
def test_two_processes_fit_the_probe_that_one_does(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c", each=7)
    settings = ("trainer=probe", "head.layers=chosen", "dataset.folds=2", "dataset.fold=all")
    one, result = train(tmp_path / "one", root, *settings)
    done = launched(TORCHRUN, "train", tmp_path, *typed(tmp_path / "two", root, *settings))
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("result: ")]
    two = Path(line.removeprefix("result: ")).parent
    both = json.loads((two / "result.json").read_text())
    assert (two.name, both["run"]["processes"]) == (one.name, 2)
    for alone, together in zip(result["train"]["folds"], both["train"]["folds"], strict=True):
        assert together["chosen"] == pytest.approx(alone["chosen"])
    assert np.abs(predictions(one) - predictions(two)).to_numpy().max() < 1e-4


@pytest.mark.slow
def test_two_processes_learn_the_adapters_and_the_average_that_one_does(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c", each=7)
    settings = (
        *TEN_STEPS,
        "trainer=lora",
        "head=linear",
        "trainer.refit=true",
        "augment=nothing",
        "trainer.average=0.9",
    )
    settings += ("trainer.backbone_learning_rate=3e-3",)
    one, two = trained_alike(tmp_path, root, *settings)
    assert np.abs(predictions(one) - predictions(two)).to_numpy().max() < 1e-3


@pytest.mark.slow
def test_two_processes_take_the_steps_by_seconds_that_one_does(tmp_path: Path) -> None:
    """Some steps have one clip alone, which one process counts and the other only computes."""
    root = corpus(tmp_path / "c", each=7)
    by_clips = {"trainer.gradient_accumulation=3", "trainer.batch_seconds=1"}
    settings = (
        *(setting for setting in TEN_STEPS if setting not in by_clips),
        "trainer.step_seconds=1",
        "trainer.head_learning_rate=3e-3",
        "trainer.epochs=4",
    )
    trained_alike(tmp_path, root, *settings)


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_shards_of_all_processes_together_are_the_batch(processes: int) -> None:
    seconds = np.random.default_rng(0).uniform(1, 9, 23)
    shards = [Shard(number, processes) for number in range(processes)]
    for batch in ShuffledBatches(seconds, 4, seed=3).batches(1):
        assert all(shard.to_compute(batch) for shard in shards)  # no process is left without a row
        assert sorted(row for shard in shards for row in shard.of(batch)) == sorted(batch)
    scored = [row for shard in shards for rows in SortedBatches(seconds, 4, shard) for row in rows]
    assert sorted(scored) == list(range(23))


def test_a_launcher_of_processes_that_starts_only_one_is_reported(tmp_path: Path) -> None:
    launcher = ["accelerate.commands.launch", "--num_processes", "2", "--cpu", "-m", "melt_ser.train"]
    command = [sys.executable, "-m", *launcher, "dataset=emodb"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert "accelerate launch --cpu has started one process" in done.stderr
    assert "torchrun --nproc_per_node 2 -m melt_ser.train" in done.stderr
