"""IEMOCAP: evaluation files give turns, speakers and sessions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from corpus_trees import iemocap_session, placeholder, write_text
from melt_ser.cli.compose import load_config
from melt_ser.config import DevGroup
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.labels import LabelSpace, map_labels
from melt_ser.corpora.readers.iemocap import read
from melt_ser.corpora.splits import make_fold_splits
from melt_ser.corpora.table import validate

SETTINGS = load_config("dataset=iemocap")
CONFIG = SETTINGS.dataset

# Turns of each session: those of the five emotions of the usual task, and all.
SESSIONS = {
    1: (dict(ang=229, hap=135, exc=143, neu=384, sad=194), 1819),
    2: (dict(ang=137, hap=117, exc=210, neu=362, sad=197), 1811),
    3: (dict(ang=240, hap=135, exc=151, neu=320, sad=305), 2136),
    4: (dict(ang=327, hap=65, exc=238, neu=258, sad=143), 2103),
    5: (dict(ang=170, hap=143, exc=299, neu=384, sad=245), 2170),
}


def test_iemocap_line_gives_a_turn_with_its_text(tmp_path: Path) -> None:
    iemocap_session(tmp_path, 1, ["neu", "xxx"], placeholder)
    row = read(tmp_path, CONFIG).table.iloc[0]
    assert (row.utterance, row.source) == ("Ses01F_impro00_F000", "iemocap/Ses01F_impro00_F000")
    assert row.audio == "Session1/sentences/wav/Ses01F_impro00/Ses01F_impro00_F000.wav"
    assert (row.session, row.label, row.text, row.language) == ("Session1", "neu", "Excuse me.", "en")


def test_iemocap_speaker_is_the_letter_of_the_last_part(tmp_path: Path) -> None:
    iemocap_session(tmp_path, 1, ["neu"] * 4, placeholder, turns=2)
    table = read(tmp_path, CONFIG).table.set_index("utterance")
    assert table["speaker"].to_dict() == {
        "Ses01F_impro00_F000": "Ses01F",
        "Ses01F_impro00_M001": "Ses01M",
        "Ses01M_impro01_F000": "Ses01F",
        "Ses01M_impro01_M001": "Ses01M",
    }
    assert table.loc["Ses01F_impro00_M001", "gender"] == "male"


def test_iemocap_finds_a_nested_release_folder(tmp_path: Path) -> None:
    iemocap_session(tmp_path / "IEMOCAP_full_release", 2, ["ang"], placeholder)
    release = read(tmp_path, CONFIG)
    assert release.table["audio"].str.startswith("IEMOCAP_full_release/Session2/").all()
    assert release.notes == ["1 of the five sessions are there"]


@pytest.mark.parametrize(("sessions", "twins"), [((1, 2, 3), (1, 2)), ((1, 2, 3), (1, 2, 3, 4, 5)), ((4,), (1, 5))])
def test_iemocap_twins_of_a_macos_archive_are_no_sessions(
    tmp_path: Path, sessions: tuple[int, ...], twins: tuple[int, ...]
) -> None:
    for session in sessions:
        iemocap_session(tmp_path, session, ["neu"], placeholder)
    for twin in twins:
        folder = tmp_path / "__MACOSX" / f"Session{twin}" / "dialog" / "EmoEvaluation"
        write_text(folder / f"._Ses0{twin}F_impro00.txt", "[no text]")
    release = read(tmp_path, CONFIG)
    assert len(release.table) == len(sessions) and release.skipped == []
    assert release.notes == [f"{len(sessions)} of the five sessions are there"]


def test_iemocap_session_without_evaluations_is_not_counted(tmp_path: Path) -> None:
    for session in (1, 2, 3, 4):
        iemocap_session(tmp_path, session, ["neu"], placeholder)
    (tmp_path / "Session5").mkdir()
    assert read(tmp_path, CONFIG).notes == ["4 of the five sessions are there"]


def test_iemocap_two_copies_side_by_side_are_named(tmp_path: Path) -> None:
    for copy in ("IEMOCAP", "IEMOCAP (1)"):
        iemocap_session(tmp_path / copy, 2, ["neu"], placeholder)
    with pytest.raises(
        InputError, match=r"Session2 is in two folders, .*/IEMOCAP/Session2 and .*/IEMOCAP \(1\)/Session2;"
    ):
        read(tmp_path, CONFIG)
    assert len(read(tmp_path / "IEMOCAP", CONFIG).table) == 1


def test_iemocap_link_to_the_same_copy_and_a_copy_without_evaluations_do_not_matter(tmp_path: Path) -> None:
    iemocap_session(tmp_path / "release", 2, ["neu"], placeholder)
    (tmp_path / "current").symlink_to(tmp_path / "release")
    (tmp_path / "audio only" / "Session2" / "sentences").mkdir(parents=True)
    release = read(tmp_path, CONFIG)
    assert len(release.table) == 1 and release.notes == ["1 of the five sessions are there"]


def test_iemocap_lists_files_and_lines_that_do_not_match(tmp_path: Path) -> None:
    iemocap_session(tmp_path, 1, ["neu", "sad", "ang"], placeholder)
    wavs = tmp_path / "Session1" / "sentences" / "wav" / "Ses01F_impro00"
    (wavs / "Ses01F_impro00_M001.wav").unlink()
    placeholder(wavs / "Ses01F_impro00_F009.wav")
    placeholder(wavs / "._Ses01F_impro00_F000.wav")
    evaluations = tmp_path / "Session1" / "dialog" / "EmoEvaluation"
    write_text(evaluations / "._Ses01F_impro00.txt", "[no text]")
    write_text(evaluations / "Ses01F_impro09.txt", "[0.0 - 1.0] Ses01F_impro09_F000 neu\n")
    release = read(tmp_path, CONFIG)
    assert release.table["label"].tolist() == ["neu", "ang"]
    assert [(item.reason, item.audio.split("/")[-1]) for item in release.skipped] == [
        ("no audio file", "Ses01F_impro00_M001.wav"),
        ("line not understood", "Ses01F_impro09.txt"),
        ("file without annotation", "Ses01F_impro00_F009.wav"),
    ]


def test_iemocap_uses_the_releases_own_file_of_a_turn_and_lists_the_others(tmp_path: Path) -> None:
    iemocap_session(tmp_path, 1, ["neu", "sad"], placeholder)
    wavs = tmp_path / "Session1" / "sentences" / "wav"
    twins = (
        "Ses01F_impro00/Ses01F_impro00_F000.flac",
        "Ses01F_impro00/Ses01F_impro00_F000.webm",
        "ALL/Ses01F_impro00_F000.wav",
    )
    for twin in twins:
        placeholder(wavs / twin)
    release = read(tmp_path, CONFIG)
    used = "Session1/sentences/wav/Ses01F_impro00/Ses01F_impro00_F000.wav"
    assert release.table["audio"].tolist()[0] == used and len(release.table) == 2
    assert {item.audio.split("wav/", 1)[1] for item in release.skipped} == set(twins)
    assert {item.reason for item in release.skipped} == {f"a second file of a clip: {used} is used"}


def test_iemocap_without_a_release_names_the_path_and_the_fix(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"Session1.*dataset\.root=.*request form"):
        read(tmp_path, CONFIG)


def test_iemocap_has_5531_turns_in_the_usual_task(tmp_path: Path) -> None:
    for number, (usual, total) in SESSIONS.items():
        others = ["fru", "xxx", "sur", "fea", "dis", "oth"] * total
        labels = [label for label, count in usual.items() for _ in range(count)]
        iemocap_session(tmp_path, number, labels + others[: total - len(labels)], placeholder)
    release = read(tmp_path, CONFIG)
    table = release.table
    validate(table, "iemocap")
    assert release.skipped == [] and len(table) == CONFIG.expected["all"] == 10039
    assert SETTINGS.labels.name == "four" and SETTINGS.labels.classes is not None
    classes = LabelSpace("four", SETTINGS.labels.classes).classify(
        map_labels(table["label"], CONFIG.label_map, "iemocap")
    )
    assert classes.value_counts().to_dict() == dict(angry=1103, happy=1636, neutral=1708, sad=1084)
    by_session = classes.notna().groupby(table["session"]).sum()
    assert by_session.tolist() == [1085, 1023, 1151, 1031, 1241]
    assert table.groupby("session")["speaker"].nunique().tolist() == [2] * 5

    usable = table.assign(**{"class": classes, "content_hash": table["source"]})[classes.notna()]
    for dev_group, train_speakers in ((None, 8), (DevGroup.session, 6), (DevGroup.source, 8)):
        config = replace(CONFIG, fold="all", dev_group=dev_group)
        splits = make_fold_splits(usable, config, release.annotated)
        for split in splits:
            assert split.train["speaker"].nunique() == train_speakers
            assert not set(split.test["session"]) & {*split.train["session"], *split.dev["session"]}
            assert 0.15 < len(split.dev) / (len(split.train) + len(split.dev)) < (0.32 if train_speakers == 6 else 0.25)
    [split] = make_fold_splits(usable, CONFIG, release.annotated)
    dialogues = [set(part["utterance"].str.rpartition("_")[0]) for part in (split.train, split.dev)]
    assert not dialogues[0] & dialogues[1] and set(split.dev["speaker"]) == set(split.train["speaker"])
    assert split.notes == (
        "'iemocap' leaves 4 sessions to train on, and dev is about 20 % of train, whole dialogues "
        "(dataset.dev_group=dialogue): the model is chosen on speakers that were trained on.",
    )
