"""`evaluate` scores a classifier that others have trained, and a report shows it with its mark."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import constants

import small_runs
from melt_ser.evaluate import main as evaluate
from melt_ser.evaluation.results import ELSEWHERE
from melt_ser.predict import main as predict
from published import SUPERB_MAP, write_classifier
from report_runs import report
from small_checkpoints import pickle_weights

MARK = "may have seen the test"
MAP = "classifier.label_map={neu: null, hap: happy, ang: angry, sad: sad}"
COMMIT = "bac0e14e92f7f9fd56671c5060e572e883cad667"  # of conf/classifier/superb--hubert-base-superb-er.yaml
Evaluate = Callable[..., int]


@pytest.fixture
def run_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """Run `evaluate` with the words of a command, on a corpus of tones unless they name another one."""
    corpus = small_runs.corpus(tmp_path / "corpus")

    def typed(*words: str) -> int:
        own = ["dataset=csv", f"dataset.root={corpus}", "dataset.table=table.csv", f"out={tmp_path / 'runs'}"]
        monkeypatch.setattr(sys, "argv", ["melt_ser", "device=cpu", *own, *words])
        return evaluate()

    return typed


def in_cache(cache: Path, name: str, commit: str, kind: str) -> Path:
    """Write a classifier into a Hugging Face cache, as a download would."""
    return write_classifier(cache / f"models--{name.replace('/', '--')}" / "snapshots" / commit, kind)


def result_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def test_a_folder_is_scored_and_a_second_corpus_is_added(tmp_path: Path, run_evaluate: Evaluate) -> None:
    checkpoint = write_classifier(tmp_path / "theirs", "hubert-base")
    assert run_evaluate(str(checkpoint), MAP) == 0
    folder = tmp_path / "runs" / "hub" / "theirs"
    result = result_in(folder)
    assert (result["train"]["corpus"], result["train"]["classes"]) == (ELSEWHERE, ["angry", "happy", "sad"])
    assert result["train"]["weights"].startswith("sha256:")
    assert result["config"]["classifier"]["label_map"] == {"neu": None, "hap": "happy", "ang": "angry", "sad": "sad"}
    assert any(MARK in sentence for sentence in result["warnings"])
    assert "'theirs' has labels without a class here (neu): their probability is left out." in result["warnings"]
    predictions = pd.read_csv(folder / "predictions" / "csv.csv")
    assert len(predictions) == 24 and np.allclose(predictions[["angry", "happy", "sad"]].sum(axis=1), 1)
    assert (folder / "figures" / "confusion_csv.png").exists()

    assert run_evaluate(f"run={checkpoint}", MAP, "dataset.name=again", "eval.batch_size=1") == 0
    both = result_in(folder)["evals"]
    assert [row["corpus"] for row in both] == ["csv", "csv", "again", "again"]
    again = pd.read_csv(folder / "predictions" / "again.csv").select_dtypes("number")
    assert np.abs(again - predictions.select_dtypes("number")).max(axis=None) < 1e-5  # batches of 1 and of 24


def test_a_checkpoint_of_the_hub_has_its_shipped_label_map_and_commit(
    tmp_path: Path, run_evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    pickle_weights(in_cache(tmp_path / "cache", "superb/hubert-base-superb-er", COMMIT, "hubert-base"))
    assert run_evaluate("run=hub:superb/hubert-base-superb-er") == 0
    result = result_in(tmp_path / "runs" / "hub" / "superb--hubert-base-superb-er")
    assert result["train"]["weights"] == f"commit:{COMMIT}"
    assert result["config"]["backbone"]["revision"] == COMMIT
    assert result["config"]["labels"]["classes"]["happy"] == ["happy", "excited"]
    assert (
        "'hubert-base-superb-er' may have seen the test: it was trained elsewhere (known: iemocap)."
        in result["warnings"]
    )
    assert run_evaluate("run=hub:superb/hubert-base-superb-er", "dataset.name=iemocap") == 0
    told = "'hubert-base-superb-er' was trained on 'iemocap', so its score there says nothing."
    assert told in result_in(tmp_path / "runs" / "hub" / "superb--hubert-base-superb-er")["warnings"]
    capsys.readouterr()
    assert run_evaluate("run=hub:superb/hubert-base-superb-er", "revision=main") == 2
    assert "superb/hubert-base-superb-er at revision main is not in the Hugging Face cache" in capsys.readouterr().err


def test_a_missing_label_map_is_told_with_one_that_can_be_pasted(
    tmp_path: Path, run_evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_classifier(tmp_path / "theirs", "hubert-base")
    assert run_evaluate(f"run={checkpoint}") == 2
    told = capsys.readouterr().err
    assert "has no label map; its labels are neu, hap, ang, sad: map each to a class" in told
    pasted = shlex.split(told.strip().rpartition("such as ")[2].removesuffix("."))
    assert run_evaluate(f"run={checkpoint}", *pasted) == 0
    assert result_in(tmp_path / "runs" / "hub" / "theirs")["config"]["classifier"]["label_map"] == SUPERB_MAP


@pytest.mark.parametrize(
    ("label_map", "sentence"),
    [
        ("{neu: neutral, hap: happy}", "lacks 'ang', 'sad' of "),
        ("{neu: neutral, hap: happy, ang: angry, saad: sad}", "has no label 'saad'; did you mean 'sad'?"),
        ("{neu: neutral, hap: joy, ang: angry, sad: sad}", "maps 'hap' to 'joy', which is no emotion"),
        ("{neu: null, hap: null, ang: null, sad: sad}", "names fewer than two classes"),
    ],
)
def test_a_label_map_that_does_not_fit_is_refused(
    label_map: str, sentence: str, tmp_path: Path, run_evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_classifier(tmp_path / "theirs", "hubert-base")
    assert run_evaluate(f"run={checkpoint}", f"classifier.label_map={label_map}") == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_results_of_another_label_map_are_not_mixed_in(
    tmp_path: Path, run_evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_classifier(tmp_path / "theirs", "hubert-base")
    assert run_evaluate(f"run={checkpoint}", MAP) == 0
    reordered = "classifier.label_map={sad: sad, ang: angry, hap: happy, neu: null}"
    assert run_evaluate(f"run={checkpoint}", reordered) == 0  # the same map
    assert run_evaluate(f"run={checkpoint}", MAP, "classifier.label_map.neu=neutral") == 2
    assert "has results of another classifier.label_map, classifier.classes or" in capsys.readouterr().err
    assert run_evaluate(f"run={checkpoint}", MAP, "classifier.label_map.neu=neutral", f"out={tmp_path / 'more'}") == 0


def test_the_folder_of_results_is_no_model(
    tmp_path: Path, run_evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_classifier(tmp_path / "theirs", "hubert-base")
    assert run_evaluate(f"run={checkpoint}", MAP) == 0
    folder = tmp_path / "runs" / "hub" / "theirs"
    capsys.readouterr()
    assert run_evaluate(f"run={folder}") == 2
    assert f"{folder} has the scores of {checkpoint}, and no model;" in capsys.readouterr().err
    clip = next((tmp_path / "corpus").rglob("*.wav"))
    assert predict([str(folder), str(clip), "--device", "cpu"]) == 2
    assert "and no model;" in capsys.readouterr().err


def test_a_shipped_label_map_fits_a_folder_and_its_commit_does_not_matter_there(
    tmp_path: Path, run_evaluate: Evaluate
) -> None:
    checkpoint = write_classifier(tmp_path / "theirs", "hubert-base")
    assert run_evaluate(f"run={checkpoint}", "classifier=superb--hubert-base-superb-er") == 0
    result = result_in(tmp_path / "runs" / "hub" / "theirs")
    assert result["config"]["backbone"]["revision"] is None
    assert result["config"]["labels"]["classes"]["happy"] == ["happy", "excited"]


def test_settings_that_would_have_no_effect_are_refused(
    tmp_path: Path, run_evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_classifier(tmp_path / "theirs", "hubert-base")
    run, _ = small_runs.train(tmp_path / "runs", tmp_path / "corpus")
    for words, sentence in (
        ([f"run={checkpoint}", MAP, "revision=main"], "revision=main is for run=hub:<owner>/<name>, not for a folder"),
        ([f"run={checkpoint}", MAP, "family=mine"], "family=mine is for a run of a module of your own"),
        ([f"run={run}", MAP], f"revision and classifier are for published classifiers, but {run} is a run"),
        ([f"run={run}", "eval.corpora=[urdu]"], "eval.corpora is for train; evaluate scores one corpus a command"),
        (["run=superb/unknown"], "There is no run in superb/unknown; if it is a classifier of the hub, write run=hub:"),
    ):
        capsys.readouterr()
        assert run_evaluate(*words) == 2
        assert sentence in capsys.readouterr().err


def test_every_report_marks_the_system(
    tmp_path: Path, run_evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_classifier(tmp_path / "theirs", "hubert-base")
    assert run_evaluate(f"run={checkpoint}", MAP) == 0
    alone = report(tmp_path / "runs", capsys=capsys)[1]
    assert f"theirs (trained elsewhere; {MARK})" in alone
    small_runs.train(tmp_path / "runs", tmp_path / "corpus", "dataset.folds=2", "dataset.fold=all")
    for form in ("md", "csv", "latex", "html"):
        code, text, _ = report(tmp_path / "runs", "--format", form, capsys=capsys)
        text = text.replace(r" \\ ", " ")  # LaTeX's line ends in a cell
        assert code == 0 and "theirs" in text and f"elsewhere; {MARK}" in text, form
        assert "theirs None" not in text and "trained on elsewhere" not in text, form
    page = report(tmp_path / "runs", "--format", "html", capsys=capsys)[1]
    assert f"theirs, trained elsewhere; {MARK}, hub-" in page and "python -m melt_ser.evaluate" in page
    assert f"### trained elsewhere; {MARK}" in report(tmp_path / "runs", capsys=capsys)[1]
