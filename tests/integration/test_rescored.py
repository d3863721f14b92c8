"""A finished run that is scored again: its warnings, figures and rows are those of the scores that it has now."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from corpus_trees import tone, urdu_tree
from melt_ser.cli.compose import compose
from melt_ser.evaluate import evaluate
from melt_ser.reporting.utterances import Corpora
from melt_ser.runs.finished_run import Run
from small_runs import corpus, train

ON_CSV = ("dataset=csv", "dataset.table=table.csv", "device=cpu")


def score(folder: Path, root: Path, *settings: str) -> dict[str, Any]:
    """Run `evaluate` on a corpus of tones and return the result."""
    evaluate(compose([f"run={folder}", *ON_CSV, f"dataset.root={root}", *settings], "evaluate"))
    return json.loads((folder / "result.json").read_text())


def test_the_warnings_of_added_scores_are_told_and_stand_in_the_result_and_the_card(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, before = train(tmp_path / "runs", corpus(tmp_path / "c"))
    with caplog.at_level(logging.WARNING, "melt_ser"):
        result = score(folder, tmp_path / "c", "eval.split=train", "eval.allow_overlap=true")
    told = "18 recordings of 'csv' were trained on."
    assert f"note: {told}" in caplog.messages
    assert told in result["warnings"] and told not in before["warnings"]
    assert set(before["warnings"]) < set(result["warnings"])
    assert told in (folder / "model" / "README.md").read_text()


def test_the_warnings_of_replaced_scores_leave_with_them(tmp_path: Path) -> None:
    folder, _ = train(tmp_path / "runs", corpus(tmp_path / "c"))
    other = corpus(tmp_path / "other", seed=1)
    rounded = score(folder, other, "dataset.name=other", "eval.precision=bf16")["warnings"]
    exact = score(folder, other, "dataset.name=other")["warnings"]
    assert [warning for warning in rounded if warning not in exact] == [
        "other: Computed in bf16 (eval.precision), not in float32: scores may differ."
    ]


def test_a_licence_that_is_stated_later_stands_in_the_result_and_the_card(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    folder, _ = train(tmp_path / "runs", root)
    again, result = train(tmp_path / "runs", root, "dataset.licence=CC0", "backbone.pretraining=none")
    assert again == folder
    assert (result["config"]["dataset"]["licence"], result["config"]["backbone"]["pretraining"]) == ("CC0", "none")
    assert "CC0" in (folder / "model" / "README.md").read_text()


def test_another_corpus_that_has_changed_is_scored_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = corpus(tmp_path / "c")
    settings = ("eval.corpora=[csv,urdu]", f"+eval.roots.urdu={tmp_path / 'urdu'}")
    urdu_tree(tmp_path / "urdu", tone)
    folder, first = train(tmp_path / "runs", root, *settings)
    capsys.readouterr()
    assert train(tmp_path / "runs", root, *settings) == (folder, first)
    assert "already finished" in capsys.readouterr().err

    next((tmp_path / "urdu").rglob("*.wav")).unlink()
    _, second = train(tmp_path / "runs", root, *settings)
    assert "already trained" in capsys.readouterr().err
    [before], [now] = (
        [row["n"] for row in result["evals"] if row["corpus"] == "urdu" and row["answer_set"] == "closed"]
        for result in (first, second)
    )
    assert now == before - 1


def test_a_report_finds_the_audio_of_a_corpus_that_is_scored_later(tmp_path: Path) -> None:
    folder, _ = train(tmp_path / "runs", corpus(tmp_path / "c"))
    assert Corpora().of(Run(folder), "urdu") is None
    urdu_tree(tmp_path / "urdu", tone)
    evaluate(compose([f"run={folder}", "dataset=urdu", f"dataset.root={tmp_path / 'urdu'}", "device=cpu"], "evaluate"))
    found = Corpora().of(Run(folder), "urdu")
    assert found is not None and found.root == tmp_path / "urdu"


def test_new_labels_of_the_test_give_new_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, labels = corpus(tmp_path / "c"), tmp_path / "labels.csv"
    table = (root / "table.csv").read_text()
    labels.write_text(table.replace("audio,label", "utterance,label").replace(".wav,", ","))
    settings = (f"dataset.label_file={labels}", "dataset.folds=2", "dataset.fold=1", f"eval.reference={labels}")
    folder, first = train(tmp_path / "runs", root, *settings, "eval.figures=svg")
    figure = folder / "figures" / "confusion_csv.png"
    train(tmp_path / "runs", root, *settings)
    drawn, copied = figure.read_bytes(), folder / "model" / "figures" / "confusion_csv.png"
    assert copied.read_bytes() == drawn and figure.with_suffix(".svg").exists()

    people = tmp_path / "people.csv"
    people.write_text(labels.read_text().replace("sad", "happy"))
    capsys.readouterr()
    again, second = train(tmp_path / "runs", root, *settings[:3], f"eval.reference={people}")
    assert again == folder and first["evals"][0]["digest"] != second["evals"][0]["digest"]
    assert figure.read_bytes() != drawn and copied.read_bytes() == figure.read_bytes()
    assert not figure.with_suffix(".svg").exists(), "it showed the old scores"


def test_a_reference_may_lack_the_labels_of_a_whole_fold(tmp_path: Path) -> None:
    root, people = corpus(tmp_path / "c"), tmp_path / "people.csv"
    table = pd.read_csv(root / "table.csv")
    labels = pd.DataFrame({"utterance": table["audio"].str.removesuffix(".wav"), "label": table["label"]})
    labels[table["speaker"] != "s3"].to_csv(people, index=False)
    settings = ("trainer=probe", "dataset.folds=leave_one_out", "dataset.fold=all")
    reference = f"eval.reference={people}"

    def counted(out: Path, *more: str) -> tuple[int, list[str]]:
        _, result = train(out, root, *settings, *more)
        return result["evals"][0]["n"], [text for text in result["warnings"] if "Fold 4 is left out" in text]

    every, some = len(table), int((table["speaker"] != "s3").sum())
    assert counted(tmp_path / "runs") == (every, [])
    told = "csv: Fold 4 is left out: its test part has no label (eval.reference)."
    assert counted(tmp_path / "runs", reference) == (some, [told])
    assert counted(tmp_path / "runs") == (every, [])
    assert counted(tmp_path / "fewer", reference) == (some, [])
    told = "csv: Fold 4 is left out: the run has no model of it; force=true trains every fold."
    assert counted(tmp_path / "fewer") == (some, [told])
