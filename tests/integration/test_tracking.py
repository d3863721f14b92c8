"""A run in experiment trackers, with each tracker's own package, offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from melt_ser.cli.compose import compose
from melt_ser.core.errors import SetupError
from melt_ser.runs import trackers
from melt_ser.runs.run import run_or_skip
from small_runs import corpus, train, typed
from stopped_runs import stopped_after_checkpoint, stopped_at
from tracked import READERS, read

pytestmark = pytest.mark.slow

EACH = sorted(READERS)


@pytest.fixture(scope="module", autouse=True)
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no tracker leave this machine; each test has a project of its own. MLflow's store takes seconds to make."""
    folder = tmp_path_factory.mktemp("stores")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB__SERVICE_WAIT", "300")  # seconds for its service to start, on a busy machine
        patch.setenv("TRACKIO_DIR", str(folder / "trackio"))  # read when trackio is imported
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow keeps files in the current folder


def with_(tracker: str, tmp_path: Path, *settings: str) -> tuple[str, ...]:
    """Return the settings of a run that is sent to a tracker; skip the test if its package is missing."""
    pytest.importorskip(tracker, reason=f"the tracker {tracker} is not installed: pip install 'melt-ser[{tracker}]'")
    return (f"logger={tracker}", f"logger.project={tmp_path.name}", *settings)


def epochs(folder: Path, metric: str) -> list[tuple[int, float]]:
    table = pd.read_csv(folder / "metrics.csv")
    return list(zip(table["epoch"], table[metric].map(pytest.approx), strict=True))


@pytest.mark.parametrize("tracker", EACH)
def test_a_tracker_has_settings_epochs_scores_figures_and_table(tracker: str, tmp_path: Path) -> None:
    settings = with_(tracker, tmp_path, "trainer.epochs=2", "trainer.refit=true")
    folder, result = train(tmp_path / "runs", corpus(tmp_path / "c"), *settings, "eval.figures=svg")
    copy = read(tracker, folder, tmp_path.name)
    assert copy.name == folder.name == result["run"]["id"]
    assert (copy.settings["trainer.epochs"], copy.settings["backbone.name"]) == ("2", "hubert_tiny_random")
    assert copy.settings["trainer.patience"] == "null"
    for metric in ("train_loss", "dev_loss", "dev_ua", "dev_wa"):
        assert copy.points[metric] == epochs(folder, metric)
    assert copy.points["refit/train_loss"] == epochs(folder / "refit", "train_loss")
    assert "refit/dev_ua" not in copy.points  # there is no dev part
    row = result["evals"][0]
    assert copy.last("best_dev_ua") == pytest.approx(result["train"]["dev_ua"])
    for metric in ("ua", "wa", "macro_f1"):
        assert copy.last(f"test/csv/closed/{metric}") == pytest.approx(row[metric])
        assert f"test/csv/open/{metric}" not in copy.points  # it has the same classes
    assert copy.figures == {"confusion_csv", "training_curve"}
    assert "table" in copy.table if tracker == "wandb" else "closed" in copy.table  # that of wandb is a file
    facts = copy.facts + json.dumps(copy.settings)  # those of wandb stand among the settings
    assert result["train"]["digest"] in facts and result["run"]["versions"]["torch"] in facts
    assert all(f"run.versions.{package}" in facts for package in result["run"]["versions"])
    assert len(result["warnings"]) > 1 and all(warning in copy.facts for warning in result["warnings"])


@pytest.mark.parametrize("tracker", EACH)
def test_a_resumed_run_continues_its_copy_and_repeats_no_epoch(tracker: str, tmp_path: Path) -> None:
    """A head on cached features has a checkpoint each tenth epoch: 11 and 12 are trained twice, and sent once."""
    root, settings = corpus(tmp_path / "c"), with_(tracker, tmp_path, "trainer=frozen", "trainer.epochs=12")
    settings += (f"cache.folder={tmp_path / 'cache'}",)
    with stopped_at():
        train(tmp_path / "runs", root, *settings)
    folder, result = train(tmp_path / "runs", root, *settings)
    copy = read(tracker, folder, tmp_path.name)
    assert copy.points["dev_ua"] == epochs(folder, "dev_ua")
    assert [epoch for epoch, _ in copy.points["train_loss"]] == list(range(1, 13))
    assert copy.last("test/csv/closed/ua") == pytest.approx(result["evals"][0]["ua"])


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb"])  # wandb needs an axis for each fold
def test_each_fold_has_its_place_among_the_metrics(tracker: str, tmp_path: Path) -> None:
    settings = with_(tracker, tmp_path, "dataset.fold=all", "dataset.folds=2", "trainer.epochs=2")
    folder, result = train(tmp_path / "runs", corpus(tmp_path / "c"), *settings)
    copy = read(tracker, folder, tmp_path.name)
    for fold in ("folds/1", "folds/2"):
        assert copy.points[f"{fold}/dev_ua"] == epochs(folder / fold, "dev_ua")
    [pooled] = [row for row in result["evals"] if row["fold"] == "all" and row["answer_set"] == "closed"]
    assert copy.last("test/csv/closed/ua") == pytest.approx(pooled["ua"])


