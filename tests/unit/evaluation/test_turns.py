"""Files of turns are read as people and programs write them; a wrong line is told with its number."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from melt_ser.core.errors import InputError, MeltSerError, SetupError
from melt_ser.evaluation.turns import turns_of

A, B = Path("x/a.wav"), Path("x/b.wav")
LINE = "SPEAKER {} 1 {} {} <NA> <NA> {} <NA> <NA>"
SPEECH = LINE.format("a", 0.5, 1.25, "anna")


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def told(turns: dict[Path, list[object]]) -> list[tuple[float, float, str]]:
    return [(turn.start, turn.end, turn.speaker) for turn in turns[A]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        SPEECH + "\n",
        SPEECH,
        ";; made by hand\n\n" + SPEECH.replace(" ", "\t") + "\r\n",
        "SPEAKER a 1 0.5 1.25 <NA> <NA> anna <NA>\n",  # the older form, without the last field
        "\ufeff" + SPEECH,
    ],
)
def test_an_rttm_is_read_as_programs_write_it(text: str, tmp_path: Path) -> None:
    assert told(turns_of(written(tmp_path / "t.rttm", text), [A])) == [(0.5, 1.75, "anna")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name, text",
    [
        ("t.csv", "start,end,speaker\n0.5,1.75,anna\n"),
        ("t.csv", "Speaker;End;Start;note\nanna;1.75;0.5;hm\n"),
        ("t.tsv", "file\tstart\tend\tspeaker\nsomewhere/a.wav\t0.5\t1.75\tanna\n"),
        ("t.txt", "sep=,\n\nstart,end,speaker\n\n0.5,1.75,anna\n"),
        ("t.csv", "audio,start,end,speaker\na,0.5,1.75,anna\n"),
    ],
)
def test_a_table_is_read_as_people_write_it(name: str, text: str, tmp_path: Path) -> None:
    assert told(turns_of(written(tmp_path / name, text), [A])) == [(0.5, 1.75, "anna")]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["t.rttm", "t.csv"])
def test_utf16_with_its_mark_is_read_and_another_encoding_is_told(name: str, tmp_path: Path) -> None:
    text = SPEECH if name == "t.rttm" else "start,end,speaker\n0.5,1.75,anna\n"
    text = text.replace("anna", "Jörg")
    path = tmp_path / name
    path.write_bytes(codecs.BOM_UTF16_LE + text.encode("utf-16-le"))
    assert told(turns_of(path, [A])) == [(0.5, 1.75, "Jörg")]  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is not UTF-8"):
        turns_of(written(path, text, "latin-1"), [A])


def test_a_table_without_speakers_has_turns_of_nobody(tmp_path: Path) -> None:
    assert told(turns_of(written(tmp_path / "t.csv", "start,end\n1,2\n"), [A])) == [(1.0, 2.0, "")]  # type: ignore[arg-type]
    line = LINE.format("a", 1, 1, "<NA>")
    assert told(turns_of(written(tmp_path / "t.rttm", line), [A])) == [(1.0, 2.0, "")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line, reason",
    [
        ("SPEAKER a 1 0.5", "has 4 fields, but a turn has 8 or more, the last of them the speaker"),
        (LINE.format("a", "half", 1, "s"), "'half' is no time in seconds, such as 1.5"),
        (LINE.format("a", "-1", 1, "s"), "'-1' is no time in seconds, such as 1.5"),
        (LINE.format("a", "nan", 1, "s"), "'nan' is no time in seconds, such as 1.5"),
        (LINE.format("a", 1, "1e300", "s"), "'1e300' is no time in seconds, such as 1.5"),
        (LINE.format("a", 1, "0,5", "s"), "'0,5' is no time in seconds, such as 1.5"),
        ("0.5 1.2 anna", "'0.5' is no type of an RTTM line; a turn begins with SPEAKER"),
    ],
)
def test_a_wrong_line_is_told_with_its_number_and_the_others_counted(line: str, reason: str, tmp_path: Path) -> None:
    path = written(tmp_path / "t.rttm", "\n".join([SPEECH, "", line]))
    with pytest.raises(InputError) as error:
        turns_of(path, [A])
    assert str(error.value) == f"{path}, line 3: {reason}."
    with pytest.raises(InputError) as error:
        turns_of(written(path, "\n".join([SPEECH, line, line, line])), [A])
    assert str(error.value) == f"{path}, line 2: {reason}; 2 more lines are wrong."


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("start,end\n1,2\nx,3\n", "{path}, row 2: 'x' is no time in seconds, such as 1.5."),
        ("begin,end\n1,2\n", "{path} lacks the column start; its columns are: begin, end."),
        ("start,end\n", "{path} has no turns; give a line for each."),
        ("", "{path} is empty; give a table with a row of column names."),
        ("start,end\n1\n", "{path}, row 1 has 1 values for 2 columns; check its quotes, or write a comma"),
        ("start,end,file,path\n1,2,a,a\n", "{path} has 2 columns that may be the audio: file, path; name one 'audio'."),
    ],
)
def test_a_wrong_table_is_told(text: str, sentence: str, tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", text)
    with pytest.raises(InputError) as error:
        turns_of(path, [A])
    assert str(error.value).startswith(sentence.format(path=path))


def test_an_rttm_without_turns_and_a_file_that_is_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t\.rttm has no turns; give a line for each\."):
        turns_of(written(tmp_path / "t.rttm", ";; nothing\n"), [A])
    with pytest.raises(SetupError, match=r"There is no file of turns at .*none\.rttm"):
        turns_of(tmp_path / "none.rttm", [A])


def test_turns_of_several_recordings_find_theirs_and_the_others_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [LINE.format(name, start, 1, "s") for name, start in (("a", 3), ("b", 0), ("c", 0), ("c", 2), ("a", 1))]
    turns = turns_of(written(tmp_path / "t.rttm", "\n".join([*lines, "SPKR-INFO a 1"])), [A, B, Path("d.wav")])
    assert {str(path): [turn.start for turn in own] for path, own in turns.items()} == {
        "x/a.wav": [1.0, 3.0],
        "x/b.wav": [0.0],
        "d.wav": [],
    }
    said = capsys.readouterr().err
    assert "t.rttm: 2 turns are of recordings that are not labelled here: c." in said
    assert "t.rttm: 1 line is of another type than SPEAKER and gave no turn." in said


def test_overlaps_and_channels_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [LINE.format("a", start, 2, "s") for start in (0, 1, 3, 4)]
    turns_of(written(tmp_path / "t.rttm", "\n".join([*lines, lines[-1].replace("a 1 4", "a 2 6")])), [A])
    said = capsys.readouterr().err
    assert "2 of 5 turns begin before another ends, the first in" in said and "t.rttm, line 2; each is" in said
    assert "t.rttm names the channels 1, 2; the mean of all channels is labelled." in said


def test_the_only_turns_are_those_of_the_only_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "t.rttm", LINE.format("waveform", 1, 1, "s"))
    assert told(turns_of(path, [A])) == [(1.0, 2.0, "s")]  # type: ignore[arg-type]
    assert "t.rttm is about 'waveform'; its turns are taken for x/a.wav." in capsys.readouterr().err
    assert turns_of(path, [A, B]) == {A: [], B: []}


@pytest.mark.parametrize("text", ["start,end\n1,2\n", "file,start,end\na.wav,1,2\n"])
def test_turns_that_may_be_of_several_recordings_are_refused(text: str, tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", text)
    with pytest.raises(MeltSerError, match="is for one recording, not for 2|may be x/a.wav or y/a.wav"):
        turns_of(path, [A, Path("y/a.wav")])


def test_a_whole_path_tells_recordings_of_one_name_apart(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "file,start,end\ny/a.wav,1,2\n")
    assert [len(own) for own in turns_of(path, [A, Path("y/a.wav")]).values()] == [0, 1]


def test_turns_of_another_recording_with_the_same_file_name_are_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "t.csv", "file,start,end,speaker\nx/a.wav,0,2,anna\ny/a.wav,1,3,bob\n")
    assert [turn.speaker for turn in turns_of(path, [A])[A]] == ["anna"]
    assert "1 turn is of recordings that are not labelled here: y/a.wav." in capsys.readouterr().err
    elsewhere = Path("/data/x/a.wav")
    with pytest.raises(SetupError, match=r"'x/a\.wav' and 'y/a\.wav' may both be /data/x/a\.wav; write its path as"):
        turns_of(path, [elsewhere])
