"""A search that is killed, shared by several processes, or has trials that fail."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from melt_ser.training.fit import fit
from small_studies import FROZEN, HEADS, RATES, noisy, start, study_of, tune, words

pytestmark = pytest.mark.slow

pytest.importorskip("optuna", reason="optuna is not installed: pip install 'melt-ser[tune]'")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noisy(tmp_path_factory.mktemp("corpus") / "c")


KILL = """
import os, signal
from melt_ser.training import fit
from melt_ser.training.checkpoints import save_checkpoint
count = 0
def save_then_die(*arguments):
    global count
    save_checkpoint(*arguments)
    count += 1
    if count == 4:  # the first epoch of the second trial, of three epochs each
        os.kill(os.getpid(), signal.SIGKILL)
fit.save_checkpoint = save_then_die
"""


def test_a_killed_search_goes_on_with_the_trial_under_way(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("trainer.epochs=3", "dataset.folds=leave_one_out", "--trials", "3")
    killed = words(tmp_path / "killed", root, RATES, *settings)
    process = start(*killed, before=KILL)
    _, said = process.communicate()
    assert process.returncode == -9, said

    epochs: list[int] = []

    def counted(*arguments: Any) -> Any:
        *others, report, goals = arguments

        def follow(folder: Path, history: list[dict[str, Any]]) -> None:
            epochs.append(int(history[-1]["epoch"]))
            report(folder, history)

        return fit(*others, follow, goals)

    monkeypatch.setattr("melt_ser.runs.fold.fit", counted)
    assert tune(monkeypatch, *killed) == 0
    assert epochs == [2, 3, 1, 2, 3]  # the rest of the second trial, and the third
    trials = study_of(tmp_path / "killed")
    assert list(trials["state"]) == ["finished", "stopped", "finished", "finished"]
    assert tune(monkeypatch, *words(tmp_path / "whole", root, RATES, *settings)) == 0
    whole = study_of(tmp_path / "whole")
    kept = trials[trials["state"] == "finished"]
    for column in ("dev_ua", "trainer.head_learning_rate", "best_epoch"):
        assert list(kept[column]) == list(whole[column])


def test_two_commands_share_a_search(tmp_path: Path, root: Path) -> None:
    storage = ("--storage", str(tmp_path / "tune.db"))
    # One command may be slow and end last; with five trials finished, its own could be pruned.
    search = words(tmp_path, root, RATES + HEADS, *FROZEN, "--trials", "6", "--no-pruning", *storage)
    both = [start(*search) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    ended = [re.findall(r"^trial (\d+) .*: dev UA", text, re.MULTILINE) for text in said]
    assert sorted(number for numbers in ended for number in numbers) == [str(number) for number in range(6)]
    assert list(study_of(tmp_path)["state"]) == ["finished"] * 6


def test_workers_share_a_search_and_one_report_follows(tmp_path: Path, root: Path) -> None:
    process = start(*words(tmp_path, root, RATES, *FROZEN, "--trials", "4", "--workers", "2"))
    shown, said = process.communicate()
    assert process.returncode == 0, said
    trials = study_of(tmp_path)  # not their lines on the terminal: those of two processes may run into each other
    assert dict(zip(trials["trial"], trials["state"], strict=True)) == dict.fromkeys(range(4), "finished")
    assert said.count("run it: python") == shown.count("The best trials") == 1


def test_a_trial_that_fails_is_told_and_stops_no_other(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    space = "trainer.head_learning_rate: [0.01, 1e38]\n"
    assert tune(monkeypatch, *words(tmp_path, root, space, *FROZEN)) == 1
    trials = study_of(tmp_path).set_index("trainer.head_learning_rate")
    assert trials["state"].to_dict() == {0.01: "finished", 1e38: "failed"}
    assert trials.loc[1e38, "reason"].startswith("The loss is not finite at epoch")
    said = capsys.readouterr().err
    assert "error: 1 of 2 trials failed; the first: The loss is not finite" in said
    assert "run it: " in said


def test_a_search_whose_every_trial_fails_stops(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    space = "trainer.head_learning_rate: {low: 1e37, high: 1e38}\n"
    assert tune(monkeypatch, *words(tmp_path, root, space, *FROZEN)) == 1
    said = capsys.readouterr().err
    assert said.count("failed: The loss is not finite") == 3
    assert said.splitlines()[-1].startswith("error: The loss is not finite")


def test_a_bug_in_a_trial_is_shown_and_the_same_command_goes_on(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    search = words(tmp_path, root, "trainer.balance: [loss, nothing]", "trainer=probe", "dataset.folds=leave_one_out")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="a bug"):
        patch.setattr("melt_ser.tuning.trial.train_model", fail)
        tune(patch, *search)
    assert tune(monkeypatch, *search) == 1
    trials = study_of(tmp_path)
    assert list(trials["state"]) == ["failed", "finished"]
    assert trials["reason"][0] == "RuntimeError: a bug"
