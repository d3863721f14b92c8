"""MELT: GPT-4o's labels for MELD's recordings, and the same rows under MELD's labels."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from corpus_trees import (
    MELT_COLUMNS,
    meld_release,
    meld_row,
    meld_tree,
    melt_row,
    melt_tables,
    placeholder,
    write_rows,
)
from melt_ser.cli.compose import load_config, load_dataset
from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.labels import LabelSpace, map_labels
from melt_ser.corpora.load import read_release
from melt_ser.corpora.readers import meld, melt
from melt_ser.corpora.splits import make_fold_splits
from melt_ser.corpora.table import Release, validate

SPLITS = ("train", "test")
MELT, HUMAN, MELD = load_dataset("melt"), load_dataset("melt_human"), load_dataset("meld")
TRAIN = [meld_row(0, 0, "Mrs. Geller", "joy", "It’s me"), meld_row(0, 1)]
TEST = [meld_row(0, 0, "Joey", "fear"), meld_row(3, 2, "Ross", "anger")]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    meld_tree(tmp_path, {"train": TRAIN, "test": TEST}, placeholder)
    melt_tables(
        tmp_path,
        {
            "train": [melt_row([*TRAIN[0][:1], "It's me", *TRAIN[0][2:]], "surprise")],
            "test": [melt_row(TEST[0], "neutral"), melt_row(TEST[1], "frustration")],
        },
    )
    return tmp_path


def test_melt_names_rows_as_the_meld_reader_does(small: Path) -> None:
    release = melt.read(small, MELT)
    row = release.table.iloc[0]
    assert (row.utterance, row.source, row.session) == (
        "train_dia0_utt0",
        "meld/train/dia0_utt0",
        "train/dia0",
    )
    assert (row.speaker, row.text, row.label) == ("Mrs. Geller", "It's me", "surprise")
    assert release.table["label"].tolist() == ["surprise", "neutral", "frustration"]
    assert release.notes == ["1 clips of MELD's train and test folders are not in MELT"]


def test_melt_with_melds_labels_skips_rows_that_melts_labels_cannot_use(small: Path) -> None:
    release = melt.read(small, HUMAN)
    assert release.table["label"].tolist() == ["joy", "fear"]
    assert [item.utterance for item in release.skipped] == ["test_dia3_utt2"]
    assert "'frustration' is none of the seven" in release.skipped[0].reason
    usable = melt.read(small, MELT).table
    usable = usable[map_labels(usable["label"], MELT.label_map, "melt").notna()]
    assert usable["source"].tolist() == release.table["source"].tolist()


def test_melt_mistakes_name_the_key_the_file_and_the_row(small: Path) -> None:
    with pytest.raises(SetupError, match=r"dataset\.label_column is 'llm_labels': did you mean 'llm_label'"):
        melt.read(small, replace(MELT, label_column="llm_labels"))
    row = melt_row(TEST[0], "joy")
    write_rows(small / "meld_test.csv", MELT_COLUMNS, [melt_row(TEST[1], "joy"), ["dia9_utt9.wav", *row[1:]]])
    with pytest.raises(InputError, match=r"meld_test\.csv, row 2: filename dia9_utt9\.wav"):
        melt.read(small, MELT)
    (small / "meld_train.csv").unlink()
    with pytest.raises(SetupError, match=r"meld_train\.csv.*dataset\.root=.*meltdataset"):
        melt.read(small, MELT)


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Release]:
    root = meld_release(shared_data, tmp_path_factory.getbasetemp())
    return {"melt": melt.read(root, MELT), "human": melt.read(root, HUMAN), "meld": meld.read(root, MELD)}


def test_melt_uses_all_real_rows(real: dict[str, Release]) -> None:
    release = real["melt"]
    validate(release.table, "melt")
    assert release.skipped == []
    assert release.table["split"].value_counts().to_dict() == {"train": 7024, "test": 1794}
    emotions = map_labels(release.table["label"], MELT.label_map, "melt")
    assert emotions.isna().sum() == 3  # frustration twice, comfort once
    assert release.table.groupby("split")["speaker"].nunique().to_dict() == {"train": 42, "test": 30}


def test_melt_reads_every_real_row_as_in_the_annotation_file(real: dict[str, Release], shared_data: Path) -> None:
    tables = {name: real[name].table.set_index("source") for name in ("melt", "human")}
    outside = 0
    for split in ("train", "test"):
        with (shared_data / "melt" / f"meld_{split}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                source = f"meld/{split}/{row['filename'].removesuffix('.wav')}"
                found = tables["melt"].loc[source]
                assert (found["label"], found["split"], found["text"]) == (row["llm_label"], split, row["Utterance"])
                assert found["speaker"].lower() == row["Speaker"].lower()
                assert found["session"] == f"{split}/dia{row['Dialogue_ID']}"
                if source in tables["human"].index:
                    assert tables["human"].loc[source, "label"] == row["Emotion"]
                else:
                    outside += row["llm_label"] in ("frustration", "comfort")
    assert (len(tables["melt"]), len(tables["human"]), outside) == (7024 + 1794, 7024 + 1791, 3)


def test_melt_uses_the_same_rows_with_both_label_sources(real: dict[str, Release]) -> None:
    table = real["melt"].table
    usable = table[map_labels(table["label"], MELT.label_map, "melt").notna()]
    assert usable["source"].tolist() == real["human"].table["source"].tolist()
    assert len(real["human"].table) == 7024 + 1791


def test_melt_has_the_recordings_of_meld_in_every_real_row(real: dict[str, Release]) -> None:
    reference = real["meld"].table.set_index("source")
    human = real["human"].table.set_index("source")
    same = reference.loc[human.index]
    for column in ("utterance", "audio", "split", "session", "label"):
        assert (same[column] == human[column]).all(), column
    differing = human.index[same["speaker"] != human["speaker"]]
    assert differing.tolist() == ["meld/train/dia556_utt6"]  # Joey in MELD, Ross in MELT
    assert (same["text"] != human["text"]).sum() > 700  # so rows are joined by key


def test_melt_labels_agree_with_melds_as_published(real: dict[str, Release], shared_data: Path) -> None:
    table = real["melt"].table.set_index("source")
    meld_label = real["meld"].table.set_index("source")["label"].loc[table.index]
    agreement = (table["label"] == meld_label).groupby(table["split"]).mean()
    assert agreement["train"] == pytest.approx(0.536, abs=5e-4)  # 46.43 % changed
    assert agreement["test"] == pytest.approx(0.525, abs=1e-3)  # 47.55 % changed


@cache
def label_space(name: str) -> LabelSpace:
    return LabelSpace(name, load_config(f"labels={name}").labels.classes or {})


def parts_of(config: DatasetConfig, release: Release, labels: str, both: bool) -> pd.Series:
    """Return the part of each utterance that a run uses, as `train` cuts them."""
    table, space = release.table, label_space(labels)
    by_source = [
        space.classify(map_labels(table[column], config.label_map, config.name)) for column in ("label", "other_label")
    ]
    used = by_source[0].notna() & (by_source[1].notna() | (not both))
    usable = table.assign(**{"class": by_source[0], "content_hash": table["source"]})[used]
    [split] = make_fold_splits(usable, config, release.annotated)
    return split.assignment().set_index("utterance")["split"]


def test_every_label_source_cuts_the_same_dialogues_in_each_condition(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """On the released files: melt, melt_human and a label file, in the five conditions of experiment=melt_table."""
    root = meld_release(shared_data, tmp_path_factory.getbasetemp())
    own = pd.concat([pd.read_csv(root / f"meld_{split}.csv", dtype=str).assign(split=split) for split in SPLITS])
    own = own[own["Utterance_ID"].astype(int) % 3 > 0]  # the user has labelled two lines of three, all as they like
    own["llm_label"] = own["llm_label"].sample(frac=1.0, random_state=0).to_numpy()
    own.to_csv(tmp_path / "own.csv", index=False)
    configs = [replace(config, root=str(root)) for config in (MELT, HUMAN, MELT)]
    configs[2].label_file = str(tmp_path / "own.csv")
    sources = [(config, read_release(config)[1]) for config in configs]
    sizes = {}
    whole = parts_of(*sources[0], "seven", both=False)
    for labels, both in (("seven", False), ("six", False), ("six", True), ("four", False), ("four", True)):
        melt_parts, human_parts, own_parts = (parts_of(*source, labels, both) for source in sources)
        for parts in (melt_parts, human_parts, own_parts):
            common = parts.index.intersection(whole.index)
            assert len(common) >= len(parts) - 3 and parts[common].equals(whole[common])
        if both:
            assert melt_parts.equals(human_parts)
        sizes[labels + "_both" * both] = [
            tuple((parts == part).sum() for part in ("train", "dev")) for parts in (melt_parts, human_parts)
        ]
    assert sizes == {  # as conf/experiment/melt_table.yaml has them
        "seven": [(5617, 1407), (5617, 1407)],
        "six": [(4650, 1165), (5007, 1254)],
        "six_both": [(4444, 1103), (4444, 1103)],
        "four": [(3940, 984), (4669, 1169)],
        "four_both": [(3642, 902), (3642, 902)],
    }
