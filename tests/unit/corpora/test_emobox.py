"""EmoBox's lists from a generated checkout in its format: the parts of each fold, and names that do not match."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from corpus_trees import placeholder
from melt_ser.cli.compose import load_dataset
from melt_ser.config import DatasetConfig, DevGroup
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.emobox import emobox_parts
from melt_ser.corpora.splits import make_fold_splits
from melt_ser.corpora.table import Release
from tables import corpus


def checkout(
    root: Path, lists: dict[str, list[str]], fold: int = 1, name: str = "cremad", json_lines: bool = True
) -> None:
    """Write fold lists in EmoBox's two formats: JSON lines today, one JSON object in older lists."""
    folder = root / "data" / name / f"fold_{fold}"
    folder.mkdir(parents=True, exist_ok=True)
    for part, stems in lists.items():
        records = {
            f"{name}-{stem}": {
                "wav": f"downloads/{name}/{stem}" if "/" in stem else f"downloads/{name}/AudioWAV/{stem}.wav",
                "length": 2.3,
                "emo": "ANG",
                "channel": 1,
            }
            for stem in stems
        }
        if json_lines:
            path, lines = folder / f"{name}_{part}_fold_{fold}.jsonl", [{"key": key} | r for key, r in records.items()]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        else:
            (folder / f"{name}_{part}_fold_{fold}.json").write_text(json.dumps(records, indent=4), encoding="utf-8")


def settings_for(root: Path, **changes: object) -> DatasetConfig:
    return DatasetConfig(name="crema_d", reader="csv", folds="emobox", emobox=str(root), **changes)  # type: ignore[arg-type]


def stems(table: pd.DataFrame, *speakers: str) -> list[str]:
    return table.loc[table["speaker"].isin(speakers), "utterance"].tolist()


@pytest.mark.parametrize("json_lines", [True, False])
def test_an_emobox_fold_without_speaker_overlap_takes_dev_from_train(tmp_path: Path, json_lines: bool) -> None:
    table = corpus(7)
    for fold, tested in ((1, "s0"), (2, "s1")):
        others = {f"s{number}" for number in range(7)} - {tested}
        checkout(tmp_path, {"train": stems(table, *others), "test": stems(table, tested)}, fold, json_lines=json_lines)
    first, second = make_fold_splits(table, settings_for(tmp_path, fold="all"))
    assert (set(first.test["speaker"]), set(second.test["speaker"])) == ({"s0"}, {"s1"})
    assert first.dev["speaker"].nunique() == 1 and not set(first.dev["speaker"]) & set(first.train["speaker"])
    assert first.notes == ("EmoBox fold 1 of 'crema_d': 0 of the 1 test speakers are in train or dev too.",)


def test_an_emobox_list_of_dev_utterances_is_used(tmp_path: Path) -> None:
    table = corpus(4)
    lists = {"train": stems(table, "s0", "s1"), "valid": stems(table, "s2"), "test": stems(table, "s3")}
    checkout(tmp_path, lists)
    [split] = make_fold_splits(table, settings_for(tmp_path))
    assert set(split.dev["speaker"]) == {"s2"}


def test_an_emobox_fold_with_overlapping_speakers_is_refused_with_their_count_unless_allowed(tmp_path: Path) -> None:
    table = corpus(4)
    tested = [*stems(table, "s3"), "s0_0", "s1_0"]
    checkout(tmp_path, {"train": sorted(set(table["utterance"]) - set(tested)), "test": tested})
    with pytest.raises(InputError, match="EmoBox fold 1 of 'crema_d' has 2 of its 3 test speakers in train or dev too"):
        make_fold_splits(table, settings_for(tmp_path))
    [split] = make_fold_splits(table, settings_for(tmp_path, allow_speaker_overlap=True, dev_group=DevGroup.speaker))
    assert split.notes == ("EmoBox fold 1 of 'crema_d': 2 of the 3 test speakers are in train or dev too.",)
    assert len(split.test) == 8


def test_emobox_names_that_do_not_match_are_counted(tmp_path: Path) -> None:
    table = corpus(4)
    listed = [stem.upper() for stem in stems(table, "s0", "s1", "s2")]  # letter case does not matter
    checkout(tmp_path, {"train": [*listed[1:], "1001_DFA_ANG_XX"], "test": stems(table, "s3")})
    notes = make_fold_splits(table, settings_for(tmp_path))[0].notes
    assert "1 of the 24 utterances in fold 1 of EmoBox are not among those of 'crema_d'" in notes[0]
    assert "'crema_d' leaves out 1 utterance that no list of fold 1 of EmoBox names (such as s0_0)" in notes[1]


def release_of(root: Path, name: str, paths: list[str]) -> pd.DataFrame:
    """Return the table that the corpus' reader makes of empty files, with a class."""
    for path in paths:
        placeholder(root / path)
    release: Release = importlib.import_module(f"melt_ser.corpora.readers.{name}").read(root, load_dataset(name))
    return release.table.assign(**{"class": release.table["label"]})


