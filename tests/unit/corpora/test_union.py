"""A union of corpora: names do not clash, no test part is trained on, and every corpus weighs the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from corpus_trees import emodb_tree, meld_release, meld_row, meld_tree, melt_row, melt_tables, tone
from melt_ser.cli.compose import compose, load_config, load_dataset
from melt_ser.config import Config, DatasetConfig, Group
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.fold_split import FoldSplit
from melt_ser.corpora.labels import LabelSpace, map_labels
from melt_ser.corpora.load import load_corpus
from melt_ser.corpora.readers import melt
from melt_ser.corpora.splits import make_fold_splits
from melt_ser.runs.identity import identity
from melt_ser.runs.run import run
from melt_ser.training.optimisation import cell_weights
from small_runs import SMALL
from tables import corpus


def split_of(corpus: Corpus, config: Config) -> FoldSplit:
    usable, _ = corpus.usable(LabelSpace.native(corpus.table["emotion"]))
    [split] = make_fold_splits(usable, config.dataset)
    return split


def test_members_of_a_union_keep_their_own_split_or_give_all_rows_to_train_and_dev(tmp_path: Path) -> None:
    emodb_tree(tmp_path, tone)
    config = load_config("dataset=union", "dataset.members=[emodb,demo_de]", f"+dataset.roots.emodb={tmp_path}")
    corpus = load_corpus(config.dataset)
    alone = {name: load_corpus(member) for name, member in config.dataset.member_settings.items()}
    assert len(corpus.table) == sum(len(member.table) for member in alone.values())
    split = split_of(corpus, config)
    assert set(split.test["corpus"]) == {"demo_de"}
    tested = alone["demo_de"].table.query("split == 'test'")
    assert sorted(split.test["utterance"]) == sorted("demo_de/" + tested["utterance"])
    of_emodb = {name: table[table["corpus"] == "emodb"] for name, table in (("train", split.train), ("dev", split.dev))}
    assert len(of_emodb["train"]) + len(of_emodb["dev"]) == len(alone["emodb"].table)
    assert len(of_emodb["dev"]) and not set(of_emodb["train"]["speaker"]) & set(of_emodb["dev"]["speaker"])
    assert all((corpus.root / audio).is_file() for audio in corpus.table["audio"])


def test_a_union_says_which_roots_and_test_corpora_it_needs(tmp_path: Path) -> None:
    settings = ("dataset=union", "dataset.members=[emodb,demo_de]", f"out={tmp_path / 'runs'}")
    with pytest.raises(SetupError, match=r"dataset.root is the folder of one corpus; .*\+dataset.roots.\w+="):
        load_corpus(load_config(*settings, f"dataset.root={tmp_path}").dataset)
    with pytest.raises(SetupError, match=r"\+dataset.roots.emodb=<folder> for one of a union"):
        load_corpus(load_config(*settings, f"+dataset.roots.emodb={tmp_path / 'nowhere'}").dataset)
    emodb_tree(tmp_path, tone)
    alone = ("dataset.members=[emodb]", f"+dataset.roots.emodb={tmp_path}", "device=cpu")
    with pytest.raises(SetupError, match=r"No member of the union has a test part; .*eval.corpora="):
        run(compose(["dataset=union", *alone, f"out={tmp_path / 'runs'}"]))


def test_names_in_a_union_do_not_clash_and_shared_recordings_are_refused(tmp_path: Path) -> None:
    rows = {"train": [meld_row(0, 0), meld_row(0, 1)], "dev": [meld_row(0, 0)], "test": [meld_row(0, 0)]}
    meld_tree(tmp_path, rows, tone)
    melt_tables(tmp_path, {split: [melt_row(row, "joy") for row in table] for split, table in rows.items()})
    roots = [f"+dataset.roots.{name}={tmp_path}" for name in ("melt", "meld")]
    with pytest.raises(InputError, match="'meld' and 'melt' share 3 recordings"):
        load_corpus(load_config("dataset=union", "dataset.members=[melt,meld]", *roots).dataset)
    table = load_corpus(load_config("dataset=union", "dataset.members=[demo,melt]", roots[0]).dataset).table
    assert table["utterance"].is_unique
    of_melt = table[table["corpus"] == "melt"].iloc[0]
    assert of_melt["source"] == "meld/train/dia0_utt0", "as in MELD, so that a test on MELD knows it"
    assert (of_melt["speaker"], of_melt["session"]) == ("meld/Ross", "meld/train/dia0")


def member_table(name: str, sharing: Sequence[str], release: str = "") -> pd.DataFrame:
    """Return a member's table of twelve speakers with its own split; the parts in `sharing` have speaker s0 too."""
    table = corpus(12, 3).assign(split=["train"] * 12 + ["dev"] * 12 + ["test"] * 12, session="")
    for part in sharing:
        table.loc[table.index[table["split"] == part][:3], "speaker"] = "s0"
    table["speaker"] = f"{release or name}/" + table["speaker"]
    return table.assign(corpus=name, source=f"{name}/" + table["source"], utterance=f"{name}/" + table["utterance"])


