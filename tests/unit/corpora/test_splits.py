"""The parts of a split never share a group or a recording, and the same seed gives the same split."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melt_ser.config import DevGroup, Group, ProtocolConfig
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.fold_split import check_disjoint, check_fold_split, group_warnings
from melt_ser.corpora.splits import make_fold_splits
from melt_ser.corpora.table import digest, make_table, validate
from tables import corpus, settings_for


@settings(max_examples=30)
@given(speakers=st.integers(4, 8), each=st.integers(3, 9), folds=st.sampled_from(["leave_one_out", 2, 3]))
def test_folds_are_disjoint_and_test_every_utterance_once(speakers: int, each: int, folds: int | str) -> None:
    table = corpus(speakers, each)
    splits = make_fold_splits(table, settings_for(folds=folds, fold="all", dev_group=DevGroup.speaker))
    tested = [utterance for split in splits for utterance in split.test["utterance"]]
    assert sorted(tested) == sorted(table["utterance"])
    for split in splits:
        groups = [set(split.train["speaker"]), set(split.dev["speaker"]), set(split.test["speaker"])]
        assert all(groups)
        assert sum(map(len, groups)) == speakers
        assert len(split.train) + len(split.dev) + len(split.test) == len(table)


def test_the_same_split_seed_gives_the_same_split_and_another_seed_does_not() -> None:
    table = corpus(12)
    first, again = (make_fold_splits(table, settings_for(folds=4, fold=2))[0].assignment() for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    other = make_fold_splits(table, settings_for(folds=4, fold=2, split_seed=1))[0].assignment()
    assert not first.equals(other)


def test_a_release_split_without_dev_gets_one_from_the_training_side() -> None:
    table = pd.concat([corpus(5, split="train"), corpus(7).iloc[30:].assign(split="test")], ignore_index=True)
    [split] = make_fold_splits(table, settings_for())
    assert set(split.test["speaker"]) == {"s5", "s6"}
    assert len(set(split.dev["speaker"])) == 1
    assert not set(split.dev["speaker"]) & set(split.train["speaker"])


def test_dev_takes_whole_dialogues_if_sessions_are_the_group() -> None:
    table = corpus(2, 60, split="train")
    table["session"] = [f"dia{number // 4}" for number in range(len(table))]
    table.loc[100:, "split"] = "test"
    [split] = make_fold_splits(table, settings_for(group=Group.session))
    assert not set(split.dev["session"]) & set(split.train["session"])
    assert set(split.dev["speaker"]) & set(split.train["speaker"])


def test_a_corpus_of_unknown_speakers_is_split_with_a_warning() -> None:
    table = corpus(10).assign(speaker="")
    [split] = make_fold_splits(table, settings_for())
    assert len(split.test) == len(table) // 5
    assert "60 of 60 utterances of 'x' have no speaker" in group_warnings(table, settings_for())[0]
    with pytest.raises(InputError, match="does not name every speaker"):
        make_fold_splits(table, settings_for(folds="leave_one_out"))


def test_segments_of_a_recording_stay_together_if_no_speaker_is_known() -> None:
    table = corpus(10).assign(speaker="", source=lambda frame: frame["utterance"].str.split("_").str[0])
    for split in make_fold_splits(table, settings_for(folds=5, fold="all")):
        recordings = [set(rows["source"]) for rows in (split.train, split.dev, split.test)]
        assert [len(names) for names in recordings] == [6, 2, 2]
        assert len(set.union(*recordings)) == 10


def test_a_recording_of_two_speakers_is_not_divided() -> None:
    table = corpus(4).assign(
        source=lambda frame: frame["utterance"].str.split("_").str[1]
    )  # every recording has all speakers
    with pytest.raises(InputError, match=r"share \d sources \(such as '0'\); .* with dataset\.folds=5 dataset\.gr"):
        make_fold_splits(table, settings_for(folds="leave_one_out"))


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        (dict(folds=9), SetupError, "dataset.folds=9 does not fit 'x', which has 4 speakers; choose 2 to 4"),
        (
            dict(folds="speakers"),
            SetupError,
            "dataset.folds is leave_one_out, a number, release, emobox or null, not 'speakers'",
        ),
        (dict(folds=3, fold=4), SetupError, "dataset.fold is 1 to 3 or all for 'x', not 4"),
        (dict(folds=3, fold="none"), SetupError, "dataset.fold is 1 to 3 or all for 'x', not none"),
        (dict(folds=3, dev_fraction=1.5), SetupError, "dataset.dev_fraction is between 0 and 1"),
    ],
)
def test_split_settings_that_do_not_fit_the_corpus_are_refused(
    changes: dict[str, object], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        make_fold_splits(corpus(4), settings_for(**changes))


def test_with_two_speakers_dev_comes_from_the_training_speaker_and_a_note_says_so() -> None:
    table = corpus(2, 30)
    for split in make_fold_splits(table, settings_for(folds="leave_one_out", fold="all")):
        assert set(split.train["speaker"]) == set(split.dev["speaker"]) != set(split.test["speaker"])
        assert split.dev["class"].nunique() == 3 and len(split.dev) == 6  # 20 % of 30, stratified by class
        assert split.notes == (
            "'x' leaves 1 speaker to train on, and dev is about 20 % of train, whole recordings "
            "(dataset.dev_group=source): the model is chosen on a speaker that was trained on.",
        )
    assert "has 2 speakers: its numbers say nothing about unseen speakers" in group_warnings(table, settings_for())[0]


def test_with_one_speaker_only_recordings_can_be_kept_apart() -> None:
    table = corpus(1, 30).assign(source=lambda frame: frame["source"].str.replace(r".$", "", regex=True))
    for folds in ("leave_one_out", 5, None):
        with pytest.raises(SetupError, match="'x' has only one speaker,.*set dataset.group=source"):
            make_fold_splits(table, settings_for(folds=folds))
    [split] = make_fold_splits(table, settings_for(group=Group.source, folds=3))
    assert split.notes == ("Fold 1 of 'x': 1 of the 1 test speakers is in train or dev too.",)
    assert len(split.train) + len(split.dev) + len(split.test) == 30
    assert "has 1 speaker:" in group_warnings(table, settings_for(group=Group.source))[0]
    assert "keep recordings apart, not speakers" in group_warnings(corpus(5), settings_for(group=Group.source))[0]


def test_a_release_split_that_shares_speakers_is_refused_unless_allowed() -> None:
    table = corpus(3).assign(split=["train", "dev", "test"] * 6)
    table.loc[table["split"] == "dev", "speaker"] = "s9"
    with pytest.raises(InputError, match=r"The split of 'x' has 3 of its 3 test speakers in train too"):
        make_fold_splits(table, settings_for())
    [split] = make_fold_splits(table, settings_for(allow_speaker_overlap=True))
    assert split.notes == ("The split of 'x': 3 of the 3 test speakers are in train too.",)


def test_allowed_overlap_covers_speakers_of_all_parts_but_no_recordings() -> None:
    table = corpus(4).assign(split=["train", "train", "dev", "dev", "test", "test"] * 4)
    with pytest.raises(InputError, match=r"The split of 'x' has 4 of its 4 dev speakers in train too.*allow_speaker"):
        make_fold_splits(table, settings_for())
    [split] = make_fold_splits(table, settings_for(allow_speaker_overlap=True))
    assert split.notes == (
        "The split of 'x': 4 of the 4 dev speakers are in train too: the model is chosen on speakers that were "
        "trained on.",
        "The split of 'x': 4 of the 4 test speakers are in train or dev too.",
    )
    with pytest.raises(InputError, match="train and dev parts of 'x' share 1 source"):
        make_fold_splits(
            table.assign(source=["same", *table["source"][1:2], "same", *table["source"][3:]]),
            settings_for(allow_speaker_overlap=True),
        )


def test_a_protocol_that_names_the_release_split_never_falls_back_to_folds() -> None:
    protocols = {"official": ProtocolConfig(split_from="the column split of s.csv"), "folds": ProtocolConfig(folds=5)}
    official = settings_for(protocol="official", protocols=protocols, expected={"train": 6, "dev": 2, "test": 3})
    sentence = (
        "'x' has no official split here: the column split of s.csv does not give it; .* set dataset.protocol=folds."
    )
    with pytest.raises(SetupError, match=sentence):
        make_fold_splits(corpus(6), official)
    without_dev = corpus(6).assign(split=["train"] * 24 + ["test"] * 12)
    with pytest.raises(InputError, match="The official split of 'x' has 2 dev utterances and none of them is here"):
        make_fold_splits(without_dev, official)
    expected = {"train": 6, "test": 3}
    [split] = make_fold_splits(without_dev, replace(official, expected=expected, dev_group=DevGroup.speaker))
    assert split.notes == (
        "The split of 'x' has no dev part: about 25 % of train, whole speakers, are used as one "
        "(dataset.dev_fraction, dataset.split_seed).",
    )
    assert len(make_fold_splits(corpus(6), replace(official, protocol=None))) == 1  # as dataset.folds=null


def test_dev_is_cut_within_the_speakers_of_train_if_dev_group_says_so() -> None:
    table = corpus(8, 30)
    [split] = make_fold_splits(table, settings_for(folds=4, dev_group=DevGroup.source))
    assert set(split.dev["speaker"]) == set(split.train["speaker"]) and len(split.dev) == 36
    assert not set(split.test["speaker"]) & set(split.train["speaker"])
    assert split.notes == (
        "'x' leaves 6 speakers to train on, and dev is about 20 % of train, whole recordings "
        "(dataset.dev_group=source): the model is chosen on speakers that were trained on.",
    )
    with pytest.raises(SetupError, match="'x' does not name its dialogues; set dataset.dev_group=source"):
        make_fold_splits(table, settings_for(folds=4, dev_group=DevGroup.dialogue))


def test_labels_and_label_sources_do_not_move_a_recording_from_one_part_to_another() -> None:
    """Whatever rows a run uses, its parts are those of the release, cut down to these rows."""
    whole = corpus(12, 9)
    relabelled = whole.assign(**{"class": whole["class"].sample(frac=1, random_state=0).to_numpy()})
    for config in (settings_for(folds=4, fold="all"), settings_for(folds="leave_one_out", fold="all")):
        expected = [split.assignment().set_index("utterance")["split"] for split in make_fold_splits(whole, config)]
        for table in (relabelled.iloc[::2], whole[whole["class"] != "sad"]):
            for split, parts in zip(make_fold_splits(table, config, whole), expected, strict=True):
                own = split.assignment().set_index("utterance")["split"]
                assert own.equals(parts[own.index])


def test_a_fold_without_an_utterance_to_test_is_left_out_and_named() -> None:
    whole = corpus(5, 9)
    table, config = whole[whole["speaker"] != "s2"], settings_for(folds="leave_one_out", fold="all")
    splits = make_fold_splits(table, config, whole)
    assert [split.fold for split in splits] == [1, 2, 4, 5]
    assert splits[0].notes[-1] == (
        "Fold 3 of 'x' is left out: no utterance of its speakers has a label and a class of this run."
    )
    with pytest.raises(InputError, match="Fold 3 of 'x' has no test utterance with a label and a class of this run"):
        make_fold_splits(table, replace(config, fold=3), whole)


def test_check_fold_split_refuses_a_split_that_was_changed() -> None:
    [split] = make_fold_splits(corpus(12), settings_for(folds=2))
    check_fold_split(split, settings_for(folds=2))
    leaking = replace(split, train=pd.concat([split.train, split.test.iloc[:1]]))
    with pytest.raises(InputError, match="train and test parts of 'x' share 1 source"):
        check_fold_split(leaking, settings_for(folds=2))
    renamed = replace(split, dev=split.dev.assign(speaker=split.train["speaker"].iloc[0]))
    with pytest.raises(InputError, match="Fold 1 of 'x' has 1 of its 1 dev speakers in train too"):
        check_fold_split(renamed, settings_for(folds=2))


@settings(max_examples=15)
@given(
    speakers=st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"]), min_size=24, max_size=60),
    shuffle=st.integers(0, 99),
    group=st.sampled_from(list(Group)),
    folds=st.sampled_from([2, 3]),
)
def test_a_split_does_not_depend_on_the_order_of_the_rows(
    speakers: list[str], shuffle: int, group: Group, folds: int
) -> None:
    table = corpus(1, len(speakers)).assign(speaker=speakers, session=[name.upper() for name in speakers])
    config = settings_for(group=group, folds=folds, fold="all")
    try:
        splits = make_fold_splits(table, config)
    except (InputError, SetupError):  # fewer groups than folds, or an unknown speaker
        return
    again = make_fold_splits(table.sample(frac=1.0, random_state=shuffle), config)
    for first, second in zip(splits, again, strict=True):
        frames = [split.assignment().sort_values("utterance", ignore_index=True) for split in (first, second)]
        pd.testing.assert_frame_equal(*frames)
        assert sorted(first.assignment()["utterance"]) == sorted(table["utterance"])
    assert sorted(utterance for split in splits for utterance in split.test["utterance"]) == sorted(table["utterance"])


def test_check_disjoint_counts_the_shared_recordings() -> None:
    table = corpus(3)
    with pytest.raises(InputError, match="train and test parts of 'x' share 6 sources"):
        check_disjoint({"train": table, "test": table.iloc[:6]}, "source", "x")


def test_validate_refuses_a_broken_table() -> None:
    table = make_table([{"utterance": "a", "source": "a", "audio": "a.wav", "label": "sad"}] * 2)
    with pytest.raises(InputError, match=r"the utterance 'a' more than once \(1 repeated rows\)"):
        validate(table, "x")
    backwards = make_table([{"utterance": "a", "source": "a", "audio": "a", "label": "b", "start": 2, "end": 1}])
    with pytest.raises(InputError, match="does not end after its start"):
        validate(backwards, "x")
    with pytest.raises(InputError, match="has the split 'valid'"):
        validate(corpus(1, split="valid").drop(columns="class"), "x")


def test_digest_depends_on_the_rows_and_not_on_their_order() -> None:
    table = corpus(3)
    assert digest(table) == digest(table.sample(frac=1.0, random_state=0))
    assert digest(table) != digest(table.assign(label="sad"))
    assert digest(table) != digest(table.assign(content_hash="other audio"))


def test_notes_count_rows_without_a_split_and_shared_test_speakers() -> None:
    table = corpus(4)
    table["split"] = ["train", "test", "train", "dev", "", "train"] * (len(table) // 6)
    table["session"] = [f"s{number}" for number in range(len(table))]
    [split] = make_fold_splits(table, settings_for(folds=None, group=Group.session))
    left_out = int((table["split"] == "").sum())
    assert any(note.startswith(f"'x' leaves out {left_out} utterances without a split") for note in split.notes)
    assert "The split of 'x': 4 of the 4 test speakers are in train or dev too." in split.notes
