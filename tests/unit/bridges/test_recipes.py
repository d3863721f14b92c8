"""The recipes of docs/bridges.md, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

import melt_ser
from checkout import CHECKOUT
from melt_ser.cli.compose import load_dataset
from melt_ser.corpora.readers.audformat_database import read
from melt_ser.evaluation.label_rows import CsvRows, Layout
from small_runs import corpus


def recipe(word: str) -> str:
    """Return the Python block of the page that has this word."""
    page = (CHECKOUT / "docs" / "bridges.md").read_text(encoding="utf-8")
    [block] = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if word in block]
    return block


def test_labels_of_predict_become_a_database_of_audformat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("audformat")
    root = corpus(tmp_path / "c", speakers=1, each=3)
    with (root / "labels.csv").open("w") as stream:  # as predict writes it
        writer = CsvRows(stream, Layout(["label", "angry", "happy"]))
        for number, label in enumerate(("angry", "happy", "angry")):
            writer.add({"file": f"wav/s0_{number}.wav", "label": label, "angry": 0.9, "happy": 0.1})
        writer.add({"file": "wav/x.wav", "error": "no audio"})
    monkeypatch.chdir(root)
    exec(recipe("audformat.Database"), {})
    table = read(root, load_dataset("audformat")).table
    assert dict(zip(table["audio"], table["label"], strict=True)) == {
        "wav/s0_0.wav": "angry",
        "wav/s0_1.wav": "happy",
        "wav/s0_2.wav": "angry",
    }


def test_our_split_becomes_tables_of_nkululeko(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = corpus(tmp_path / "c", speakers=5)
    labelled = melt_ser.load_corpus("csv", table=str(root / "table.csv"))
    monkeypatch.setattr(melt_ser, "load_corpus", lambda *_: labelled)
    monkeypatch.chdir(tmp_path)
    exec(recipe("getattr(fold, part)"), {})
    parts = {part: pd.read_csv(f"{part}.csv") for part in ("train", "dev", "test")}
    assert all(list(table.columns) == ["file", "speaker", "emotion"] for table in parts.values())
    assert sum(map(len, parts.values())) == 30 and all(Path(file).is_file() for file in parts["test"]["file"])
    assert set(parts["test"]["speaker"]).isdisjoint(pd.concat([parts["train"], parts["dev"]])["speaker"])
