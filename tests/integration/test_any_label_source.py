"""Any corpus takes its labels from a file, and runs with different labels are scored against one reference."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from melt_ser.cli.compose import compose, load_dataset
from melt_ser.config import DatasetConfig, Target
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.labels import LabelSpace
from melt_ser.corpora.load import load_corpus
from melt_ser.evaluate import main as evaluate
from melt_ser.report import main as report
from melt_ser.runs.run import run
from small_runs import corpus, small


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones of four speakers: a table without labels, the true labels, and two sources that differ and have gaps."""
    root = corpus(tmp_path_factory.mktemp("tones"), each=9)
    table = pd.read_csv(root / "table.csv")
    table.drop(columns="label").to_csv(root / "unlabelled.csv", index=False)
    names = table["audio"].str.removesuffix(".wav")
    true = pd.DataFrame({"utterance": names, "label": table["label"]})
    true.to_csv(root / "gold.csv", index=False)
    first = true.rename(columns={"label": "llm_label"})
    first.loc[first.index % 9 == 0, "llm_label"] = ""  # a label that the model did not give
    first.to_csv(root / "a.csv", index=False)
    second = true.rename(columns={"utterance": "file", "label": "Emotion"})
    second["file"] += ".wav"
    second["Emotion"] = second["Emotion"].where(second.index % 4 != 0, "sad")
    second.iloc[3:].to_csv(root / "b.csv", index=False)
    return root


def settings(data: Path, label_file: str | None = None, table: str = "unlabelled.csv") -> DatasetConfig:
    config = load_dataset("csv")
    config.root, config.table = str(data), table
    config.label_file = None if label_file is None else str(data / label_file)
    return config


def train(out: Path, data: Path, *overrides: str) -> dict[str, Any]:
    where = ["dataset=csv", f"dataset.root={data}", "dataset.table=unlabelled.csv", f"out={out}", "labels=native"]
    path = run(compose([*small(*overrides), *where, *overrides]))
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def test_a_table_without_labels_takes_them_from_a_file(data: Path) -> None:
    with pytest.raises(InputError, match=r"lacks the column label; .* or give labels with dataset.label_file=<table>"):
        load_corpus(settings(data))
    loaded = load_corpus(settings(data, "gold.csv"))
    whole = load_corpus(settings(data, table="table.csv"))
    assert loaded.table["emotion"].tolist() == whole.table["emotion"].tolist()
    assert "the labels are those of gold.csv (column label)" in loaded.notes


def test_labels_are_found_by_the_path_of_the_audio(data: Path) -> None:
    loaded = load_corpus(settings(data, "b.csv"))
    assert len(loaded.table) == 4 * 9 - 3
    assert loaded.dropped["reason"].tolist() == ["not in b.csv"] * 3


@pytest.mark.parametrize("form", ["{root}/{name}", "./{name}", "sub\\..\\{name}", "file://{root}/{name}"])
def test_labels_are_found_by_paths_as_a_corpus_table_may_write_them(data: Path, tmp_path: Path, form: str) -> None:
    table = pd.read_csv(data / "b.csv")
    table["file"] = [form.format(root=data, name=name) for name in table["file"]]
    table.to_csv(tmp_path / "b.csv", index=False)
    loaded = load_corpus(replace(settings(data), label_file=str(tmp_path / "b.csv")))
    assert loaded.table["label"].tolist() == load_corpus(settings(data, "b.csv")).table["label"].tolist()


def test_a_labels_file_may_be_parquet_without_a_text(data: Path, tmp_path: Path) -> None:
    pd.read_csv(data / "gold.csv").to_parquet(tmp_path / "gold.parquet")
    loaded = load_corpus(replace(settings(data), label_file=str(tmp_path / "gold.parquet")))
    assert loaded.table["label"].tolist() == load_corpus(settings(data, "gold.csv")).table["label"].tolist()
    (tmp_path / "gold.parquet").write_text("utterance,label\n")
    with pytest.raises(InputError, match=r"gold\.parquet is not a parquet file \(.*\); write it again"):
        load_corpus(replace(settings(data), label_file=str(tmp_path / "gold.parquet")))


