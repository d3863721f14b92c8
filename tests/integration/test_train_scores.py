"""What a run is scored on: other corpora, what a finished run lacks, and the warnings beside the scores."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from melt_ser.cli.compose import compose
from melt_ser.config import RENAMED
from melt_ser.core.console import terminal
from melt_ser.core.errors import InputError
from melt_ser.evaluate import evaluate
from melt_ser.evaluation.calibration import TEMPERATURES
from melt_ser.evaluation.results import ONE_SPEAKER
from melt_ser.predict import main as predict
from small_runs import CLASSES, corpus, train


def test_a_run_is_scored_on_another_corpus_and_labels_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train on three classes; the other corpus has two of them and one that the model lacks."""
    folder, _ = train(tmp_path / "runs", corpus(tmp_path / "c"))
    other = corpus(tmp_path / "other", classes=("angry", "sad", "bored"), seed=1)
    typed = [f"run={folder}", "dataset=csv", "dataset.name=other", f"dataset.root={other}", "dataset.table=table.csv"]
    evaluate(compose([*typed, "device=cpu"], "evaluate"))
    result = json.loads((folder / "result.json").read_text())
    closed, opened = (row for row in result["evals"] if row["corpus"] == "other")
    assert closed["classes"] == ["angry", "sad"]
    assert opened["classes"] == list(CLASSES)
    assert closed["dropped"] == {"label 'bored' is no class of the model (bored)": 8}
    assert closed["n"] == 16
    assert closed["split"] == "all"
    assert closed["calibration"]["temperature"] == result["train"]["folds"][0]["temperature"]
    evaluate(compose([*typed, "device=cpu"], "evaluate"))
    assert len(json.loads((folder / "result.json").read_text())["evals"]) == len(result["evals"])

    under_the_same_name = [text for text in typed if not text.startswith("dataset.name")]
    with pytest.raises(
        InputError,
        match=r"trained on 'csv', and its rows now differ from those of the training: set dataset\.name=<another>",
    ):
        evaluate(compose([*under_the_same_name, "device=cpu"], "evaluate"))

    capsys.readouterr()
    (tmp_path / "other" / "wav" / "broken.wav").write_text("this is text")
    assert predict([str(folder), str(other / "wav"), "--format", "json", "--device", "cpu"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 25
    [bad] = [row for row in rows if "error" in row]
    assert bad["file"].endswith("broken.wav")
    saved = pd.read_csv(folder / "predictions" / "other.csv").set_index("utterance")
    for row in rows:
        name = f"wav/{Path(row['file']).stem}"
        if name in saved.index:
            assert [row[name] for name in CLASSES] == pytest.approx(saved.loc[name, list(CLASSES)].tolist(), abs=1e-4)


def test_evaluate_refuses_recordings_that_were_trained_on(tmp_path: Path) -> None:
    folder, _ = train(tmp_path / "runs", corpus(tmp_path / "c"))
    typed = [f"run={folder}", "dataset=csv", f"dataset.root={tmp_path / 'c'}", "dataset.table=table.csv", "device=cpu"]
    with pytest.raises(InputError, match=r"of the 24 recordings of 'csv' \(all\) were trained on"):
        evaluate(compose([*typed, "eval.split=train"], "evaluate"))
    evaluate(compose([*typed, "eval.split=train", "eval.allow_overlap=true"], "evaluate"))
    result = json.loads((folder / "result.json").read_text())
    assert [row["overlap"] for row in result["evals"] if row["split"] == "all"] == [18 + 0, 18 + 0]


def test_warnings_about_the_split_are_in_the_result(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c", speakers=2, each=9)
    folder, result = train(tmp_path / "runs", root, "dataset.protocol=speakers")
    assert result["config"]["dataset"]["protocol"] == "speakers"
    assert sum("the model is chosen on a speaker that was trained on" in warning for warning in result["warnings"]) == 1
    assert any("has 2 speakers" in warning for warning in result["warnings"])
    again, _ = train(tmp_path / "runs", root, "dataset.folds=leave_one_out")
    assert again == folder


def test_one_test_speaker_and_a_temperature_at_its_bound_are_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("melt_ser.evaluation.calibration.fit_temperature", lambda *_: TEMPERATURES[1])
    root = corpus(tmp_path / "c", speakers=3)
    _, one = train(tmp_path / "runs", root, "dataset.folds=leave_one_out")
    assert all(ONE_SPEAKER in row["interval_note"] or not row["ua_ci95"] for row in one["evals"])
    assert sum("say nothing about other speakers" in warning or "No interval" in warning for warning in one["warnings"])
    assert one["evals"][0]["calibration"]["temperature_at_bound"]
    assert sum("A temperature is at a bound of the fit (0.05 to 20)" in warning for warning in one["warnings"]) == 1
    _, pooled = train(tmp_path / "runs", root, "dataset.folds=leave_one_out", "dataset.fold=all")
    assert not any("of one speaker" in warning for warning in pooled["warnings"])
    assert sum("A temperature is at a bound" in warning for warning in pooled["warnings"]) == 1


def test_warnings_come_once_and_before_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = corpus(tmp_path / "c")
    table = root / "table.csv"
    table.write_text(table.read_text().replace("audio,label,speaker", "path,emotion,who"))
    with terminal():
        train(tmp_path / "runs", root)
    lines = capsys.readouterr().err.splitlines()
    told = ["columns found by their names", "utterances of 'csv' have no speaker"]
    places = [[number for number, line in enumerate(lines) if said in line] for said in told]
    epoch = next(number for number, line in enumerate(lines) if "epoch 1" in line)
    assert all(len(place) == 1 and place[0] < epoch for place in places), lines
    with terminal():
        train(tmp_path / "runs", root)
    assert all(said in capsys.readouterr().err for said in told[:1]), "a finished run tells them too"


def test_a_finished_run_scores_only_what_it_lacks_and_overwrites_no_predictions(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    _, first = train(tmp_path / "runs", root, "eval.corpora=[demo_de]")
    assert {row["corpus"] for row in first["evals"]} == {"demo_de"}
    folder, second = train(tmp_path / "runs", root)  # the run's own test part
    assert {row["corpus"] for row in second["evals"]} == {"demo_de", "csv"}
    own = (folder / "predictions" / "csv.csv").read_bytes()
    typed = [f"run={folder}", "dataset=csv", f"dataset.root={root}", "dataset.table=table.csv", "device=cpu"]
    evaluate(compose([*typed, "eval.split=train", "eval.allow_overlap=true"], "evaluate"))
    assert (folder / "predictions" / "csv.csv").read_bytes() == own
    rows = json.loads((folder / "result.json").read_text())["evals"]
    assert {(row["corpus"], row["split"], row["predictions"]) for row in rows if row["corpus"] == "csv"} == {
        ("csv", "test", "predictions/csv.csv"),
        ("csv", "all", "predictions/csv_all.csv"),
    }


def test_a_run_with_old_names_of_settings_is_skipped_scored_labelled_and_run_again(tmp_path: Path) -> None:
    """A run folder as it was before settings were renamed."""
    root = corpus(tmp_path / "c")
    folder, result = train(tmp_path / "runs", root)
    for old, new in RENAMED.items():
        (old_group, old_name), (group, name) = old.split("."), new.split(".")
        result["config"][old_group][old_name] = result["config"][group].pop(name)
    del result["config"]["logger"]  # the group is newer than the names
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "config.yaml").write_text(yaml.safe_dump(result["config"]))

    assert train(tmp_path / "runs", root) == (folder, result)
    evaluate(compose([f"run={folder}", "dataset=demo_de", "device=cpu"], "evaluate"))
    assert "demo_de" in {row["corpus"] for row in json.loads((folder / "result.json").read_text())["evals"]}
    assert predict([str(folder), str(next((root / "wav").iterdir())), "--device", "cpu"]) == 0
    again, forced = train(tmp_path / "runs", root, "force=true")
    assert again == folder
    assert forced["config"]["trainer"]["head_learning_rate"] == result["config"]["trainer"]["learning_rate"]
    assert forced["evals"] == result["evals"]
