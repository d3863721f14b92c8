"""Transcripts: MELD's and MELT's files, a corpus table, or a table of the user's own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.lines import earlier_lines, read_lines


def test_read_lines_reads_the_real_files_whole(shared_data: Path) -> None:
    meld, melt = (read_lines(shared_data / name) for name in ("meld", "melt"))
    assert (len(meld), len(melt)) == (13708, 8818)
    first = melt[0]
    assert (first.utterance, first.split, first.dialogue, first.position) == ("train_dia0_utt0", "train", "0", 0)
    assert (first.speaker, first.season, first.episode, first.duration) == ("chandler", "8", "21", 5.672)
    assert first.columns["filename"] == "dia0_utt0.wav"
    assert first.columns["llm_label"] == "neutral"
    assert {line.utterance for line in melt} <= {line.utterance for line in meld}
    assert {line.split: line.utterance for line in meld if line.position == 1 and line.dialogue == "2"} == {
        "train": "train_dia2_utt1",
        "dev": "dev_dia2_utt1",
        "test": "test_dia2_utt1",
    }


def test_earlier_lines_are_of_the_same_dialogue_and_split(shared_data: Path) -> None:
    lines = read_lines(shared_data / "meld")
    earlier = earlier_lines(lines, 2)
    assert earlier["test_dia0_utt0"] == []
    assert [line.utterance for line in earlier["test_dia0_utt1"]] == ["test_dia0_utt0"]
    assert [line.utterance for line in earlier["dev_dia1_utt9"]] == ["dev_dia1_utt7", "dev_dia1_utt8"]
    assert earlier_lines(lines, 0)["dev_dia1_utt9"] == []
    assert earlier_lines(lines[::-1], 2) == earlier  # by position, not by the order of the rows


def test_read_lines_reads_a_corpus_table_as_csv_and_as_parquet(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "audio": ["b/one.wav", "b/two.wav"],
            "start": [float("nan"), 1.0],
            "end": [float("nan"), 3.5],
            "split": ["val", "val"],
            "speaker": ["Anna", ""],
            "session": ["s1", "s1"],
            "text": ['She said "no".', ""],
        }
    )
    table.to_csv(tmp_path / "table.csv", index=False)
    table.to_parquet(tmp_path / "table.parquet")
    lines = read_lines(tmp_path / "table.csv")
    assert lines == [
        line.__class__(**{**line.__dict__, "columns": mine.columns})
        for line, mine in zip(read_lines(tmp_path / "table.parquet"), lines, strict=True)
    ]
    assert [(line.utterance, line.duration, line.split) for line in lines] == [
        ("b/one", None, "dev"),
        ("b/two", 2.5, "dev"),
    ]
    assert [line.utterance for line in earlier_lines(lines, 8)["b/two"]] == ["b/one"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("text,label\nHi,joy\n", r"lacks the column utterance; a table needs text and utterance"),
        ("Utterance,Speaker\nHi,Ross\n", r"lacks the column dialogue_id, utterance_id"),
        ("utterance,text\na,Hi\na,Ho\n", r"the utterance 'a' occurs more than once \(1 do\)"),
        ("utterance,text\n,Hi\n", r"row 1: the line has no name"),
        ("utterance,text,split\na,Hi,five\n", r"row 1: the split is 'five'; it must be train"),
        ("utterance,text,duration\na,Hi,long\n", r"row 1, duration: 'long' is no time in seconds"),
        ("Utterance,Speaker,Dialogue_ID,Utterance_ID\nHi,Ross,x,1\n", r"row 1: Dialogue_ID is 'x'"),
        (
            "Utterance,Speaker,Dialogue_ID,Utterance_ID,StartTime,EndTime\nHi,Ross,1,1,12,00:00:13,\n",
            r"row 1",
        ),
    ],
)
def test_read_lines_names_file_row_and_fix_of_a_mistake(tmp_path: Path, content: str, error: str) -> None:
    path = tmp_path / "lines.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=error):
        read_lines(path)


def test_read_lines_says_that_a_file_is_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="There is no table at"):
        read_lines(tmp_path / "none.csv")
    with pytest.raises(SetupError, match=r"holds neither MELD's files"):
        read_lines(tmp_path)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="is not a parquet file"):
        read_lines(tmp_path / "bad.parquet")
