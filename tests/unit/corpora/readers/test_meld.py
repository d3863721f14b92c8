"""MELD: annotations and clips are joined on (split, dialogue, utterance); its known defects are noted."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from corpus_trees import MELD_COLUMNS, MELD_FOLDERS, meld_release, meld_row, meld_tree, placeholder, write_rows
from melt_ser.cli.compose import load_dataset
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.labels import map_labels
from melt_ser.corpora.readers.meld import DISTURBED, WRONGLY_CUT, read
from melt_ser.corpora.table import Release, validate

CONFIG = load_dataset("meld")
SMALL = {
    "train": [meld_row(0, 0, "Monica", "anger"), meld_row(0, 1, "Guy"), meld_row(7, 0)],
    "dev": [meld_row(0, 0, "Phoebe", "sadness")],
    "test": [meld_row(0, 0, "Joey", "fear")],
}
MIRROR = {"train": "train", "dev": "dev", "test": "test"}


def test_meld_numbers_restart_in_every_split(tmp_path: Path) -> None:
    meld_tree(tmp_path, SMALL, placeholder, suffix=".mp4")
    release = read(tmp_path, CONFIG)
    assert release.skipped == [] and release.notes == []
    table = release.table.set_index("utterance")
    assert table.loc[["train_dia0_utt0", "dev_dia0_utt0", "test_dia0_utt0"], "label"].tolist() == [
        "anger",
        "sadness",
        "fear",
    ]
    row = table.loc["train_dia0_utt0"]
    assert (row.source, row.audio) == ("meld/train/dia0_utt0", "train_splits/dia0_utt0.mp4")
    assert (row.split, row.session, row.speaker, row.gender) == ("train", "train/dia0", "Monica", "female")
    assert (row.text, row.language) == ("Hi!", "en")
    assert table.loc["train_dia0_utt1", "gender"] == ""  # only the gender of the main cast is known


@pytest.mark.parametrize(
    ("folders", "suffix", "tables"),
    [
        (MIRROR, ".flac", "."),
        (MIRROR, ".wav", "data/MELD"),
        (
            {"train": "train/train_splits", "dev": "dev/dev_splits_complete", "test": "test/test_splits"},
            ".mp4",
            ".",
        ),
        ({split: f"audio/{split}" for split in MIRROR}, ".WAV", "annotations"),
    ],
)
def test_meld_finds_the_release_and_its_mirrors(
    tmp_path: Path, folders: dict[str, str], suffix: str, tables: str
) -> None:
    meld_tree(tmp_path, SMALL, placeholder, folders, suffix, tables)
    release = read(tmp_path, CONFIG)
    assert release.skipped == []
    assert release.table["audio"].tolist()[-1] == f"{folders['test']}/dia0_utt0{suffix}"


def test_meld_ignores_the_letter_case_of_names(tmp_path: Path) -> None:
    meld_tree(tmp_path, SMALL, placeholder, {split: name.title() for split, name in MELD_FOLDERS.items()}, ".MP4")
    for path in tmp_path.rglob("*.MP4"):
        path.rename(path.with_name(path.name.replace("dia", "Dia").replace("utt", "Utt")))
    release = read(tmp_path, CONFIG)
    assert release.skipped == [] and len(release.table) == 5
    row = release.table.iloc[0]
    assert (row.audio, row.source) == ("Train_Splits/Dia0_Utt0.MP4", "meld/train/dia0_utt0")


def test_meld_lists_files_and_rows_that_do_not_match(tmp_path: Path) -> None:
    meld_tree(tmp_path, SMALL, placeholder, suffix=".mp4")
    folder = tmp_path / "train_splits"
    (folder / "dia7_utt0.mp4").unlink()
    for name in ("dia66_utt9.mp4", "dia0_utt0.wav", "intro.mp4", "._dia0_utt1.mp4"):
        placeholder(folder / name)
    release = read(tmp_path, CONFIG)
    assert release.table["audio"].tolist()[0] == "train_splits/dia0_utt0.wav"
    assert {(p.utterance, p.audio, p.reason) for p in release.skipped} == {
        ("train_dia7_utt0", "", "no audio file: train/dia7_utt0"),
        ("", "train_splits/dia66_utt9.mp4", "file without annotation"),
        ("", "train_splits/dia0_utt0.mp4", "a second file of a clip: dia0_utt0.wav is used"),
        ("", "train_splits/intro.mp4", "the name is not dialogue and utterance such as dia0_utt0"),
    }


def test_meld_uses_the_corrected_cut_of_a_test_clip(tmp_path: Path) -> None:
    meld_tree(tmp_path, SMALL, placeholder, suffix=".mp4")
    placeholder(tmp_path / "output_repeated_splits_test" / "final_videos_testdia0_utt0.mp4")
    release = read(tmp_path, CONFIG)
    row = release.table.set_index("utterance").loc["test_dia0_utt0"]
    assert row["audio"] == "output_repeated_splits_test/final_videos_testdia0_utt0.mp4"
    assert row["source"] == "meld/test/dia0_utt0"
    assert [item.audio for item in release.skipped] == ["output_repeated_splits_test/dia0_utt0.mp4"]
    assert release.notes == ["1 test clips are the release's corrected cuts (final_videos_test…)"]


def test_meld_mistakes_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"train_sent_emo\.csv.*dataset\.root="):
        read(tmp_path, CONFIG)
    meld_tree(tmp_path, SMALL, placeholder)
    (tmp_path / "train_sent_emo.csv").rename(tmp_path / "other.csv")
    write_rows(tmp_path / "train_sent_emo.csv", MELD_COLUMNS, [meld_row(0, 0)[:5] + ["x"] + meld_row(0, 0)[6:]])
    with pytest.raises(InputError, match=r"train_sent_emo\.csv, row 1: Dialogue_ID is 'x'"):
        read(tmp_path, CONFIG)
    write_rows(tmp_path / "train_sent_emo.csv", ["Utterance", "Emotion"], [])
    with pytest.raises(InputError, match=r"lacks the column Dialogue_ID, Utterance_ID, Speaker"):
        read(tmp_path, CONFIG)
    (tmp_path / "train_sent_emo.csv").unlink()
    for folder, emotion in (("a", "joy"), ("b", "fear")):
        write_rows(tmp_path / folder / "train_sent_emo.csv", MELD_COLUMNS, [meld_row(0, 0, "Ross", emotion)])
    with pytest.raises(InputError, match=r"a/train_sent_emo\.csv and .*b/train_sent_emo\.csv differ"):
        read(tmp_path, CONFIG)


def test_meld_annotations_without_clips_are_a_setup_error(tmp_path: Path) -> None:
    meld_tree(tmp_path, {}, placeholder)
    with pytest.raises(SetupError, match=r"train_splits.*dataset\.root=<folder of the release>"):
        read(tmp_path, CONFIG)


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Read the released annotations, with an empty file for each clip of the raw release."""
    return read(meld_release(shared_data, tmp_path_factory.getbasetemp()), CONFIG)


