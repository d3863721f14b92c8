"""`backbone=egemaps trainer=probe` from the command to predictions, and what such a run never does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from melt_ser.audio import egemaps
from melt_ser.cli.compose import compose
from melt_ser.core.errors import InputError
from melt_ser.evaluate import main as evaluate
from melt_ser.predict import main as predict
from melt_ser.runs.finished_run import Run
from melt_ser.runs.run import run as train
from melt_ser.train import main as train_verb
from small_runs import corpus, outcome

pytest.importorskip("opensmile", reason="opensmile, of the extra acoustics, is not installed")
SETTINGS = ("backbone=egemaps", "trainer=probe", "trainer.method=linear_svm", "dataset.folds=2", "dataset.fold=all")
VERB = """
import sys
from melt_ser.train import main
code = main()
heavy = sorted({"transformers", "datasets"} & {name.partition(".")[0] for name in sys.modules})
print("imported:", heavy)
sys.exit(code)
"""


def settings(out: Path, root: Path) -> list[str]:
    return [*SETTINGS, "dataset=csv", f"dataset.root={root}", "dataset.table=table.csv", f"out={out}", "device=cpu"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("egemaps") / "c")


@pytest.fixture(scope="module")
def done(root: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", VERB, *settings(root.parent / "runs", root)]
    environment = {**os.environ, "MELT_SER_CACHE": str(root.parent / "cache")}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def run(done: subprocess.CompletedProcess[str], root: Path) -> Path:
    assert done.returncode == 0, done.stderr
    [result] = (root.parent / "runs").glob("egemaps/csv/*/result.json")
    return result.parent


def run_in_process(out: Path, root: Path) -> tuple[Path, dict[str, Any]]:
    path = train(compose(settings(out, root)))
    return path.parent, json.loads(path.read_text())


def result_of(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "result.json").read_text())
    return result


def test_a_run_imports_no_transformers(done: subprocess.CompletedProcess[str], run: Path) -> None:
    assert done.stdout.splitlines()[-1] == "imported: []"


def test_a_run_learns_the_tones_and_speaks_of_no_random_weights(
    done: subprocess.CompletedProcess[str], run: Path
) -> None:
    result = result_of(run)
    assert result["evals"][0]["ua"] > 0.8  # three pitches; chance is a third
    assert result["train"]["weights"] == f"opensmile:{egemaps.version()}"
    assert "random" not in done.stderr + " ".join(result["warnings"])


def test_the_saved_models_give_the_runs_answers(run: Path, root: Path, tmp_path: Path) -> None:
    """The first fold's model labels the test clips of its fold."""
    own = Run(run).predictions(fold=1)
    clips = [str(root / file) for file in own["file"]]
    assert predict([str(run), *clips, "--fold", "1", "--out", str(tmp_path / "labels.csv")]) == 0
    labels = pd.read_csv(tmp_path / "labels.csv")
    for name in ("angry", "happy", "sad"):
        assert labels[name].tolist() == pytest.approx(own[name].tolist(), abs=1e-6)


def test_evaluate_scores_another_corpus(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = corpus(tmp_path / "other", seed=5)
    words = [str(run), "dataset=csv", "dataset.name=other", f"dataset.root={other}", "dataset.table=table.csv"]
    monkeypatch.setattr(sys, "argv", ["melt_ser", *words])
    assert evaluate() == 0
    assert {row["corpus"] for row in result_of(run)["evals"]} == {"csv", "other"}


def test_a_run_that_was_stopped_after_a_fold_ends_alike_and_reads_the_cache(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MELT_SER_CACHE", str(tmp_path / "cache"))
    folder, _ = run_in_process(tmp_path / "runs", root)
    whole = outcome(folder)
    assert "features of the frozen part (pooled) are computed once" in capsys.readouterr().err
    (folder / "result.json").unlink()
    for path in (folder / "folds" / "2").glob("fold.json"):
        path.unlink()
    run_in_process(tmp_path / "runs", root)
    assert outcome(folder) == whole
    assert "features of the frozen part" not in capsys.readouterr().err


def test_a_stopped_run_does_not_go_on_with_another_opensmile(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before = run_in_process(tmp_path / "runs", root)
    monkeypatch.setattr(egemaps, "version", lambda: "99.0")
    assert run_in_process(tmp_path / "runs", root)[1] == before  # a finished run stays finished
    (folder / "result.json").unlink()
    with pytest.raises(InputError, match="opensmile has changed since the run in .* was begun; set force=true"):
        run_in_process(tmp_path / "runs", root)


def test_without_opensmile_nothing_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "opensmile", None)
    monkeypatch.setattr(sys, "argv", ["melt_ser", *settings(tmp_path / "runs", tmp_path / "no corpus")])
    assert train_verb() == 2
    sentence = "error: backbone.family=egemaps needs opensmile: pip install 'melt-ser[acoustics]'."
    assert capsys.readouterr().err.strip() == sentence
