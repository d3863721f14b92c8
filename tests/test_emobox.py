"""EmoBox's lists, from a generated checkout in its format: who tests on whom, and what does not match."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from melt_ser.config import DatasetConfig
from melt_ser.corpora.splits import make_parts
from melt_ser.errors import InputError, SetupError
from test_splits import corpus


def checkout(
    root: Path, lists: dict[str, list[str]], fold: int = 1, name: str = "cremad", json_lines: bool = True
) -> None:
    """Fold lists as EmoBox writes them, now as JSON lines, earlier as one object."""
    folder = root / "data" / name / f"fold_{fold}"
    folder.mkdir(parents=True, exist_ok=True)
    for part, stems in lists.items():
        records = {
            f"{name}-{stem}": {
                "wav": f"downloads/{name}/AudioWAV/{stem}.wav",
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
def test_a_fold_without_speaker_overlap_runs_with_dev_from_train(tmp_path: Path, json_lines: bool) -> None:
    table = corpus(5)
    for fold, tested in ((1, "s0"), (2, "s1")):
        others = {f"s{number}" for number in range(5)} - {tested}
        checkout(tmp_path, {"train": stems(table, *others), "test": stems(table, tested)}, fold, json_lines=json_lines)
    first, second = make_parts(table, settings_for(tmp_path, fold="all"))
    assert (set(first.test["speaker"]), set(second.test["speaker"])) == ({"s0"}, {"s1"})
    assert first.dev["speaker"].nunique() == 1 and not set(first.dev["speaker"]) & set(first.train["speaker"])
    assert first.notes == ("Fold 1 of EmoBox: 0 of the 1 test speakers are in the training side too.",)


def test_a_list_of_dev_utterances_is_used(tmp_path: Path) -> None:
    table = corpus(4)
    lists = {"train": stems(table, "s0", "s1"), "valid": stems(table, "s2"), "test": stems(table, "s3")}
    checkout(tmp_path, lists)
    [part] = make_parts(table, settings_for(tmp_path))
    assert set(part.dev["speaker"]) == {"s2"}


def test_overlapping_speakers_are_refused_with_their_count_unless_allowed(tmp_path: Path) -> None:
    table = corpus(4)
    tested = [*stems(table, "s3"), "s0_0", "s1_0"]
    checkout(tmp_path, {"train": sorted(set(table["utterance"]) - set(tested)), "test": tested})
    with pytest.raises(InputError, match="Fold 1 of EmoBox of 'crema_d' has 2 of its 3 test speakers in training"):
        make_parts(table, settings_for(tmp_path))
    [part] = make_parts(table, settings_for(tmp_path, allow_speaker_overlap=True))
    assert part.notes == ("Fold 1 of EmoBox: 2 of the 3 test speakers are in the training side too.",)
    assert len(part.test) == 8


def test_what_does_not_match_is_counted(tmp_path: Path) -> None:
    table = corpus(4)
    listed = [stem.upper() for stem in stems(table, "s0", "s1", "s2")]  # another letter case is the same name
    checkout(tmp_path, {"train": [*listed[1:], "1001_DFA_ANG_XX"], "test": stems(table, "s3")})
    notes = make_parts(table, settings_for(tmp_path))[0].notes
    assert "1 of the 24 utterances in fold 1 of EmoBox are not among those of 'crema_d'" in notes[0]
    assert (
        "1 utterances of 'crema_d' are in no list of fold 1 of EmoBox and are left out of it (such as s0_0)" in notes[1]
    )


def test_mistakes_name_the_file_or_the_key(tmp_path: Path) -> None:
    table = corpus(4)
    with pytest.raises(SetupError, match="set dataset.emobox=<a checkout"):
        make_parts(table, DatasetConfig(name="x", reader="csv", folds="emobox"))
    with pytest.raises(SetupError, match="dataset.emobox is the top folder of an EmoBox checkout"):
        make_parts(table, settings_for(tmp_path))
    checkout(tmp_path, {"train": ["a"], "test": ["b"]}, name="creemad")
    with pytest.raises(SetupError, match="no folds of 'cremad'; did you mean 'creemad'?"):
        make_parts(table, settings_for(tmp_path))
    checkout(tmp_path, {"train": ["s0_0"], "test": ["s0_0"]})
    with pytest.raises(InputError, match="'s0_0' in both train and test"):
        make_parts(table, settings_for(tmp_path))
    checkout(tmp_path, {"train": ["other"], "test": ["s0_0"]})
    with pytest.raises(InputError, match="No utterance of 'crema_d' is in EmoBox's train list"):
        make_parts(table, settings_for(tmp_path))
    with pytest.raises(SetupError, match="dataset.fold is 1 to 1 or all"):
        make_parts(table, settings_for(tmp_path, fold=2))
    path = tmp_path / "data/cremad/fold_1/cremad_test_fold_1.jsonl"
    path.write_text("[]\n")
    with pytest.raises(InputError, match=r"cremad_test_fold_1\.jsonl is not a list of EmoBox"):
        make_parts(table, settings_for(tmp_path))
    path.unlink()
    with pytest.raises(SetupError, match=r"cremad_test_fold_1\.jsonl is missing"):
        make_parts(table, settings_for(tmp_path))
