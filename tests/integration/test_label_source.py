"""A labels file trains exactly as the released labels do, and the report compares the two label sources."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from corpus_trees import MELD_FOLDERS, MELT_COLUMNS, tone, write_rows
from melt_ser.annotation.answers import Answer
from melt_ser.annotation.fields import paper_fields
from melt_ser.annotation.labels_file import Origin, label_line, write_labels
from melt_ser.cli.compose import compose
from melt_ser.core.errors import InputError
from melt_ser.corpora.lines import read_lines
from melt_ser.report import main as report
from melt_ser.runs.run import run
from small_runs import SMALL

TAXONOMY = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """Some dialogues of the released MELT, with a tone of its own pitch for each row."""
    root = tmp_path_factory.mktemp("melt")
    pitches = itertools.count(200)
    for split, dialogues in (("train", 12), ("test", 5)):
        released = pd.read_csv(shared_data / "melt" / f"meld_{split}.csv", dtype=str, keep_default_na=False)
        drawn = released["Dialogue_ID"].drop_duplicates().sample(dialogues, random_state=1)
        rows = released[released["Dialogue_ID"].isin(drawn) & released["llm_label"].isin(TAXONOMY)]
        write_rows(root / f"meld_{split}.csv", MELT_COLUMNS, rows[MELT_COLUMNS].to_numpy().tolist())
        for name in rows["filename"]:
            tone(root / MELD_FOLDERS[split] / name, seconds=0.3, frequency=next(pitches))
    return root


def labels_file(path: Path, root: Path, column: str) -> Path:
    """Write a labels file as `annotate` does, with the values of one column of the release as the model's answers."""
    asked = Origin("test", "melt", "1", "1.0")
    lines = read_lines(root)
    answers = {line.utterance: {0: Answer({"emotion": line.columns[column].title()})} for line in lines}
    fields = paper_fields(TAXONOMY)
    write_labels(path, [label_line(line, answers[line.utterance], fields, {}, asked) for line in lines])
    return path


def train(out: Path, root: Path, *overrides: str) -> dict[str, Any]:
    path = run(compose([*SMALL, "dataset=melt", f"dataset.root={root}", f"out={out}", *overrides]))
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def test_a_labels_file_with_the_released_labels_gives_the_same_result(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    same = labels_file(tmp_path / "same.csv", data, "llm_label")
    human = labels_file(tmp_path / "human.csv", data, "Emotion")
    released, annotated, other = (
        train(out, data, *source) for source in ([], [f"dataset.label_file={same}"], [f"dataset.label_file={human}"])
    )
    assert annotated["run"]["id"] != released["run"]["id"]
    assert annotated["train"]["digest"] == released["train"]["digest"]
    assert annotated["train"]["n"] == released["train"]["n"]
    numbers = [{key: value for key, value in row.items() if key != "seconds"} for row in released["evals"]]
    assert [{key: value for key, value in row.items() if key != "seconds"} for row in annotated["evals"]] == numbers
    assert other["train"]["digest"] != released["train"]["digest"]
    assert other["evals"][0]["n"] == released["evals"][0]["n"]

    assert report([str(out), "--format", "md"]) == 0
    table = capsys.readouterr().out.replace("\\", "")  # Markdown escapes underscores
    for system in (
        "hubert_tiny_random",
        "hubert_tiny_random label_file=same.csv",
        "hubert_tiny_random label_file=human.csv",
    ):
        assert f"| {system} |" in table

    labels_file(same, data, "Emotion")
    with pytest.raises(InputError, match=r"Corpus 'melt' has changed since the run in .* was finished"):
        train(out, data, f"dataset.label_file={same}")