def test_an_emobox_path_in_other_folders_is_matched_by_the_naming_of_the_reader(tmp_path: Path) -> None:
    """EmoBox has SAVEE flat, as JE_n23; the release has one folder a speaker, with the same stems in each."""
    speakers, clips = ("DC", "JE", "JK", "KL"), ("a01", "n23", "su05")
    table = release_of(tmp_path / "savee", "savee", [f"AudioData/{s}/{clip}.wav" for s in speakers for clip in clips])
    flat = {speaker: [f"{speaker}_{clip}" for clip in clips] for speaker in speakers}
    lists = {"train": [*flat["DC"], *flat["JK"], *flat["KL"]], "test": flat["JE"]}
    checkout(tmp_path, lists, name="savee")
    config = replace(load_dataset("savee"), folds="emobox", emobox=str(tmp_path))
    [split] = make_fold_splits(table, config)
    assert split.test["audio"].tolist() == [f"AudioData/JE/{clip}.wav" for clip in clips]
    assert split.notes[-1] == "EmoBox fold 1 of 'savee': 0 of the 1 test speakers are in train or dev too."


def test_emobox_lists_tell_apart_the_names_that_two_subjects_of_enterface_share(tmp_path: Path) -> None:
    """Subject 11's files are called s12_…; EmoBox lists them and leaves subject 12 out."""
    said = {"an": "anger", "di": "disgust", "fe": "fear"}
    paths = [
        f"subject {subject}/{folder}/sentence 1/s{12 if subject == 11 else subject}_{code}_1.avi"
        for subject in (9, 10, 11, 12)
        for code, folder in said.items()
    ]
    table = release_of(tmp_path / "enterface", "enterface", paths)
    checkout(tmp_path, {"train": paths[:6], "test": paths[6:9]}, name="enterface")
    config = replace(load_dataset("enterface"), folds="emobox", emobox=str(tmp_path))
    parts, notes = emobox_parts(table, config, 1)
    assert table.loc[parts == "test", "speaker"].tolist() == ["11"] * 3
    assert table.loc[parts == "", "speaker"].tolist() == ["12"] * 3
    assert notes == ("'enterface' leaves out 3 utterances that no list of fold 1 of EmoBox names (such as s12_an_1).",)


def test_an_emobox_name_that_fits_several_files_is_refused_with_the_count(tmp_path: Path) -> None:
    table = corpus(4)
    checkout(tmp_path, {"train": stems(table, "s0", "s1", "s2"), "test": stems(table, "s3")})
    table.loc[:1, "audio"] = ["a/s3_0.wav", "b/s3_1.flac"]
    with pytest.raises(InputError, match="2 utterances of EmoBox's fold 1 each fit several files .*'s3_0', 2 files"):
        make_fold_splits(table, settings_for(tmp_path))
    table.loc[:1, "audio"] = "s3_0.wav"  # segments of one file fit one file
    assert len(make_fold_splits(table, settings_for(tmp_path, allow_speaker_overlap=True))[0].test) == 8


def test_emobox_mistakes_name_the_file_or_the_key(tmp_path: Path) -> None:
    table = corpus(4)
    with pytest.raises(SetupError, match="set dataset.emobox=<a checkout"):
        make_fold_splits(table, DatasetConfig(name="x", reader="csv", folds="emobox"))
    with pytest.raises(SetupError, match="set dataset.emobox to the top folder of an EmoBox checkout"):
        make_fold_splits(table, settings_for(tmp_path))
    checkout(tmp_path, {"train": ["a"], "test": ["b"]}, name="creemad")
    with pytest.raises(SetupError, match="no folds of 'cremad'; did you mean 'creemad'?"):
        make_fold_splits(table, settings_for(tmp_path))
    checkout(tmp_path, {"train": ["s0_0"], "test": ["s0_0"]})
    with pytest.raises(InputError, match="have 1 utterance in two parts .*'s0_0' in both train and test"):
        make_fold_splits(table, settings_for(tmp_path))
    checkout(tmp_path, {"train": ["other"], "test": ["s0_0"]})
    with pytest.raises(InputError, match="No utterance of 'crema_d' is in EmoBox's train list"):
        make_fold_splits(table, settings_for(tmp_path))
    with pytest.raises(SetupError, match="dataset.fold is 1 to 1 or all"):
        make_fold_splits(table, settings_for(tmp_path, fold=2))
    path = tmp_path / "data/cremad/fold_1/cremad_test_fold_1.jsonl"
    path.write_text("[]\n")
    with pytest.raises(InputError, match=r"cremad_test_fold_1\.jsonl is not a list of EmoBox"):
        make_fold_splits(table, settings_for(tmp_path))
    path.unlink()
    with pytest.raises(SetupError, match=r"cremad_test_fold_1\.jsonl is missing"):
        make_fold_splits(table, settings_for(tmp_path))