def test_a_row_without_a_label_of_its_own_is_used_if_the_file_has_one(data: Path, tmp_path: Path) -> None:
    table = pd.read_csv(data / "table.csv")
    table.loc[:4, "label"] = None
    table.to_csv(data / "gaps.csv", index=False)
    assert len(load_corpus(settings(data, table="gaps.csv")).table) == len(table) - 5
    assert len(load_corpus(settings(data, "gold.csv", table="gaps.csv")).table) == len(table)


def test_ratings_of_a_file_replace_those_of_the_corpus(data: Path) -> None:
    """A row without an answer is left out, and a file without ratings is told."""
    table = pd.read_csv(data / "table.csv").assign(arousal=3.0)
    table.to_csv(data / "rated.csv", index=False)
    answers = pd.DataFrame(
        {"utterance": table["audio"].str.removesuffix(".wav"), "llm_label": "sad", "llm_arousal": "5"}
    )
    answers.loc[0, "llm_arousal"] = ""
    answers.iloc[:-1].to_csv(data / "scores.csv", index=False)
    config = replace(
        settings(data, "scores.csv", "rated.csv"), target=Target.attributes, attributes={"arousal": [1.0, 7.0]}
    )
    loaded = load_corpus(config)
    assert loaded.table["attribute arousal"].dropna().tolist() == [5.0] * (len(table) - 2)
    used, left_out = loaded.usable(LabelSpace.native([]))
    assert len(used) == len(table) - 2 and left_out == {"no attribute": 1}
    assert loaded.dropped["reason"].tolist() == ["not in scores.csv"]
    loaded = load_corpus(replace(config, label_file=str(data / "gold.csv")))
    assert loaded.table["attribute arousal"].tolist() == [3.0] * len(table)
    assert "gold.csv has no ratings; those of the release are used" in loaded.notes
    answers.assign(llm_arousal="high").to_csv(data / "words.csv", index=False)
    with pytest.raises(InputError, match=r"words\.csv, row 1: the llm_arousal 'high' is no number"):
        load_corpus(replace(config, label_file=str(data / "words.csv")))


def test_a_labels_file_that_names_no_recording_is_a_sentence(data: Path, tmp_path: Path) -> None:
    for columns, message in (
        ({"label": ["sad"]}, "has no column utterance or audio that says which recording a label is of"),
        ({"utterance": ["x"]}, "lacks the column llm_label"),
        ({"utterance": ["x", "x"], "label": ["sad", "sad"]}, "has the utterance 'x' more than once"),
        ({"utterance": ["x"], "label": ["sad"]}, "has no label for any utterance of the corpus"),
    ):
        pd.DataFrame(columns).to_csv(tmp_path / "labels.csv", index=False)
        config = settings(data)
        config.label_file = str(tmp_path / "labels.csv")
        with pytest.raises(InputError, match=message):
            load_corpus(config)