def union_of(*names: str, **changes: object) -> DatasetConfig:
    members = {name: DatasetConfig(name=name, reader="csv") for name in names}
    return DatasetConfig(
        name="union", reader="union", group=Group.source, members=list(names), member_settings=members, **changes
    )  # type: ignore[arg-type]


def test_a_union_says_how_many_speakers_the_parts_of_its_members_share() -> None:
    table = pd.concat([member_table("a", ["dev", "test"]), member_table("b", [])], ignore_index=True)
    with pytest.raises(InputError, match="The split of 'a' has 1 of its 4 dev speakers in train too"):
        make_fold_splits(table, union_of("a", "b"))
    [split] = make_fold_splits(table, union_of("a", "b", allow_speaker_overlap=True))
    assert split.notes == (
        "The split of 'a': 1 of the 4 dev speakers is in train too: the model is chosen on speakers that were "
        "trained on.",
        "The split of 'a': 1 of the 4 test speakers is in train or dev too.",
    )


def test_a_union_says_which_sessions_of_a_member_its_parts_share() -> None:
    table = member_table("a", [])
    table["session"] = "a/" + table.index.map(lambda row: "evening" if row in (0, 24, 25) else f"day {row}")
    config = union_of("a", allow_speaker_overlap=True)
    config.member_settings["a"] = replace(config.member_settings["a"], group=Group.session)
    [split] = make_fold_splits(table, config)
    assert split.notes == ("The split of 'a': 1 of the 11 test sessions is in train too.",)


def test_a_union_says_which_test_speakers_of_a_member_another_member_was_trained_on() -> None:
    table = pd.concat([member_table("a", [], "films"), member_table("b", [], "films")], ignore_index=True)
    table.loc[table["corpus"] == "b", "speaker"] += "b"
    table.loc[(table["corpus"] == "b") & (table["split"] == "test"), "speaker"] = "films/s0"
    [split] = make_fold_splits(table, union_of("a", "b"))
    assert split.notes == ("The split of 'union': 1 of the 1 test speakers is in train too.",)


def test_a_union_of_the_same_members_with_the_same_settings_is_the_same_run() -> None:
    union = ("dataset=union", "dataset.members=[demo,demo_de,emodb]", "dataset.left_out=emodb")
    reference = identity(load_config(*union))
    assert identity(load_config("dataset=union", "dataset.members=[demo_de,demo]")) == reference
    assert identity(load_config(*union, "+dataset.roots.demo=/elsewhere")) == reference
    assert identity(load_config("dataset=union", "dataset.members=[demo,urdu]")) != reference
    config = load_config(*union)
    config.dataset.member_settings["demo"].label_map["sad"] = None
    assert identity(config) != reference


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["dataset.members=[demo,demo_d]"], "no dataset 'demo_d'|Could not find 'dataset/demo_d'"),
        (["dataset.members=[demo,demo]"], "names a corpus of 'union' twice"),
        (["dataset.members=[demo,emodb]", "dataset.left_out=emodbb"], "no member is called 'emodbb'; did you mean"),
        (["dataset.members=[demo]", "dataset.left_out=demo"], "leaves no member of 'union' to train on"),
        (["dataset.members=[demo,union]"], "'union' is a union and cannot be a member"),
    ],
)
def test_a_mistake_about_the_members_of_a_union_is_one_sentence(typed: list[str], sentence: str) -> None:
    with pytest.raises(Exception, match=sentence):
        load_config("dataset=union", *typed)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("dataset.maximum_seconds=20", "dataset.maximum_seconds is for one corpus, and 'union' is a union; write it"),
        ("dataset.label_map.joy=happy", "dataset.label_map is for one corpus"),
        ("dataset.dev_fraction=0.1", "dataset.dev_fraction is for one corpus"),
        ("dataset.fold=all", "'union' is a union, which has one split, made of the members' own; leave out"),
        ("dataset.folds=3", "'union' is a union, which has one split"),
    ],
)
def test_settings_that_a_union_takes_from_its_members_are_refused(typed: str, sentence: str) -> None:
    with pytest.raises(SetupError, match=sentence):
        load_corpus(load_config("dataset=union", "dataset.members=[demo,demo_de]", typed).dataset)


