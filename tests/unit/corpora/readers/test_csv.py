"""A corpus of one's own: a CSV with at least `audio,label`."""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus_trees import placeholder, tone
from melt_ser.cli.compose import load_config, load_dataset
from melt_ser.core.errors import InputError, MeltSerError, SetupError
from melt_ser.corpora.labels import EMOTIONS, map_labels
from melt_ser.corpora.load import load_corpus
from melt_ser.corpora.readers.audio_paths import RootFolder
from melt_ser.corpora.readers.csv import read
from melt_ser.corpora.table import Release, validate

CONFIG = replace(load_dataset("csv"), table="my.csv", language="en")


def read_text(root: Path, text: str | bytes, *clips: str) -> Release:
    """Write the table and empty clips, and read them."""
    for clip in clips:
        placeholder(root / clip)
    (root / "my.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return read(root, CONFIG)


def test_csv_needs_only_two_columns(tmp_path: Path) -> None:
    release = read_text(tmp_path, "audio,label\nsub/a.wav,happy\n", "sub/a.wav")
    validate(release.table, "csv")
    row = release.table.iloc[0]
    assert (row.utterance, row.source, row.audio, row.label) == ("sub/a", "csv/sub/a", "sub/a.wav", "happy")
    assert (row.split, row.speaker, row.gender, row.language) == ("", "", "", "en")
    assert math.isnan(row.start) and math.isnan(row.end) and math.isnan(row.duration)
    assert release.skipped == [] and release.notes == []


def test_csv_may_have_every_column_of_the_corpus_table(tmp_path: Path) -> None:
    text = (
        "utterance,source,audio,start,end,split,speaker,session,gender,language,text,label\n"
        'u1,s1,a.wav,0.5,1.25,validation,Ann,d1,F,de,"Ja, gut",froh\n'
    )
    row = read_text(tmp_path, text, "a.wav").table.iloc[0]
    assert row.drop(["duration"]).to_dict() == dict(
        utterance="u1", source="s1", audio="a.wav", start=0.5, end=1.25, split="dev", speaker="Ann",
        session="d1", gender="female", language="de", text="Ja, gut", intensity="", label="froh",
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfaudio,label\r\na.wav,w\xc3\xbctend\r\n",
        "audio;label\na.wav;wütend\n".encode(),
        "audio\tlabel\ra.wav\twütend\r".encode(),
        '"Audio" , "Label"\na.wav, wütend \n\n'.encode().replace(b" , ", b",").replace(b', "', b',"'),
        "audio,label\na.wav,wu\u0308tend\n".encode(),  # the spelling of macOS
    ],
    ids=["mark and CRLF", "semicolon", "tab and CR", "capitals, quotes, blanks", "decomposed"],
)
def test_csv_of_any_spreadsheet_is_read(tmp_path: Path, text: bytes) -> None:
    table = read_text(tmp_path, text, "a.wav").table
    assert table[["audio", "label"]].to_numpy().tolist() == [["a.wav", "wütend"]]


def test_csv_rows_without_label_or_file_are_listed(tmp_path: Path) -> None:
    text = "audio,label,mood,duration\na.wav,happy,1,9\nb.wav,,2,9\nc.wav,sad,3,9\n,sad,4,9\n"
    release = read_text(tmp_path, text, "a.wav", "b.wav")
    assert release.table["utterance"].tolist() == ["a"]
    assert [(p.utterance, p.reason) for p in release.skipped] == [
        ("b", "no label: row 2"),
        ("c", "no audio file: row 3"),
        ("", "no audio: row 4"),
    ]
    assert release.notes == ["columns that are not used: mood"]  # no word on the duration, since it is measured