@pytest.mark.slow
def test_runs_with_different_labels_have_one_test(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    sources = [f"dataset.label_file={data / name}" for name in ("a.csv", "b.csv")]
    apart = [train(out, data, source)["evals"][0] for source in sources]
    assert apart[0]["n"] != apart[1]["n"]

    reference = f"eval.reference={data / 'gold.csv'}"
    first, second = (train(out, data, source, reference) for source in sources)
    for result, before in ((first, apart[0]), (second, apart[1])):
        rows = [row for row in result["evals"] if row["answer_set"] == "closed"]
        assert len(rows) == 1, "the earlier score gives way"
        assert rows[0]["digest"] != before["digest"]
        assert "The test part is scored against gold.csv (eval.reference)." in rows[0]["warnings"]
    assert first["evals"][0]["digest"] == second["evals"][0]["digest"]
    assert first["evals"][0]["n"] == second["evals"][0]["n"] >= max(row["n"] for row in apart)
    tested = pd.read_csv(out / "hubert_tiny_random/csv" / first["run"]["id"] / first["evals"][0]["predictions"])
    gold = pd.read_csv(data / "gold.csv").set_index("utterance")["label"]
    assert tested["reference"].tolist() == gold[tested["utterance"]].tolist()
    capsys.readouterr()
    assert report([str(out), "--format", "md"]) == 0
    told = capsys.readouterr().out
    assert "Compared: all pairs of systems on each test set" in told
    assert len(pairs_in(told)) == 1
    assert pairs_in(told)[0][2:7] == ["a.csv", "b.csv", str(first["evals"][0]["n"]), "0.0", "the same"]

    again = [train(out, data, source)["evals"][0] for source in sources]
    assert [row["n"] for row in again] == [row["n"] for row in apart], "without the setting, the runs' own labels count"
    assert report([str(out), "--format", "md"]) == 0
    assert_pairs_are_those_of_the_files(pairs_in(capsys.readouterr().out), out, data)


def pairs_in(markdown: str) -> list[list[str]]:
    """Return the cells of the table of label sources, with its two systems in the order of their names."""
    lines = markdown.partition("## Label sources")[2].partition("## Systems")[0].splitlines()
    cells = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    rows = [[cell.strip().replace("\\", "") for cell in row] for row in cells]
    for row in rows[2:]:
        if row[2] > row[3]:
            row[2], row[3], row[7], row[8] = row[3], row[2], row[8], row[7]
    return rows[2:]


def assert_pairs_are_those_of_the_files(pairs: list[list[str]], out: Path, data: Path) -> None:
    """Recompute each pair from the prediction files: the UA of both runs on the common rows, by one source's labels."""
    tables = {}
    for path in (out / "hubert_tiny_random/csv").glob("*/result.json"):
        name = Path(json.loads(path.read_text())["config"]["dataset"]["label_file"]).name
        tables[name] = pd.read_csv(path.parent / "predictions/csv.csv").set_index("utterance")
    common = tables["a.csv"].index.intersection(tables["b.csv"].index)
    first, second = (tables[name].loc[common] for name in ("a.csv", "b.csv"))
    differ = (first["reference"] != second["reference"]).mean()
    assert differ
    assert {row[6] for row in pairs} == {"a.csv", "b.csv"}
    for row in pairs:
        reference = tables[row[6]].loc[common, "reference"]
        expected = [f"{100 * balanced_accuracy_score(reference, table['prediction']):.1f}" for table in (first, second)]
        assert [row[4], row[5], *row[7:9]] == [str(len(common)), f"{100 * differ:.1f}", *expected]


def test_a_source_without_labels_of_the_test_part_can_be_scored(data: Path, tmp_path: Path) -> None:
    """The language model labels the training material; people label the test."""
    table = pd.read_csv(data / "unlabelled.csv")
    table["split"] = ["test" if speaker == "s3" else "train" for speaker in table["speaker"]]
    table.to_csv(data / "split.csv", index=False)
    gold = pd.read_csv(data / "gold.csv")
    gold[~gold["utterance"].str.contains("s3_")].to_csv(data / "train_only.csv", index=False)
    overrides = ("dataset.table=split.csv", f"dataset.label_file={data / 'train_only.csv'}")
    with pytest.raises(InputError, match="has no test utterance with a label"):
        train(tmp_path, data, *overrides)
    result = train(tmp_path, data, *overrides, f"eval.reference={data / 'gold.csv'}")
    assert result["evals"][0]["n"] == 9
    assert result["train"]["folds"][0]["n_test"] == 9


def test_a_reference_is_for_the_training_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    union = ["dataset=union", "dataset.members=[demo,demo_de]", "eval.reference=release"]
    with pytest.raises(SetupError, match=r"eval.reference is for one corpus"):
        run(compose([*small(), f"out={tmp_path}", *union]))
    monkeypatch.setattr("sys.argv", ["evaluate", "runs/x", "dataset=demo", "eval.reference=release"])
    assert evaluate() == 2
    assert "eval.reference is for train" in capsys.readouterr().err
