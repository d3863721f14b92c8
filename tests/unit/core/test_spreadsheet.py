"""A text of a corpus is no formula in a CSV that a spreadsheet opens, and is read back as it was."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from melt_ser.config import DatasetConfig, LabelsConfig
from melt_ser.core.errors import InputError
from melt_ser.core.files import read_csv, write_csv
from melt_ser.core.spreadsheet import SIGNS, guarded, unguarded
from melt_ser.corpora.load import load_corpus
from melt_ser.corpora.readers.delimited import read_table
from melt_ser.evaluation.label_rows import CsvRows, Layout
from melt_ser.reporting.preparation import summarise, write_report

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", '=HYPERLINK("http://a","b")']
PLAIN = ["it's", "a=b", "-0.5", "+3", "-1e-05", "", "'tis", "Grüße"]


@given(st.text(alphabet="".join(FORMULAS) + "'ab0.,\"\n"))
def test_a_guarded_text_is_no_formula_and_comes_back_as_it_was(text: str) -> None:
    cell = guarded(text)
    assert unguarded(cell) == text
    assert not cell or cell[0] not in SIGNS or float(cell) == float(text)  # a plain number stays


def test_numbers_and_plain_texts_stay() -> None:
    assert [guarded(text) for text in PLAIN] == PLAIN
    assert [guarded(text) for text in FORMULAS] == ["'" + text for text in FORMULAS]


def test_a_csv_gives_back_names_and_texts_that_a_spreadsheet_would_compute(tmp_path: Path) -> None:
    texts = [*FORMULAS, *PLAIN, *("'" + text for text in FORMULAS)]
    table = pd.DataFrame({"utterance": texts, "=class": -0.25})
    write_csv(tmp_path / "a.csv", table)
    with (tmp_path / "a.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["utterance", "'=class"]
    assert not [name for name, _ in rows if name[:1] in ("=", "@", "\t", "\r", "＝") or name.startswith(("+c", "-2"))]
    assert {value for _, value in rows} == {"-0.25"}
    again = read_csv(tmp_path / "a.csv", {"utterance": str, "=class": float}, "run again")
    pd.testing.assert_frame_equal(again, table)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "No columns to parse"),
        (b"utterance\na\n", "it has no column 'happy'"),
        (b"utterance,happy\na,much\n", "could not convert string to float: 'much'"),
        (b"utterance,happy\na,nan\n", "convert"),
        (b"utterance,happy\na,1e999\n", "the column 'happy' has a value that is not finite"),
        (b"utterance,happy\n\xff,1\n", "codec can't decode byte"),
        (b"utterance,happy\na,1\nb,1,2,3\n", "Error tokenizing data"),
        (b'utterance,happy\n"a,1\n', "EOF inside string"),
    ],
)
def test_a_damaged_csv_is_one_sentence(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_csv(path, {"utterance": str, "happy": float}, "run again")
    assert str(raised.value).startswith(f"{path} cannot be read (") and reason in str(raised.value)
    assert str(raised.value).endswith("); run again.") and "\n" not in str(raised.value)
    with pytest.raises(InputError, match="No such file or directory"):
        read_csv(tmp_path / "none.csv", {}, "run again")


def test_every_csv_for_people_is_guarded_and_read_back_by_us(tmp_path: Path) -> None:
    """The files of `prepare` and `predict`; the corpus table is input again for `annotate`, `listen` and `train`."""
    root = tmp_path / "corpus"
    root.mkdir()
    for name in ("=a.wav", "b.wav"):
        soundfile.write(root / name, np.sin(np.arange(8000) / 20) * 0.3, 16_000)
    with (root / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("audio", "label", "text"), ("=a.wav", "happy", "=1+1"), ("b.wav", "sad", "-"), ("@no.wav", "sad", "")]
        )
    corpus = load_corpus(DatasetConfig(name="csv", reader="csv", root=str(root), table="t.csv"))
    folder = write_report(corpus, summarise(corpus, LabelsConfig()))
    for name in ("table.csv", "clips.csv", "dropped.csv"):
        with (folder / name).open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if cell[:1] in tuple(SIGNS)]
        assert any(cell.startswith(("'=", "'@")) for cell in cells)
    again = read_table(folder / "table.csv", ("audio", "text"))
    assert again[["utterance", "audio", "text"]].values.tolist() == [["=a", "=a.wav", "=1+1"], ["b", "b.wav", "-"]]
    (root / "theirs.csv").write_text("audio,text\n'=a.wav,'-\n")  # the apostrophes are the user's own
    assert read_table(root / "theirs.csv", ()).values.tolist() == [["'=a.wav", "'-"]]
    written = io.StringIO()
    rows = CsvRows(written, Layout(["label", "=x"]))
    rows.add({"file": "=a.wav", "label": "=x", "=x": 0.5})
    assert written.getvalue() == "file,label,'=x,error\n'=a.wav,'=x,0.5,\n"
