"""Delimited tables: Arrow and Python read the same rows, and only Python reports errors."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError
from melt_ser.corpora.readers.csv import release_of
from melt_ser.corpora.readers.delimited import _has_regular_quotes, _read_with_arrow, _read_with_python, read_table

PIECES = st.lists(st.sampled_from(['"', '""', ",", "\n", "\r\n", "a", " ", "ü", "b c"]), min_size=1, max_size=14)


@given(PIECES.map("".join))
@example('a,"b ""c"""\n"","d\n,e"\n')
@example('a,"b"c\n')
@example('a,b"c"\n')
def test_both_readers_of_a_table_with_regular_quotes_agree(text: str) -> None:
    content = text.encode()
    table = _read_with_arrow(content, ",") if _has_regular_quotes(content, ",") else None
    if table is None:
        return
    try:
        expected = _read_with_python(Path("table.csv"), content, ",", strict=True).to_numpy().tolist()
    except InputError as error:
        raise AssertionError(f"Arrow reads what Python refuses: {error}") from None
    rows = [row for row in table.to_numpy().tolist() if any(value.strip() for value in row)]
    assert rows == expected


@pytest.mark.parametrize("text", ["a,b\n1,2\n", 'a,b\n"1, 2","say ""no"""\n', 'a,b\r\n"two\nlines",2\r\n'])
def test_arrow_reads_the_tables_that_programs_write(text: str) -> None:
    content = text.encode()
    assert _has_regular_quotes(content, ",")
    table = _read_with_arrow(content, ",")
    assert table is not None and table.to_numpy().tolist() == list(csv.reader(text.splitlines(keepends=True)))


@pytest.mark.parametrize("text", ['a,"b\n', 'a,"b"c\n', 'a, "b"\n', 'a,b""c\n'])
def test_arrow_does_not_read_a_table_with_irregular_quotes(text: str) -> None:
    assert not _has_regular_quotes(text.encode(), ",")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", r"t\.csv is empty; give a table with a row of column names"),
        ('a,b\n1,2\n3,"x\n5,y\n', r"t\.csv: a quote opens in row 2 and is not closed"),
    ],
)
def test_read_table_refuses_an_open_quote_and_an_empty_table(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=error):
        read_table(tmp_path / "t.csv", ())


GOOD = [["1", "2"], ["3", ""]]


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n3,\n",
        b"a,b,,\n1,2,,\n3,,,\n",  # empty columns at the end
        b"a,b,,\n1,2\n3,,\n",
        b"a,,b\n1,,2\n3,,\n",  # and in the middle
        b"a,b\n1,2,\n3,,\n",  # a comma more in the rows
        b"a,b\n1,2,\n3,\n",
        b"a,b\n1,2, , \n3,\n",
        b"\n\n , \na,b\n\n1,2\n,\n3,\n\n",  # blank rows
        b"A , B\r\n 1,2 \r\n3,\r\n",
        b"a,b\r1,2\r3,\r",
        b"a,b\r\n1,2\n3,\r",  # mixed line ends
        b"a;b\n1;2\n3;\n",
        b"a\tb\n1\t2\n3\t\n",
        b"sep=;\r\na;b\r\n1;2\r\n3;\r\n",
        b"\xef\xbb\xbfsep=,\na,b\n1,2\n3,\n",
        b"\xef\xbb\xbfa,b\n1,2\n3,\n",
        b'"a","b"\n"1","2"\n"3",""\n',
        "a,b\n1,2\n3,\n".encode("utf-16"),
        b"\xfe\xff" + "a\tb\n1\t2\n3\t\n".encode("utf-16-be"),
        b"a,b,a\n1,2,1\n3,,3\n",  # a column and its copy
        b"a,b,B\n1,2,2\n3,,\n",
    ],
)
def test_a_table_with_a_plain_meaning_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    table = read_table(tmp_path / "t.csv", ("a", "b"), strict=True)
    assert list(table) == ["a", "b"] and table.to_numpy().tolist() == GOOD


def test_a_column_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    """pandas writes the numbers of its rows so."""
    (tmp_path / "t.csv").write_bytes(b",a,b,\n0,1,2,x\n1,3,,\n")
    table = read_table(tmp_path / "t.csv", (), strict=True)
    assert list(table) == ["column 1", "a", "b", "column 4"] and table["column 4"].tolist() == ["x", ""]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"a,b\n1,2,x\n", r"t\.csv, row 1 has 3 values for 2 columns; check its quotes, or name every column in the"),
        (b"a,b\n1,2\n3\n", r"t\.csv, row 2 has 1 values for 2 columns; check its quotes, or write a comma for each"),
        (b"a,b,a\n1,2,3\n", r"t\.csv has two different columns 'a'; rename or delete one of them"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], r"t\.csv is not UTF-8: save it as 'CSV UTF-8'"),
        ("a,b\n1,ü\n".encode("latin-1"), r"t\.csv is not UTF-8: save it as 'CSV UTF-8'"),
    ],
)
def test_a_table_with_an_unclear_meaning_is_refused_with_the_cure(tmp_path: Path, content: bytes, error: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=error):
        read_table(tmp_path / "t.csv", ("a", "b"), strict=True)


@pytest.mark.parametrize("text", ['a,b\n1,x "y\n', 'a,b\n1,"x"y\n', 'a,b\n"",""\nend,"end" \n'])
def test_read_table_keeps_quotes_inside_a_value(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert len(read_table(tmp_path / "t.csv", ())) == 1


def test_utterance_names_are_taken_by_used_rows_only(tmp_path: Path) -> None:
    """A skipped row takes no name from a used row; the numbers of a file continue after its last one."""
    (tmp_path / "a.wav").touch()
    labels = ("", "x", "x", "", "x")
    rows = [{"audio": "a.wav", "label": label, "start": str(start)} for start, label in enumerate(labels)]
    release = release_of(rows, tmp_path, tmp_path / "t.csv", DatasetConfig(name="csv"))
    assert release.table["utterance"].tolist() == ["a", "a#2", "a#3"]
    assert [item.reason for item in release.skipped] == ["no label: row 1", "no label: row 4"]
