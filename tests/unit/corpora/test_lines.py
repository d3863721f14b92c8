"""Transcripts: MELD's and MELT's files, a corpus table, or a table of the user's own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.lines import earlier_lines, later_lines, read_lines


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
        ("words,label\nHi,joy\n", r"no column with the text; its columns are: words, label; name it by --text"),
        ("utterance,text\na,Hi\na,Ho\n", r"the utterance 'a' occurs more than once \(1 do\)"),
        ("utterance,text\n,Hi\n", r"row 1: the line has no name"),
        ("utterance,text,split\na,Hi,five\n", r"row 1: the split is 'five'; it must be train"),
        ("utterance,text,duration\na,Hi,long\n", r"row 1, duration: 'long' is no time in seconds"),
        ("utterance,text,start\na,Hi,0\nb,Ho,nan\n", r"row 2, start: 'nan' is no time in seconds \(such as 1\.5, or"),
        ("Sr No.,Utterance,Speaker,Dialogue_ID,Utterance_ID\n1,Hi,Ross,x,1\n", r"row 1: Dialogue_ID is 'x'"),
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


def test_read_lines_reads_parquet_as_other_programs_write_it(tmp_path: Path) -> None:
    """Its name may have capitals, its cells may be lists, and whole numbers stay whole beside an empty cell."""
    columns = {"utterance": ["a", "b"], "text": ["Hi", "Ho"], "votes": [[1, 2], []], "take": [1, None]}
    parquet.write_table(pa.table(columns), tmp_path / "LINES.PARQUET")
    lines = read_lines(tmp_path / "LINES.PARQUET")
    assert [(line.utterance, line.text, line.columns["take"]) for line in lines] == [("a", "Hi", "1"), ("b", "Ho", "")]
    parquet.write_table(pa.table({**columns, "Text": ["Hi", "He"]}), tmp_path / "two.parquet")
    with pytest.raises(InputError, match="has two different columns 'text'; rename or delete one of them"):
        read_lines(tmp_path / "two.parquet")


def written(folder: Path, content: str) -> Path:
    path = folder / "mine.csv"
    path.write_text(content, encoding="utf-8")
    return path


def test_melds_own_names_next_to_text_keep_their_dialogue(tmp_path: Path) -> None:
    rows = "".join(f"line {number},Ross,7,{number}\n" for number in range(3))
    lines = read_lines(written(tmp_path, "text,Speaker,Dialogue_ID,Utterance_ID\n" + rows))
    assert [line.utterance for line in lines] == ["dia7_utt0", "dia7_utt1", "dia7_utt2"]
    assert [line.text for line in earlier_lines(lines, 8)["dia7_utt2"]] == ["line 0", "line 1"]


def test_read_lines_takes_the_columns_that_it_is_told_and_says_what_it_took_for_what(tmp_path: Path) -> None:
    path = written(tmp_path, "utterance,Szene,wer,Thema\nGuten Tag,s-1,Anna,Gruß\nTag!,s-1,Ben,Gruß\n")
    told: list[str] = []
    lines = read_lines(path, {"text": "utterance", "dialogue": "Szene", "speaker": "wer"}, told.append)
    assert [(line.utterance, line.text, line.speaker, line.dialogue) for line in lines] == [
        ("mine_1", "Guten Tag", "Anna", "s-1"),
        ("mine_2", "Tag!", "Ben", "s-1"),
    ]
    found = "the text from 'utterance', the speaker from 'wer', the dialogue from 'szene'; no column for the name"
    assert told == [f"{path}: {found}; each line is called by the number of its row"]
    assert list(lines[0].columns) == ["text", "dialogue", "speaker", "thema", "utterance"]  # read again without options
    with pytest.raises(InputError, match=r"has no column 'tema' \(--text\); its columns are: utterance, szene"):
        read_lines(path, {"text": "tema"})
    path.write_text("text,speaker,wer\nHi,7,Anna\n", encoding="utf-8")
    with pytest.raises(InputError, match="has a column 'speaker' next to 'wer', which is the speaker; rename one"):
        read_lines(path, {"speaker": "wer"})


def test_a_text_in_the_column_utterance_moves_to_text_and_leaves_it_to_the_name(tmp_path: Path) -> None:
    [line] = read_lines(written(tmp_path, "utterance,dialogue_id,utterance_id\nHi,a,u1\n"))
    assert dict(line.columns) == {"text": "Hi", "dialogue_id": "a", "utterance_id": "u1", "utterance": "a_u1"}


def test_segments_of_a_file_have_the_names_that_a_corpus_table_gives_them(tmp_path: Path) -> None:
    table = "audio,start,end,text,session\na.wav,2,3,two,s\na.wav,0,1,one,s\nb.wav,,,three,t\n"
    lines = read_lines(written(tmp_path, table))
    assert [line.utterance for line in lines] == ["a", "a#2", "b"]
    assert [line.columns["utterance"] for line in lines] == ["a", "a#2", "b"]


def test_a_dialogue_is_ordered_by_start_or_by_number_or_by_row(tmp_path: Path) -> None:
    def order(table: str) -> list[str]:
        lines = read_lines(written(tmp_path, table))
        last = (
            lines[0] if len(lines) == 1 else max(lines, key=lambda line: len(earlier_lines(lines, 9)[line.utterance]))
        )
        return [line.text for line in [*earlier_lines(lines, 9)[last.utterance], last]]

    assert order("text,dialog,start\nc,d,9.5\na,d,0\nb,d,00:00:03.5\n") == ["a", "b", "c"]
    assert order("text,dialogue,utterance_id\nb,d,11\na,d,2\n") == ["a", "b"]
    assert order("text,dialogue,start\nb,d,4\na,d,\n") == ["b", "a"]  # a start is missing: as the rows are
    assert order("text,dialogue,utterance_id\nb,d,x9\na,d,x10\n") == ["b", "a"]


def test_tables_that_number_their_dialogues_alike_share_none(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(f"utterance,text,dialogue\n{name}1,x,1\n{name}2,y,1\n", encoding="utf-8")
    lines = read_lines([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert {name: [line.utterance for line in earlier] for name, earlier in earlier_lines(lines, 9).items()} == {
        "a1": [],
        "a2": ["a1"],
        "b1": [],
        "b2": ["b1"],
    }


def test_later_lines_are_the_next_ones_of_the_dialogue(tmp_path: Path) -> None:
    lines = read_lines(written(tmp_path, "utterance,text,dialogue\na,1,d\nb,2,d\nx,9,e\nc,3,d\n"))
    later = later_lines(lines, 1)
    assert {name: [line.utterance for line in following] for name, following in later.items()} == {
        "a": ["b"],
        "b": ["c"],
        "c": [],
        "x": [],
    }