def test_csv_segments_of_a_file_are_utterances_of_one_recording(tmp_path: Path) -> None:
    segments = "a.wav,0,1,sad,\na.wav,1000.0001,1001,sad,\na.wav,1000.0002,1001,sad,\na.wav,9,10,sad,scene 7\n"
    table = read_text(tmp_path, "audio,start,end,label,source\n" + segments, "a.wav").table
    assert table["utterance"].tolist() == ["a", "a#2", "a#3", "a#4"]
    assert table["source"].tolist() == ["csv/a", "csv/a", "csv/a", "scene 7"]  # the column goes first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("audio,mood\na.wav,sad\n", r"my\.csv lacks the column label; its columns are: audio, mood; name yours with"),
        ("audio label\na.wav sad\n", r"my\.csv lacks .*: audio label; separate its columns with commas, semicolons or"),
        ("", r"my\.csv is empty; give a table with a row of column names"),
        ("audio,label,Label\na.wav,sad,7\n", r"my\.csv has two different columns 'label'; rename or delete one"),
        ("audio,label\na.wav,sad\nb.wav,sad,yes\n", r"row 2 has 3 values for 2 columns; .* or name every column in"),
        ("audio,label,speaker\na.wav,sad\n", r"row 1 has 2 values for 3 columns; .* or write a comma for each empty"),
        ("audio,label\n/tmp/a.wav,sad\n", r"my\.csv, row 1: .*'/tmp/a\.wav' is not below dataset\.root=/"),
        ("audio,label\nC:/a.wav,sad\n", r"my\.csv, row 1: .*'C:/a\.wav' is a path of Windows"),
        ("audio,label\nD:\\a.wav,sad\n", r"my\.csv, row 1: .* is a path of Windows; write it relative to dataset"),
        ("audio,label\n\\\\nas\\a.wav,sad\n", r"my\.csv, row 1: .* is a path of Windows"),
        ("audio,label\nfile:///C:/a.wav,sad\n", r"my\.csv, row 1: .* is a path of Windows"),
        ("audio,label\nhttps://x.org/a.wav,sad\n", r"my\.csv, row 1: .* is an address on a network; download the file"),
        ("audio,label\n/a\0.wav,sad\n", r"my\.csv, row 1: .* is not below dataset\.root=/"),
        ("audio,label\nsub/../../a.wav,sad\n", r"my\.csv, row 1: .*'sub/\.\./\.\./a\.wav' is not below dataset\.root"),
        ("audio,label,start\na.wav,sad,soon\n", r"my\.csv, row 1, start: 'soon' is no time"),
        ("audio,label,start\na.wav,sad,-1\n", r"my\.csv, row 1, start: '-1' is no time"),
        ("audio,label,split\na.wav,sad,eval\n", r"my\.csv, row 1: the split is 'eval'"),
        ("audio,label,sex\na.wav,sad,7\n", r"row 1: the gender is '7'.* \(\+dataset\.columns\.gender=null leaves"),
        ("audio,label,gender\na.wav,sad,x\n", r"my\.csv, row 1: the gender is 'x'"),
        ("audio,label,utterance\na.wav,sad,u\nb.wav,sad,u\n", r"my\.csv, row 2: the utterance 'u'"),
        ('audio,label\n"a.wav,sad\n', r"my\.csv, line 2: .*quotes"),
        (b"audio,label\na.wav,w\xfctend\n", r"my\.csv is not UTF-8"),
    ],
)
def test_csv_mistake_is_one_sentence_that_names_it(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_text(tmp_path, text, "a.wav", "b.wav")


def test_csv_columns_with_other_names_are_mapped(tmp_path: Path) -> None:
    content = "File;Emotion;Label;Who\na.wav;sad;7;ann\n"
    columns: dict[str, str | None] = {"audio": "File", "label": "Emotion", "speaker": "who"}
    placeholder(tmp_path / "a.wav")
    (tmp_path / "my.csv").write_text(content, encoding="utf-8")
    config = replace(CONFIG, columns=columns)
    release = read(tmp_path, config)
    assert release.table.loc[0, ["audio", "label", "speaker"]].tolist() == ["a.wav", "sad", "ann"]
    assert release.notes == ["columns that are not used: label"]
    del columns["label"]
    assert read(tmp_path, config).table["label"].tolist() == ["7"]
    config.label_column = "Emotion"
    assert read(tmp_path, config).table["label"].tolist() == ["sad"]
    columns["speaker"] = None
    assert read(tmp_path, config).table["speaker"].tolist() == [""]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": None}, r"lacks the column label; its columns are: audio, label; name yours with \+dataset.columns"),
        ({"speaker": "nobody"}, r"has no column 'nobody' \(dataset.columns.speaker\); its columns are: audio, label"),
        ({"label": "mood"}, r"has no column 'mood' \(dataset.columns.label\); its columns are: audio, label"),
        ({"lable": "label"}, "dataset.columns has 'lable', which is no column of ours; did you mean 'label'"),
    ],
)
def test_csv_names_a_missing_column(tmp_path: Path, columns: dict[str, str | None], message: str) -> None:
    (tmp_path / "my.csv").write_text("audio,label\na.wav,sad\n", encoding="utf-8")
    with pytest.raises(MeltSerError, match=message):
        read(tmp_path, replace(CONFIG, columns=columns))


@pytest.mark.parametrize("setting", ["dataset.label_column=Emotion", "+dataset.columns.label=emotion"])
def test_csv_columns_are_refused_for_a_release(setting: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=f"{setting.split('=')[0].lstrip('+').removesuffix('.label')} is for "):
        load_corpus(load_config("dataset=emodb", f"dataset.root={tmp_path}", setting).dataset)