def test_several_trackers_have_the_same_run_and_its_result_is_the_same(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    plain, _ = train(tmp_path / "plain", root)
    with_("mlflow", tmp_path)
    settings = ("logger=[tensorboard,mlflow]", f"logger.project={tmp_path.name}")
    folder, _ = train(tmp_path / "runs", root, *settings)
    assert folder.name == plain.name
    assert (folder / "predictions/csv.csv").read_bytes() == (plain / "predictions/csv.csv").read_bytes()
    for tracker in ("tensorboard", "mlflow"):
        assert read(tracker, folder, tmp_path.name).points["dev_ua"] == epochs(folder, "dev_ua")


@pytest.mark.parametrize("tracker", ["tensorboard", "trackio"])
def test_a_finished_run_is_sent_later_and_again_only_with_a_new_corpus(tracker: str, tmp_path: Path) -> None:
    root, settings = corpus(tmp_path / "c"), with_(tracker, tmp_path)
    folder, _ = train(tmp_path / "runs", root)
    train(tmp_path / "runs", root, *settings)
    assert read(tracker, folder, tmp_path.name).points["dev_ua"] == epochs(folder, "dev_ua")
    state = (folder / "tracking.json").stat()
    train(tmp_path / "runs", root, *settings)
    assert (folder / "tracking.json").stat().st_mtime_ns == state.st_mtime_ns
    train(tmp_path / "runs", root, *settings, "eval.corpora=[csv,demo_de]")
    copy = read(tracker, folder, tmp_path.name)
    assert {"test/demo_de/closed/ua", "test/csv/closed/ua"} <= set(copy.points)
    assert copy.points["dev_ua"] == epochs(folder, "dev_ua")
    assert "confusion_demo_de" in copy.figures


def test_a_probe_is_tracked_by_its_scores(tmp_path: Path) -> None:
    settings = with_("tensorboard", tmp_path, "trainer=probe", f"cache.folder={tmp_path / 'cache'}")
    folder, result = train(tmp_path / "runs", corpus(tmp_path / "c"), *settings)
    copy = read("tensorboard", folder, "")
    assert copy.last("test/csv/closed/ua") == pytest.approx(result["evals"][0]["ua"])
    assert copy.figures == {"confusion_csv"}


def test_a_run_again_with_force_has_a_copy_of_its_own(tmp_path: Path) -> None:
    root, settings = corpus(tmp_path / "c"), with_("mlflow", tmp_path)
    folder, _ = train(tmp_path / "runs", root, *settings)
    train(tmp_path / "runs", root, *settings, "force=true")
    copies = READERS["mlflow"](folder, tmp_path.name)
    assert [copy.points["dev_ua"] for copy in copies] == [epochs(folder, "dev_ua")] * 2


def test_a_tracker_that_fails_costs_a_note_and_gets_the_rest_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root, settings = corpus(tmp_path / "c"), with_("tensorboard", tmp_path, "trainer.epochs=3")
    send = trackers.TensorBoard.send_epoch

    def fail_at_two(tracker: trackers.TensorBoard, values: dict[str, float], epoch: int, training: str) -> None:
        if epoch == 2:
            raise ConnectionError("the server is down")
        send(tracker, values, epoch, training)

    with monkeypatch.context() as patch:
        patch.setattr(trackers.TensorBoard, "send_epoch", fail_at_two)
        folder, _ = train(tmp_path / "runs", root, *settings)
    assert (
        "note: tensorboard failed (the server is down); the run goes on without it. When the run is finished, the same"
        in (caplog.text)
    )
    assert [epoch for epoch, _ in read("tensorboard", folder, "").points["dev_ua"]] == [1]
    train(tmp_path / "runs", root, *settings)
    copy = read("tensorboard", folder, "")
    assert copy.points["dev_ua"] == epochs(folder, "dev_ua")
    assert "test/csv/closed/ua" in copy.points


def test_a_server_that_is_down_from_the_start_costs_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root, settings = corpus(tmp_path / "c"), with_("mlflow", tmp_path)
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        folder, _ = train(tmp_path / "runs", root, *settings)
    assert caplog.text.count("note: mlflow failed (") == 1
    train(tmp_path / "runs", root, *settings)
    assert read("mlflow", folder, tmp_path.name).points["dev_ua"] == epochs(folder, "dev_ua")


def test_a_lost_copy_is_begun_anew_with_every_epoch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root, settings = corpus(tmp_path / "c"), with_("mlflow", tmp_path, "trainer.epochs=2")
    with stopped_after_checkpoint(lambda _, state: state.epoch == 1):
        train(tmp_path / "runs", root, *settings)
    [state] = (tmp_path / "runs").glob("*/*/*/tracking.json")
    copies = json.loads(state.read_text())
    copies["mlflow"]["identifier"] = "0" * 32
    state.write_text(json.dumps(copies))
    folder, _ = train(tmp_path / "runs", root, *settings)
    assert "note: mlflow cannot continue its copy of this run (" in caplog.text
    complete = [copy for copy in READERS["mlflow"](folder, tmp_path.name) if copy.figures]
    assert [copy.points["dev_ua"] for copy in complete] == [epochs(folder, "dev_ua")]


@pytest.mark.parametrize("tracker", EACH)
def test_a_missing_package_stops_the_run_before_anything_is_trained(
    tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError) as caught:
        run_or_skip(compose(typed(tmp_path / "runs", tmp_path, f"logger={tracker}")))
    assert str(caught.value) == f"logger={tracker} needs its package: pip install 'melt-ser[{tracker}]'."
    assert not (tmp_path / "runs").exists()
