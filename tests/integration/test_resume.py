"""A run that is killed and resumed ends as if it had not been: the same weights, metrics and predictions to the bit."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from checkout import CHECKOUT
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.locks import exclusive_lock
from melt_ser.models.export import save_model
from melt_ser.runs.folder import read_result
from melt_ser.training.progress import TrainingProgress
from small_models import small_classifier
from small_runs import corpus, outcome, predictions, train
from stopped_runs import stopped_after_checkpoint, stopped_at


@pytest.mark.slow
def test_a_resumed_run_is_the_same_after_a_kill_at_any_moment(tmp_path: Path) -> None:
    """Kill within an epoch, a checkpoint's write or a rename, or between a model and its mark: see crash_tests.py."""
    script = CHECKOUT / "tests" / "helpers" / "crash_tests.py"
    done = subprocess.run([sys.executable, str(script), "points", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    outcomes = json.loads(done.stdout)
    assert outcomes["different"] == []
    assert outcomes["kills"] == outcomes["moments"] >= 14  # each moment was reached


def test_a_damaged_checkpoint_or_another_corpus_is_refused(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    with stopped_at():
        train(tmp_path / "runs", root)
    [checkpoint] = (tmp_path / "runs").glob("*/*/*/checkpoints/epoch*")
    weights = checkpoint / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"epoch0001 cannot be read .*delete that folder or set force=true"):
        train(tmp_path / "runs", root)
    weights.write_bytes(whole)
    table = pd.read_csv(root / "table.csv")
    table.iloc[1:].to_csv(root / "table.csv", index=False)
    with pytest.raises(InputError, match="has changed since the run in .* was begun; set force=true"):
        train(tmp_path / "runs", root)
    folder, result = train(tmp_path / "runs", root, "force=true")
    assert result["train"]["n"] + sum(fold["n_dev"] + fold["n_test"] for fold in result["train"]["folds"]) == 23
    assert not list(folder.rglob(".*"))


def test_a_head_on_cached_features_resumes_after_its_tenth_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = corpus(tmp_path / "c")
    settings = ("trainer=frozen", "trainer.epochs=12", f"cache.folder={tmp_path / 'cache'}")
    folder, _ = train(tmp_path / "whole", root, *settings)
    with stopped_at():
        train(tmp_path / "stopped", root, *settings)
    [checkpoint] = (tmp_path / "stopped").glob("*/*/*/checkpoints/epoch*")
    assert checkpoint.name == "epoch0010"
    epochs: set[int] = set()
    monkeypatch.setattr(TrainingProgress, "step", lambda progress, epoch, *more: epochs.add(epoch))
    resumed, _ = train(tmp_path / "stopped", root, *settings)
    assert epochs == {11, 12}
    assert outcome(resumed) == outcome(folder)


ADAPTER = ("+backbone.architecture.add_adapter=true", "+backbone.architecture.num_adapter_layers=1")


@pytest.mark.parametrize("backbone", ["unispeech_random", "wav2vec2_conformer_random", "w2v_bert_random"])
@pytest.mark.parametrize(
    "settings",
    [
        ("augment=masking", "trainer.epochs=2"),
        ("trainer.freeze=1", "trainer.epochs=2"),
        ("trainer=frozen", "head=attention", "trainer.epochs=12"),
    ],
    ids=lambda settings: settings[0],
)
def test_each_kind_of_encoder_resumes_to_the_bit(backbone: str, settings: tuple[str, ...], tmp_path: Path) -> None:
    """It trains with masks, from cached frozen layers, or a head on cached frames; those with an adapter read it."""
    root = corpus(tmp_path / "c")
    settings = (f"backbone={backbone}", *settings, f"cache.folder={tmp_path / 'cache'}")
    settings = settings if backbone.startswith("unispeech") else (*settings, *ADAPTER)
    folder, _ = train(tmp_path / "whole", root, *settings)
    with stopped_at():
        train(tmp_path / "stopped", root, *settings)
    resumed, _ = train(tmp_path / "stopped", root, *settings)
    assert outcome(resumed) == outcome(folder)


def test_steps_by_seconds_resume_to_the_bit(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    settings = ("trainer.step_seconds=1", "trainer.epochs=2", f"cache.folder={tmp_path / 'cache'}")
    folder, result = train(tmp_path / "whole", root, *settings)
    assert result["config"]["trainer"]["step_seconds"] == 1 and result["train"]["step_seconds"] is None
    with stopped_after_checkpoint(lambda _, state: state.epoch == 1):
        train(tmp_path / "stopped", root, *settings)
    resumed, _ = train(tmp_path / "stopped", root, *settings)
    assert outcome(resumed) == outcome(folder)


def test_the_seconds_that_auto_finds_are_found_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = corpus(tmp_path / "c")
    settings = ("trainer.step_seconds=auto", "trainer.epochs=2", f"cache.folder={tmp_path / 'cache'}")
    with pytest.raises(SetupError, match=r"this device is cpu; give a number of seconds, such as .*step_seconds=120"):
        train(tmp_path / "cpu", root, *settings)
    assert not list((tmp_path / "cpu").rglob("inputs.json"))

    found = []
    with monkeypatch.context() as patch:
        patch.setattr("melt_ser.runs.step_seconds.can_measure", lambda _: True)
        patch.setattr("melt_ser.training.largest_step.largest_step_seconds", lambda *_: found.append(1) or 1)
        folder, result = train(tmp_path / "whole", root, *settings)
        assert result["config"]["trainer"]["step_seconds"] == result["train"]["step_seconds"] == 1
        with stopped_after_checkpoint(lambda _, state: state.epoch == 1):
            train(tmp_path / "stopped", root, *settings)
    assert len(found) == 2
    resumed, _ = train(tmp_path / "stopped", root, *settings)  # even without a GPU
    assert outcome(resumed) == outcome(folder)
    assert resumed.name == folder.name
    by_hand, _ = train(tmp_path / "by_hand", root, "trainer.step_seconds=1", *settings[1:])
    assert predictions(by_hand).equals(predictions(folder)) and by_hand.name != folder.name
    train(tmp_path / "whole", root, *settings)  # finished: nothing to find
    with pytest.raises(SetupError, match="this device is cpu"):
        train(tmp_path / "whole", root, *settings, "force=true")


def test_a_refit_goes_on_from_its_own_checkpoint(tmp_path: Path) -> None:
    root, settings = corpus(tmp_path / "c"), ("trainer.epochs=2", "trainer.refit=true")
    folder, _ = train(tmp_path / "whole", root, *settings)
    with stopped_after_checkpoint(lambda folder, _: folder.parent.name == "refit"):
        train(tmp_path / "stopped", root, *settings)
    assert len(list((tmp_path / "stopped").glob("*/*/*/refit/checkpoints/epoch0001"))) == 1
    resumed, _ = train(tmp_path / "stopped", root, *settings)
    assert outcome(resumed) == outcome(folder)


def test_a_pretrained_checkpoint_with_changed_files_is_refused(tmp_path: Path) -> None:
    """The run id knows a local checkpoint by its path; the run knows its content."""
    root, weights = corpus(tmp_path / "c"), tmp_path / "weights"
    save_model(small_classifier("hubert", seed=1), weights)
    settings = ("backbone=hubert", "backbone.revision=null", f"backbone.checkpoint={weights}")
    with stopped_at():
        train(tmp_path / "runs", root, *settings)
    sizes = (weights / "model.safetensors").stat().st_size
    save_model(small_classifier("hubert", seed=2), weights)
    assert (weights / "model.safetensors").stat().st_size == sizes
    with pytest.raises(InputError, match=r"checkpoint .*/weights has changed since the run .* was begun; set force"):
        train(tmp_path / "runs", root, *settings)
    save_model(small_classifier("hubert", seed=1), weights)
    folder, result = train(tmp_path / "runs", root, *settings)
    assert result["train"]["weights"].startswith("sha256:")
    save_model(small_classifier("hubert", seed=2), weights)
    with pytest.raises(InputError, match=r"checkpoint .*/weights has changed since the run .* was finished"):
        train(tmp_path / "runs", root, *settings)
    shutil.rmtree(weights)  # a finished run does not need it
    assert train(tmp_path / "runs", root, *settings) == (folder, result)


def test_a_finished_run_is_kept_until_the_forced_one_is_finished(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    folder, _ = train(tmp_path / "runs", root, "trainer.epochs=2")
    previous, before = folder.with_name(f"{folder.name}.previous"), outcome(folder)
    for again in ("force=true", "force=true", "force=false"):  # each is stopped, forced or resumed
        with stopped_at():
            train(tmp_path / "runs", root, "trainer.epochs=2", again)
        assert outcome(previous) == before
        with pytest.raises(SetupError, match=r"no finished run .* the run before it is in .*\.previous"):
            read_result(folder)
    train(tmp_path / "runs", root, "trainer.epochs=2")  # resumes after the last epoch of the forced run
    assert outcome(folder) == before
    assert not previous.exists()


def test_a_forced_run_of_a_job_that_slurm_queues_again_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of such a job stays the same, so force=true would begin anew after each preemption."""
    root, settings = corpus(tmp_path / "c"), ("trainer.epochs=2", "force=true")
    folder, _ = train(tmp_path / "runs", root, *settings)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with stopped_at():
        train(tmp_path / "runs", root, *settings)
    written = (folder / "checkpoints" / "epoch0002").stat().st_mtime_ns
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with stopped_at():
        train(tmp_path / "runs", root, *settings)
    assert (folder / "checkpoints" / "epoch0002").stat().st_mtime_ns == written
    train(tmp_path / "runs", root, *settings)
    finished = (folder / "result.json").stat().st_mtime_ns
    train(tmp_path / "runs", root, *settings)
    assert (folder / "result.json").stat().st_mtime_ns == finished
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    train(tmp_path / "runs", root, *settings)
    assert (folder / "result.json").stat().st_mtime_ns > finished


def test_two_runs_never_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = corpus(tmp_path / "c")
    folder, _ = train(tmp_path / "runs", root)
    fork = multiprocessing.get_context("spawn")
    ready, release = fork.Event(), fork.Event()
    other = fork.Process(target=_hold, args=(folder, ready, release), daemon=True)
    other.start()
    assert ready.wait(600)
    fix = r"wait until it has ended, or stop it; if there is none on any machine, delete that file\."
    with pytest.raises(SetupError, match=rf"Another process is at work in .*; {fix}"):
        train(tmp_path / "runs", root, "force=true")
    assert (folder / "result.json").is_file()
    release.set()
    with exclusive_lock(folder, waits=True):  # as `evaluate` does
        pass
    other.join()
    train(tmp_path / "runs", root)
    assert "already finished" in capsys.readouterr().err


def _hold(folder: Path, ready: multiprocessing.Event, release: multiprocessing.Event) -> None:  # type: ignore[valid-type]
    with exclusive_lock(folder):
        ready.set()  # type: ignore[attr-defined]
        release.wait()  # type: ignore[attr-defined]
