"""Corpora with labels in a table next to the clips: MSP-Podcast, EMNS, Emozionalmente and nEMO."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from corpus_trees import placeholder, write_text
from melt_ser.cli.compose import load_dataset
from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.fold_split import group_warnings
from melt_ser.corpora.labels import map_labels
from melt_ser.corpora.readers import emns, emozionalmente, msp_podcast, nemo
from melt_ser.corpora.readers.annotations import read_records
from melt_ser.corpora.splits import make_fold_splits
from melt_ser.corpora.table import Release, validate

READERS = {"msp_podcast": msp_podcast, "emns": emns, "emozionalmente": emozionalmente, "nemo": nemo}


def table(path: Path, lines: Iterable[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))


def msp_tree(root: Path, rows: Iterable[tuple[str, str, str, str, str]], folder: str = "Audios") -> None:
    """Write a release from 1.10 on, from rows of name, label, speaker, gender and set."""
    lines = ["FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"]
    for name, label, speaker, gender, split in rows:
        lines.append(f"{name}.wav,{label},4.2,3.8,4.4,{speaker},{gender},{split}")
        placeholder(root / folder / f"{name}.wav")
    table(root / "Labels" / "labels_consensus.csv", lines)


def msp_every_label(root: Path) -> None:
    msp_tree(
        root,
        [
            (f"MSP-PODCAST_{number:04}_0001", label, str(number), "Female", "Train")
            for number, label in enumerate(load_dataset("msp_podcast").label_map)
        ],
    )


def emns_tree(root: Path, folder: str = "cleaned_webm", suffix: str = ".webm") -> None:
    """Write a clip for each label; one text has quotes, as in the storytelling."""
    lines = ["id|utterance|description|emotion|date_created|status|gender|age|level|audio_recording|user"]
    for number, label in enumerate(load_dataset("emns").label_map):
        name = f"recorded_audio_{number}XyZ"
        text = '"Run!", she cried.' if number == 0 else "It, then, was over."
        lines.append(f"{number}|{text}|calm|{label}|2022-01-01|Complete|Female|20s|{number}|wavs/{name}.webm|3")
        placeholder(root / folder / f"{name}{suffix}")
    table(root / "metadata.csv", lines)


def emozionalmente_tree(root: Path, splits: tuple[str, ...] = ()) -> None:
    lines = ["file_name,sentence,sentence_language,actor,emotion_expressed" + (",split" if splits else "")]
    for number, label in enumerate(load_dataset("emozionalmente").label_map):
        split = f",{splits[number % len(splits)]}" if splits else ""
        lines.append(f"161495163153{number}.wav,È andato a scuola,italian,actor{number % 3},{label}{split}")
        placeholder(root / "audio" / f"161495163153{number}.wav")
    table(root / "metadata" / "samples.csv", lines)
    users = ["actor0,male,30,italian", "actor1,female,30,italian", "actor2,other,30,italian"]
    table(root / "metadata" / "users.csv", ["username,gender,age,mother_tongue", *users])


def nemo_tree(root: Path) -> None:
    """Write a clip for each label; blanks precede the speaker, as in the release."""
    lines = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    for number, label in enumerate(load_dataset("nemo").label_map):
        name = f"{('WR0', 'EB0')[number % 2]}_{label}_{number}.wav"
        text = "„Ród smoka” to serial.\t„ród smoka” to serial"
        lines.append(f"{name}\t{label}\t{text}\t        {name[:3]}\t{('male', 'female')[number % 2]}\t23")
        placeholder(root / "samples" / name)
    table(root / "data.tsv", lines)


TREES = {"msp_podcast": msp_every_label, "emns": emns_tree, "emozionalmente": emozionalmente_tree, "nemo": nemo_tree}


def read(name: str, root: Path) -> tuple[Release, DatasetConfig]:
    config = load_dataset(name)
    return READERS[name].read(root, config), config  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", READERS)
def test_a_table_reader_reads_every_label_of_the_map(name: str, tmp_path: Path) -> None:
    TREES[name](tmp_path)
    release, config = read(name, tmp_path)
    validate(release.table, name)
    assert release.skipped == []
    assert sorted(release.table["label"]) == sorted(config.label_map)
    map_labels(release.table["label"], config.label_map, name)
    assert set(release.table["language"]) == {config.language}
    assert release.table["source"].str.startswith(f"{name}/").all()


@pytest.mark.parametrize("name", READERS)
def test_a_table_reader_finds_a_release_within_a_folder_and_lists_unclear_clips(name: str, tmp_path: Path) -> None:
    """The release is one folder deeper, with a clip in two formats, a clip without a row, and a row without a clip."""
    TREES[name](tmp_path / "release")
    clips = sorted(path for path in tmp_path.rglob("*") if path.suffix in (".wav", ".webm"))
    placeholder(clips[0].with_suffix(".flac"))
    placeholder(clips[0].with_name("unknown.wav"))
    clips[1].unlink()
    release, config = read(name, tmp_path)
    assert len(release.table) == len(config.label_map) - 1
    assert sorted(item.reason.split(":")[0] for item in release.skipped) == [
        "a second file of a clip",
        "file without annotation",
        "no audio file",
    ]


def test_msp_podcast_reads_speaker_podcast_and_set(tmp_path: Path) -> None:
    msp_tree(
        tmp_path,
        [
            ("MSP-PODCAST_0001_0008", "N", "30", "Male", "Train"),
            ("MSP-PODCAST_0002_0033_0001", "A", "Unknown", "Unknown", "Development"),
            ("MSP-PODCAST_0003_0001", "H", "41", "Female", "Test1"),
            ("MSP-PODCAST_0004_0001", "H", "42", "Female", "Test2"),
        ],
    )
    release, _ = read("msp_podcast", tmp_path)
    columns = ["utterance", "split", "speaker", "session", "gender"]
    assert release.table[columns].to_numpy().tolist() == [
        ["MSP-PODCAST_0001_0008", "train", "30", "MSP-PODCAST_0001", "male"],
        ["MSP-PODCAST_0002_0033_0001", "dev", "", "MSP-PODCAST_0002", ""],
        ["MSP-PODCAST_0003_0001", "test", "41", "MSP-PODCAST_0003", "female"],
    ]
    [item] = release.skipped
    assert (item.utterance, item.audio) == ("MSP-PODCAST_0004_0001", "Audios/MSP-PODCAST_0004_0001.wav")
    assert item.reason == "in the set Test2, which is not used: row 4"


def test_msp_podcast_runs_its_official_split_and_counts_the_speaker_that_dev_and_test_share(tmp_path: Path) -> None:
    """A generated tree with the fact of release 2.0: Development and Test1 share one speaker."""
    speakers = {"Train": ("1", "2", "Unknown"), "Development": ("3", "4"), "Test1": ("4", "5", "6")}
    msp_tree(
        tmp_path,
        [
            (f"MSP-PODCAST_{speaker:0>4}_{number:04}", "AHS"[number % 3], speaker, "Female", part)
            for part, names in speakers.items()
            for speaker in names
            for number in range(3 * (part == "Test1"), 3 + 3 * (part == "Test1"))
        ],
    )
    release, config = read("msp_podcast", tmp_path)
    table = release.table.assign(**{"class": release.table["label"]})
    [split] = make_fold_splits(table, config)
    assert split.notes == ("The split of 'msp_podcast': 1 of the 3 test speakers is in dev too.",)
    refused = "The split of 'msp_podcast' has 1 of its 3 test speakers in dev too"
    with pytest.raises(InputError, match=refused):
        make_fold_splits(table, replace(config, allow_speaker_overlap=False))


def test_msp_podcast_without_its_sets_is_not_split(tmp_path: Path) -> None:
    msp_tree(tmp_path, [(f"MSP-PODCAST_000{n}_0001", "AS"[n % 2], str(n), "Female", "") for n in range(8)])
    release, config = read("msp_podcast", tmp_path)
    with pytest.raises(SetupError, match=r"Split_Set of Labels/labels_consensus\.csv does not give it.*=speaker_folds"):
        make_fold_splits(release.table.assign(**{"class": release.table["label"]}), config)


def test_msp_podcast_reads_the_names_of_older_releases(tmp_path: Path) -> None:
    msp_tree(tmp_path, [("MSP-PODCAST_0001_0008", "S", "7", "Female", "Validation")], folder="Audio")
    assert read("msp_podcast", tmp_path)[0].table["split"].tolist() == ["dev"]


def test_emns_has_one_speaker_and_warns_of_it(tmp_path: Path) -> None:
    emns_tree(tmp_path)
    emns_tree(tmp_path, "raw_webm", ".wav")
    release, config = read("emns", tmp_path)
    first = release.table.iloc[0]
    assert (first.speaker, first.gender, first.intensity) == ("emns", "female", "0")
    assert first.text == "Run!, she cried."  # the quotes belong to the CSV, for pandas too
    assert release.table["audio"].str.startswith("cleaned_webm/").all()
    assert len(release.skipped) == len(release.table)  # the raw twins
    rows = release.table.loc[release.table.index.repeat(4)].reset_index(drop=True)
    for column in ("utterance", "source", "audio"):
        rows[column] += rows.index.astype(str)
    rows["class"] = rows["label"]
    [part] = make_fold_splits(rows, config)
    assert len(part.train) + len(part.dev) + len(part.test) == len(rows)
    assert "has 1 speaker" in group_warnings(rows, config)[0]


def test_emozionalmente_uses_the_official_split_if_the_file_has_it(tmp_path: Path) -> None:
    emozionalmente_tree(tmp_path / "old")
    emozionalmente_tree(tmp_path / "new", ("train", "validation", "test"))
    old, new = (read("emozionalmente", tmp_path / name)[0] for name in ("old", "new"))
    assert set(old.table["split"]) == {""} and "samples.csv has no split column" in old.notes[0]
    config = load_dataset("emozionalmente")
    sentence = r"no official split here: the column split of metadata/samples\.csv .*dataset\.protocol=speaker_folds"
    with pytest.raises(SetupError, match=sentence):
        make_fold_splits(old.table.assign(**{"class": old.table["label"]}), config)
    assert set(new.table["split"]) == {"train", "dev", "test"} and new.notes == []
    assert old.table[["speaker", "gender"]].to_numpy().tolist()[:3] == [
        ["actor0", "male"],
        ["actor1", "female"],
        ["actor2", ""],
    ]
    emozionalmente_tree(tmp_path / "odd", ("fold1",))
    with pytest.raises(InputError, match=r"samples\.csv: the split of 1614951631530 is 'fold1'; it must be train"):
        read("emozionalmente", tmp_path / "odd")


def test_nemo_reads_speaker_gender_and_text(tmp_path: Path) -> None:
    nemo_tree(tmp_path)
    row = read("nemo", tmp_path)[0].table.iloc[0]
    assert (row.utterance, row.speaker, row.gender) == ("WR0_anger_0", "WR0", "male")
    assert row.text == "„Ród smoka” to serial."


@pytest.mark.parametrize("name", READERS)
def test_a_table_reader_names_the_missing_table_and_the_fix(name: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=rf"Corpus '{name}' is not at .*\.[ct]sv: set dataset\.root="):
        read(name, tmp_path)


def test_a_table_reader_names_a_missing_column(tmp_path: Path) -> None:
    table(tmp_path / "data.tsv", ["file_id\temotion\tspeaker_id\tgender"])
    with pytest.raises(InputError, match=r"data\.tsv lacks the column raw_text; its columns are: file_id, emotion"):
        read("nemo", tmp_path)


def test_read_records_accepts_quotes_inside_a_value_unless_strict(tmp_path: Path) -> None:
    table(tmp_path / "t.csv", ["a,b", '"Yes" she said,2'])
    assert read_records(tmp_path / "t.csv", ("a",))[1] == [{"a": "Yes she said", "b": "2"}]
    with pytest.raises(InputError, match=r"t\.csv, line 2: .*check the quotes"):
        read_records(tmp_path / "t.csv", ("a",), strict=True)