def test_only_a_union_has_members_and_it_needs_some() -> None:
    with pytest.raises(SetupError, match="are for dataset=union"):
        load_config("dataset=demo", "dataset.members=[demo_de]")
    with pytest.raises(SetupError, match=r"train on it with its members, dataset\.members="):
        load_corpus(load_config("dataset=union").dataset)


def test_cell_weights_give_every_class_of_every_corpus_the_same_weight() -> None:
    classes = np.array([0] * 6 + [1] * 2 + [0] * 3 + [1])
    corpora = np.array([0] * 8 + [1] * 4)
    weights = cell_weights(classes, corpora)
    sums = [weights[(classes == c) & (corpora == k)].sum() for c in (0, 1) for k in (0, 1)]
    assert sums == pytest.approx([3, 3, 3, 3])
    assert weights.mean() == pytest.approx(1)
    alone = cell_weights(classes, np.zeros_like(corpora))
    assert alone == pytest.approx(np.where(classes == 0, 12 / (2 * 9), 12 / (2 * 3)))


@pytest.mark.parametrize("balance", ["loss", "sampling"])
def test_a_union_trains_and_is_scored_on_the_corpus_that_was_left_out(balance: str, tmp_path: Path) -> None:
    emodb_tree(tmp_path / "emodb", tone)
    typed = [*SMALL, "dataset=union", "dataset.members=[demo_de,emodb,demo]", "dataset.left_out=demo", "labels=four"]
    typed += [f"+dataset.roots.emodb={tmp_path / 'emodb'}", "eval.corpora=[${dataset.left_out}]"]
    path = run(compose([*typed, f"trainer.balance={balance}", f"out={tmp_path / 'runs'}"]))
    result = json.loads(path.read_text())
    assert {(row["corpus"], row["split"]) for row in result["evals"]} == {("demo", "test")}
    assert any(warning.startswith("'union' is demo_de (100 utterances) + emodb (") for warning in result["warnings"])
    assert any(warning.startswith("demo_de: 'demo_de' is synthetic") for warning in result["warnings"])
    assert set(result["train"]["rules"]) == {"demo_de", "emodb"}
    splits = pd.read_csv(path.parent / "splits.csv")
    assert set(splits["utterance"].str.partition("/")[0]) == {"demo_de", "emodb"}


def test_both_labels_keeps_the_rows_that_have_a_class_by_both_sources(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The paper's second condition has 7,024, 5,547 and 4,544 training rows of the released files."""
    root = meld_release(shared_data, tmp_path_factory.getbasetemp())
    config = load_dataset("melt")
    config.both_labels = True
    table = melt.read(root, config).table
    for column, emotion in (("label", "emotion"), ("other_label", "other_emotion")):
        table[emotion] = map_labels(table[column], config.label_map, "melt")
    corpus = Corpus(config, root, table, table, table[:0], [], "", table)
    counts = {}
    for name in ("seven", "six", "four"):
        usable, left_out = corpus.usable(LabelSpace(name, load_config(f"labels={name}").labels.classes or {}))
        counts[name] = Counter(usable["split"])
        assert len(usable) + sum(left_out.values()) == len(table)
    assert [counts[name]["train"] for name in ("seven", "six", "four")] == [7024, 5547, 4544]
    assert [counts[name]["test"] for name in ("seven", "six", "four")] == [1791, 1427, 1174]


def test_both_labels_is_refused_for_any_corpus_but_melt(tmp_path: Path) -> None:
    emodb_tree(tmp_path, tone)
    with pytest.raises(SetupError, match="both_labels is for melt and melt_human"):
        load_corpus(load_config("dataset=emodb", f"dataset.root={tmp_path}", "dataset.both_labels=true").dataset)
