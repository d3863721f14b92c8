"""URDU: a name gives speaker, gender and emotion, and must agree with its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus_trees import placeholder, urdu_tree
from melt_ser.cli.compose import load_dataset
from melt_ser.core.errors import SetupError
from melt_ser.corpora.labels import map_labels
from melt_ser.corpora.readers.urdu import read
from melt_ser.corpora.table import validate

CONFIG = load_dataset("urdu")


def test_urdu_name_gives_speaker_gender_and_emotion(tmp_path: Path) -> None:
    placeholder(tmp_path / "Sad" / "SF11_F3_S042.wav")
    row = read(tmp_path, CONFIG).table.iloc[0]
    assert (row.utterance, row.source) == ("SF11_F3_S042", "urdu/SF11_F3_S042")
    assert (row.audio, row.language) == ("Sad/SF11_F3_S042.wav", "ur")
    assert (row.speaker, row.gender, row.label) == ("SF11", "female", "S")


def test_urdu_copies_without_folders_are_read(tmp_path: Path) -> None:
    placeholder(tmp_path / "SM1_F10_A010.wav")
    assert read(tmp_path, CONFIG).table["audio"].tolist() == ["SM1_F10_A010.wav"]


def test_urdu_clip_is_skipped_if_folder_and_name_disagree(tmp_path: Path) -> None:
    urdu_tree(tmp_path, placeholder, speakers=["SM1"])
    placeholder(tmp_path / "Happy" / "SM2_F01_A002.wav")
    release = read(tmp_path, CONFIG)
    assert len(release.table) == 4
    assert [(p.utterance, p.reason) for p in release.skipped] == [
        ("SM2_F01_A002", "folder and name disagree: the folder says Happy, the letter of the name A")
    ]


def test_urdu_lists_repeated_and_unknown_names(tmp_path: Path) -> None:
    for path in ("Angry/SM1_F1_A1.wav", "SM1_F1_A1.wav", "Angry/laughter.wav"):
        placeholder(tmp_path / path)
    release = read(tmp_path, CONFIG)
    assert release.table["audio"].tolist() == ["Angry/SM1_F1_A1.wav"]
    assert {item.audio for item in release.skipped} == {"SM1_F1_A1.wav", "Angry/laughter.wav"}


def test_urdu_without_a_release_names_the_path_and_the_fix(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"Angry.*dataset\.root=.*URDU-Dataset"):
        read(tmp_path, CONFIG)


def test_urdu_release_has_the_published_counts(shared_data: Path) -> None:
    release = read(shared_data / "urdu", CONFIG)
    table = release.table
    validate(table, "urdu")
    assert release.skipped == [] and len(table) == CONFIG.expected["all"] == 400
    assert map_labels(table["label"], CONFIG.label_map, "urdu").value_counts().to_dict() == dict(
        angry=100, happy=100, neutral=100, sad=100
    )
    speakers = table["speaker"].value_counts()
    assert len(speakers) == 29 and speakers["SM5"] == 80
    assert table.groupby("gender")["speaker"].nunique().to_dict() == {"female": 11, "male": 18}
