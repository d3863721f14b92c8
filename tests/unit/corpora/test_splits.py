"""Parts never share a group or a recording, and are the same for the same seed."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from melt_ser.config import DatasetConfig, Group, ProtocolConfig
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.grouping import stratified_sets
from melt_ser.corpora.splits import check_split, group_warnings, make_splits
from melt_ser.corpora.table import check_disjoint, digest, make_table, validate
from tables import corpus

CLASSES = ("angry", "happy", "sad")


def settings_for(**changes: object) -> DatasetConfig:
    return DatasetConfig(name="x", reader="csv", **changes)  # type: ignore[arg-type]


@settings(max_examples=30)
@given(speakers=st.integers(4, 8), each=st.integers(3, 9), folds=st.sampled_from(["leave_one_out", 2, 3]))
def test_folds_are_disjoint_and_cover_everything_once(speakers: int, each: int, folds: int | str) -> None:
    table = corpus(speakers, each)
    parts = make_splits(table, settings_for(folds=folds, fold="all"))
    tested = [utterance for part in parts for utterance in part.test["utterance"]]
    assert sorted(tested) == sorted(table["utterance"])
    for part in parts:
        groups = [set(part.train["speaker"]), set(part.dev["speaker"]), set(part.test["speaker"])]
        assert all(groups)
        assert sum(map(len, groups)) == speakers
        assert len(part.train) + len(part.dev) + len(part.test) == len(table)


def test_the_same_seed_gives_the_same_parts_and_another_does_not() -> None:
    table = corpus(12)
    first, again = (make_splits(table, settings_for(folds=4, fold=2))[0].assignment() for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    other = make_splits(table, settings_for(folds=4, fold=2, split_seed=1))[0].assignment()
    assert not first.equals(other)


def test_a_release_without_dev_gets_one_from_the_training_side() -> None:
    table = pd.concat([corpus(5, split="train"), corpus(7).iloc[30:].assign(split="test")], ignore_index=True)
    [part] = make_splits(table, settings_for())
    assert set(part.test["speaker"]) == {"s5", "s6"}
    assert len(set(part.dev["speaker"])) == 1
    assert not set(part.dev["speaker"]) & set(part.train["speaker"])


def test_dev_is_made_by_dialogue_where_sessions_are_the_group() -> None:
    table = corpus(2, 60, split="train")
    table["session"] = [f"dia{number // 4}" for number in range(len(table))]
    table.loc[100:, "split"] = "test"
    [part] = make_splits(table, settings_for(group=Group.session))
    assert not set(part.dev["session"]) & set(part.train["session"])
    assert set(part.dev["speaker"]) & set(part.train["speaker"])


def test_unknown_speakers_train_with_a_warning() -> None:
    table = corpus(10).assign(speaker="")
    [part] = make_splits(table, settings_for())
    assert len(part.test) == len(table) // 5
    assert "60 of 60 utterances of 'x' have no speaker" in group_warnings(table, settings_for())[0]
    with pytest.raises(InputError, match="does not say every speaker"):
        make_splits(table, settings_for(folds="leave_one_out"))


def test_segments_of_a_recording_stay_together_where_no_speaker_is_known() -> None:
    table = corpus(10).assign(speaker="", source=lambda frame: frame["utterance"].str.split("_").str[0])
    for part in make_splits(table, settings_for(folds=5, fold="all")):
        recordings = [set(rows["source"]) for rows in (part.train, part.dev, part.test)]
        assert [len(names) for names in recordings] == [6, 2, 2]
        assert len(set.union(*recordings)) == 10


def test_a_recording_of_two_speakers_is_not_divided() -> None:
    table = corpus(4).assign(source=lambda frame: frame["utterance"].str.split("_").str[1])  # all speak in each
    with pytest.raises(InputError, match=r"share 6 sources \(such as '0'\); .* set dataset\.group=source"):
        make_splits(table, settings_for(folds="leave_one_out"))


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        (dict(folds=9), SetupError, "dataset.folds=9 does not fit 'x', which has 4 speakers; choose 2 to 4"),
        (
            dict(folds="speakers"),
            SetupError,
            "dataset.folds is leave_one_out, a number, emobox or null, not 'speakers'",
        ),
        (dict(folds=3, fold=4), SetupError, "dataset.fold is 1 to 3 or all for 'x', not 4"),
        (dict(folds=3, fold="none"), SetupError, "dataset.fold is 1 to 3 or all for 'x', not none"),
        (dict(folds=3, dev_fraction=1.5), SetupError, "dataset.dev_fraction is between 0 and 1"),
    ],
)
def test_settings_that_do_not_fit(changes: dict[str, object], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        make_splits(corpus(4), settings_for(**changes))


def test_of_two_speakers_dev_is_drawn_from_the_one_that_is_left_and_the_result_says_so() -> None:
    table = corpus(2, 30)
    for part in make_splits(table, settings_for(folds="leave_one_out", fold="all")):
        assert set(part.train["speaker"]) == set(part.dev["speaker"]) != set(part.test["speaker"])
        assert part.dev["class"].nunique() == 3 and len(part.dev) == 6  # 20 % of 30, dealt out by class
        assert part.notes == (
            "Where 'x' leaves a single speaker to train on, dev is drawn from its recordings: "
            "the best epoch is chosen on a speaker that was trained on.",
        )
    assert "has 2 speakers: its numbers say nothing about unseen speakers" in group_warnings(table, settings_for())[0]


def test_of_one_speaker_only_recordings_can_be_kept_apart() -> None:
    table = corpus(1, 30).assign(source=lambda frame: frame["source"].str.replace(r".$", "", regex=True))
    for folds in ("leave_one_out", 5, None):
        with pytest.raises(SetupError, match="'x' has one speaker alone.*set dataset.group=source"):
            make_splits(table, settings_for(folds=folds))
    [part] = make_splits(table, settings_for(group=Group.source, folds=3))
    assert part.notes == ("Fold 1: 1 of the 1 test speakers are in the training side too.",)
    assert len(part.train) + len(part.dev) + len(part.test) == 30
    assert "has 1 speaker:" in group_warnings(table, settings_for(group=Group.source))[0]
    assert "keep recordings apart, not speakers" in group_warnings(corpus(5), settings_for(group=Group.source))[0]


def test_a_split_that_shares_speakers_is_refused_unless_allowed() -> None:
    table = corpus(3).assign(split=["train", "dev", "test"] * 6)
    table.loc[table["split"] == "dev", "speaker"] = "s9"
    with pytest.raises(InputError, match=r"The split of 'x' has 3 of its 3 test speakers in training too"):
        make_splits(table, settings_for())
    [part] = make_splits(table, settings_for(allow_speaker_overlap=True))
    assert part.notes == ("The split: 3 of the 3 test speakers are in the training side too.",)


def test_allowed_overlap_is_of_all_parts_and_never_of_recordings() -> None:
    table = corpus(4).assign(split=["train", "train", "dev", "dev", "test", "test"] * 4)
    with pytest.raises(InputError, match=r"The split of 'x' has 4 of its 4 dev speakers in train too.*allow_speaker"):
        make_splits(table, settings_for())
    [part] = make_splits(table, settings_for(allow_speaker_overlap=True))
    assert part.notes == (
        "The split: 4 of the 4 dev speakers are in train too: the best epoch is chosen on speakers that were trained "
        "on.",
        "The split: 4 of the 4 test speakers are in the training side too.",
    )
    with pytest.raises(InputError, match="train and dev parts of 'x' share 1 source"):
        make_splits(
            table.assign(source=["same", *table["source"][1:2], "same", *table["source"][3:]]),
            settings_for(allow_speaker_overlap=True),
        )


def test_a_protocol_that_is_the_releases_split_is_never_something_else() -> None:
    protocols = {"official": ProtocolConfig(split_from="the column split of s.csv"), "folds": ProtocolConfig(folds=5)}
    official = settings_for(protocol="official", protocols=protocols, expected={"train": 6, "dev": 2, "test": 3})
    sentence = "'x' has no official split here: the column split of s.csv says none; .* set dataset.protocol=folds."
    with pytest.raises(SetupError, match=sentence):
        make_splits(corpus(6), official)
    without_dev = corpus(6).assign(split=["train"] * 24 + ["test"] * 12)
    with pytest.raises(InputError, match="The official split of 'x' has 2 dev utterances and none of them is here"):
        make_splits(without_dev, official)
    [part] = make_splits(without_dev, replace(official, expected={"train": 6, "test": 3}))
    assert part.notes == (
        "The split of 'x' has no dev part: about 20 % of train, whole speakers, are used as one "
        "(dataset.dev_fraction, dataset.split_seed).",
    )
    assert len(make_splits(corpus(6), replace(official, protocol=None))) == 1  # as dataset.folds=null


def test_sets_of_whole_groups_are_scikit_learns() -> None:
    """Splits that were published stay what they were."""
    random = np.random.default_rng(0)
    for case in range(40):
        size, number = int(random.integers(40, 200)), int(random.integers(2, 7))
        table = pd.DataFrame({"utterance": [f"u{row:03}" for row in range(size)]})
        table["class"] = random.integers(0, 1 + case % 7, size).astype(str)
        groups = pd.Series((random.random(size) ** 3 * size / 2).astype(int).astype(str))  # large ones and many of one
        kind = StratifiedGroupKFold if table["class"].value_counts().max() >= number else GroupKFold
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = [
                rows for _, rows in kind(number, shuffle=True, random_state=case).split(groups, table["class"], groups)
            ]
        ours = stratified_sets(table, groups, number, case)
        assert [rows.tolist() for rows in ours] == [list(rows) for rows in theirs if len(rows)]


def test_parts_are_checked_again_when_they_are_used() -> None:
    [part] = make_splits(corpus(8), settings_for(folds=2))
    check_split(part, settings_for(folds=2))
    leaking = replace(part, train=pd.concat([part.train, part.test.iloc[:1]]))
    with pytest.raises(InputError, match="train and test parts of 'x' share 1 source"):
        check_split(leaking, settings_for(folds=2))
    renamed = replace(part, dev=part.dev.assign(speaker=part.train["speaker"].iloc[0]))
    with pytest.raises(InputError, match="Fold 1 of 'x' has 1 of its 1 dev speakers in train too"):
        check_split(renamed, settings_for(folds=2))


@settings(max_examples=15)
@given(
    speakers=st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"]), min_size=24, max_size=60),
    shuffle=st.integers(0, 99),
    group=st.sampled_from(list(Group)),
    folds=st.sampled_from([2, 3]),
)
def test_the_order_of_the_rows_does_not_matter(speakers: list[str], shuffle: int, group: Group, folds: int) -> None:
    table = corpus(1, len(speakers)).assign(speaker=speakers, session=[name.upper() for name in speakers])
    config = settings_for(group=group, folds=folds, fold="all")
    try:
        parts = make_splits(table, config)
    except (InputError, SetupError):  # fewer groups than folds, or a speaker unknown
        return
    again = make_splits(table.sample(frac=1.0, random_state=shuffle), config)
    for first, second in zip(parts, again, strict=True):
        frames = [part.assignment().sort_values("utterance", ignore_index=True) for part in (first, second)]
        pd.testing.assert_frame_equal(*frames)
        assert sorted(first.assignment()["utterance"]) == sorted(table["utterance"])
    assert sorted(utterance for part in parts for utterance in part.test["utterance"]) == sorted(table["utterance"])


def test_a_shared_recording_is_told_with_its_count() -> None:
    table = corpus(3)
    with pytest.raises(InputError, match="train and test parts of 'x' share 6 sources"):
        check_disjoint({"train": table, "test": table.iloc[:6]}, "source", "x")


def test_a_table_is_validated() -> None:
    table = make_table([{"utterance": "a", "source": "a", "audio": "a.wav", "label": "sad"}] * 2)
    with pytest.raises(InputError, match=r"the utterance 'a' more than once \(1 repeated rows\)"):
        validate(table, "x")
    backwards = make_table([{"utterance": "a", "source": "a", "audio": "a", "label": "b", "start": 2, "end": 1}])
    with pytest.raises(InputError, match="ends before it starts"):
        validate(backwards, "x")
    with pytest.raises(InputError, match="has the split 'valid'"):
        validate(corpus(1, split="valid").drop(columns="class"), "x")


def test_a_digest_depends_on_the_rows_and_not_on_their_order() -> None:
    table = corpus(3)
    assert digest(table) == digest(table.sample(frac=1.0, random_state=0))
    assert digest(table) != digest(table.assign(label="sad"))
    assert digest(table) != digest(table.assign(content_hash="other audio"))


def test_rows_without_a_split_are_counted_and_shared_speakers_are_told() -> None:
    table = corpus(4)
    table["split"] = ["train", "test", "train", "dev", "", "train"] * (len(table) // 6)
    table["session"] = [f"s{number}" for number in range(len(table))]
    [part] = make_splits(table, settings_for(folds=None, group=Group.session))
    left_out = int((table["split"] == "").sum())
    assert any(note.startswith(f"{left_out} utterances of 'x' have no split and are left out") for note in part.notes)
    assert "The split: 4 of the 4 test speakers are in the training side too." in part.notes