def test_csv_without_table_or_root_is_a_setup_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"set dataset\.table="):
        read(tmp_path, replace(CONFIG, table=None))
    with pytest.raises(SetupError, match=r"no table at .*my\.csv"):
        read(tmp_path, CONFIG)
    with pytest.raises(SetupError, match=r"dataset\.root="):
        read(tmp_path / "nowhere", CONFIG)


def test_csv_table_may_be_outside_the_root(tmp_path: Path) -> None:
    placeholder(tmp_path / "clips" / "a.wav")
    table = tmp_path / "elsewhere.csv"
    table.write_text("audio,label\na.wav,sad\n", encoding="utf-8")
    assert len(read(tmp_path / "clips", replace(CONFIG, table=str(table))).table) == 1


def test_csv_calls_no_file_by_a_name_that_another_row_is_given(tmp_path: Path) -> None:
    """Whichever of the two rows comes first."""
    rows = ("a.wav,,sad\n", "b.wav,a,happy\n")
    for written in (rows, rows[::-1]):
        release = read_text(tmp_path, f"audio,utterance,label\n{''.join(written)}", "a.wav", "b.wav")
        assert dict(zip(release.table["audio"], release.table["utterance"], strict=True)) == {
            "a.wav": "a#2",
            "b.wav": "a",
        }


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_csv_finds_a_file_in_the_other_unicode_form(
    tmp_path: Path, forms: tuple[Literal["NFC", "NFD"], Literal["NFC", "NFD"]]
) -> None:
    """macOS writes a letter and its accent apart, and other systems tell the two forms from each other."""
    stored, other = (unicodedata.normalize(each, "Ärger/é.wav") for each in forms)
    release = read_text(tmp_path, f"audio,label\n{other},sad\n", stored)
    assert release.table["audio"].tolist() == [stored] and release.skipped == []


def test_csv_notes_entries_of_the_label_map_that_change_nothing(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        tone(tmp_path / f"{name}.wav", frequency=200 + number)
    (tmp_path / "my.csv").write_text("audio,label\na.wav,Joy\nb.wav,sad\n")
    config = replace(CONFIG, root=str(tmp_path), label_map={"joy": "excited", "sad": "sad"})
    corpus = load_corpus(config)
    assert corpus.table["emotion"].tolist() == ["happy", "sad"]
    assert corpus.notes == ["entries of dataset.label_map whose label no clip has: joy; labels without an entry: Joy"]
    assert load_corpus(replace(config, label_map={"Joy": "excited"})).notes == []


@pytest.mark.parametrize("name", ["demo", "demo_de"])
def test_csv_demo_corpora_map_to_the_vocabulary(name: str) -> None:
    config = load_dataset(name)
    assert config.bundled and config.synthetic and config.table == "table.csv"
    assert set(config.label_map.values()) == {"angry", "happy", "neutral", "sad", "fearful"} <= set(EMOTIONS)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@settings(max_examples=30)
@given(
    labels=st.lists(WORDS, min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
)
def test_csv_reads_any_label_in_any_dialect(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str], delimiter: str, end: str, mark: bool
) -> None:
    root = tmp_path_factory.mktemp("csv")
    rows = [("audio", "label"), *((f"{number}.wav", label) for number, label in enumerate(labels))]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(rows)
    content = text.getvalue().encode("utf-8-sig" if mark else "utf-8")
    table = read_text(root, content, *(audio for audio, _ in rows[1:])).table
    assert table["label"].tolist() == [unicodedata.normalize("NFC", label) for label in labels]
    identity: dict[str, str | None] = dict.fromkeys(table["label"])
    assert map_labels(table["label"], identity, "csv").isna().all()


@given(
    st.lists(st.sampled_from(["a", "b", ".", "..", "", "c.wav"]), min_size=1, max_size=7),
    st.sampled_from("/\\"),
    st.sampled_from(["", "/corpus/root/", "/corpus/", "file:///corpus/root/", "file:/"]),
)
def test_csv_path_never_leaves_the_root(parts: list[str], separator: str, beginning: str) -> None:
    root = Path("/corpus/root")
    audio = beginning + separator.join(parts)
    try:
        relative = RootFolder(root).relative(audio, "table, row 1")
    except InputError:
        assert beginning or ".." in audio or audio.startswith(("/", "\\"))
    else:
        assert not relative.startswith("/")
        assert Path(root / relative).resolve().is_relative_to(root)