def test_meld_uses_or_lists_all_real_annotations(real: Release) -> None:
    validate(real.table, "meld")
    lost = {item.utterance.replace("_", "/", 1): item.reason for item in real.skipped if item.utterance}
    assert lost == {"dev/dia110_utt7": "no audio file: dev/dia110_utt7"}
    assert [item.audio for item in real.skipped if not item.utterance] == ["dev_splits_complete/dia66_utt9.mp4"]
    counts = real.table["split"].value_counts().to_dict()
    assert counts == dict(train=9989, dev=1109 - 1, test=2610)
    assert CONFIG.expected == dict(train=9989, dev=1109, test=2610)


def test_meld_reads_every_real_row_as_in_the_annotation_file(real: Release, shared_data: Path) -> None:
    table = real.table.set_index("source")
    read_rows = 0
    for split, folder in MELD_FOLDERS.items():
        with (shared_data / "meld" / f"{split}_sent_emo.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                clip = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
                if (split, clip) == ("dev", "dia110_utt7"):  # has no file
                    assert f"meld/{split}/{clip}" not in table.index
                    continue
                result = table.loc[f"meld/{split}/{clip}"]
                assert (result["audio"], result["split"]) == (f"{folder}/{clip}.mp4", split)
                assert (result["label"], result["speaker"]) == (row["Emotion"], row["Speaker"])
                assert (result["text"], result["session"]) == (row["Utterance"], f"{split}/dia{row['Dialogue_ID']}")
                read_rows += 1
    assert read_rows == len(table) == 13_707


def test_meld_has_the_published_labels_and_cast(real: Release) -> None:
    train = real.table[real.table["split"] == "train"]
    assert train["label"].value_counts().to_dict() == dict(
        neutral=4710, joy=1743, surprise=1205, anger=1109, sadness=683, disgust=271, fear=268
    )
    assert map_labels(real.table["label"], CONFIG.label_map, "meld").notna().all()
    assert real.table["session"].nunique() == 1432
    assert set(real.table.loc[real.table["gender"] != "", "speaker"]) == {
        "Chandler", "Joey", "Monica", "Phoebe", "Rachel", "Ross"
    }  # fmt: skip


def test_meld_uses_and_notes_clips_with_known_defects(real: Release) -> None:
    disturbed, mismatched, wrongly_cut = real.notes
    assert "disturbed audio" in disturbed and all(clip in disturbed for clip in DISTURBED)
    assert mismatched.startswith("16 clips") and "train/dia241_utt2" in mismatched
    assert {f"meld/{clip}" for clip in (*DISTURBED, *WRONGLY_CUT)} <= set(real.table["source"])
    assert all(clip in wrongly_cut for clip in WRONGLY_CUT)


def test_meld_uses_a_clip_without_annotated_length(real: Release) -> None:
    row = real.table.set_index("source").loc["meld/test/dia155_utt3"]  # annotated from 12:32.632 to 12:32.632
    assert row["text"] == "Oh my God." and row[["start", "end", "duration"]].isna().all()
