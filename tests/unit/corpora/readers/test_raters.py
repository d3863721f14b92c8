"""Several rows of one recording or segment: repeated rows, and the labels of several raters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from corpus_trees import placeholder
from melt_ser.cli.compose import load_config, load_dataset
from melt_ser.config import RaterVote
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.load import load_corpus
from melt_ser.corpora.readers.csv import read
from melt_ser.corpora.table import Release
from melt_ser.runs.identity import identity

VOTE = RaterVote.majority


def read_rows(root: Path, text: str, vote: RaterVote | None = None, **label_map: str | None) -> Release:
    """Write a table on the clips a.wav and b.wav, and read it."""
    for clip in ("a.wav", "b.wav"):
        placeholder(root / clip)
    (root / "my.csv").write_text(text, encoding="utf-8")
    return read(root, replace(load_dataset("csv"), table="my.csv", rater_vote=vote, label_map=label_map))


def test_contradictory_rows_of_a_recording_are_counted_and_refused(tmp_path: Path) -> None:
    rows = "audio,rater,label\na.wav,1,sad\na.wav,2,sad\n./a.wav,3,angry\nb.wav,1,sad\nb.wav,2,happy\n"
    with pytest.raises(InputError) as caught:
        read_rows(tmp_path, rows)
    assert str(caught.value) == (
        f"{tmp_path}/my.csv has several rows for 2 of its recordings or segments, 2 of them with different labels "
        f"(such as rows 1 and 3: a.wav is sad and angry); keep one row of each, give segments their start and end, or "
        f"set dataset.rater_vote=majority to use the label of most rows."
    )


@pytest.mark.parametrize(
    "rows",
    [
        "audio,label,split\na.wav,sad,train\na.wav,sad,test\n",
        "audio,label,utterance\na.wav,sad,u1\na.wav,sad,u2\n",
        "audio,label,start,end\na.wav,sad,0,1\na.wav,angry,,1.0\n",
    ],
)
def test_rows_that_differ_in_anything_but_the_segment_are_refused(tmp_path: Path, rows: str) -> None:
    with pytest.raises(
        InputError, match=r"several rows for 1 of its recordings or segments, .* \(such as rows 1 and 2:"
    ):
        read_rows(tmp_path, rows)


def test_a_row_that_repeats_another_is_used_once_and_counted(tmp_path: Path) -> None:
    release = read_rows(tmp_path, "audio,label,rater\na.wav,sad,1\na.wav,sad,2\nb.wav,happy,1\na.wav,sad,3\n")
    assert release.table["utterance"].tolist() == ["a", "b"]
    assert [item.reason for item in release.skipped] == [f"a row that repeats another: row {row}" for row in (2, 4)]


def test_segments_of_a_file_are_not_several_rows_of_it(tmp_path: Path) -> None:
    rows = "audio,start,end,label\na.wav,,1,sad\na.wav,1,2,happy\na.wav,1,,sad\nb.wav,,,sad\n"
    assert len(read_rows(tmp_path, rows).table) == 4


def test_a_vote_gives_each_recording_the_label_of_most_rows(tmp_path: Path) -> None:
    rows = "audio,label,text\na.wav,happy,x\nb.wav,sad,y\na.wav,sad,x\na.wav,sad,z\n"
    release = read_rows(tmp_path, rows, VOTE)
    assert release.table[["utterance", "label"]].to_numpy().tolist() == [["b", "sad"], ["a", "sad"]]
    assert release.skipped == []
    assert release.notes == [
        "3 rows became 1 by the vote of raters: each recording or segment has the label of most of its rows "
        "(dataset.rater_vote=majority)"
    ]


def test_a_tie_is_left_out_with_its_rows(tmp_path: Path) -> None:
    rows = "audio,label\na.wav,happy\na.wav,sad\nb.wav,sad\nb.wav,sad\nb.wav,happy\n"
    release = read_rows(tmp_path, rows, VOTE)
    assert release.table["utterance"].tolist() == ["b"]
    assert [item.reason for item in release.skipped] == [f"no majority of the raters: row {row}" for row in (1, 2)]


def test_words_for_one_emotion_are_one_vote(tmp_path: Path) -> None:
    rows = "audio,label\na.wav,Anger\na.wav,wütend\na.wav,sad\na.wav,Sad\na.wav,angry\n"
    assert read_rows(tmp_path, rows, VOTE, wütend="angry").table["label"].tolist() == ["Anger"]


def test_rows_without_a_label_are_no_votes(tmp_path: Path) -> None:
    release = read_rows(tmp_path, "audio,label\na.wav,\na.wav,\na.wav,sad\n", VOTE)
    assert release.table["label"].tolist() == ["sad"] and len(release.skipped) == 2


def test_the_raters_rows_may_share_an_utterance_name_and_not_a_speaker(tmp_path: Path) -> None:
    rows = "utterance,audio,label,speaker\nu1,a.wav,sad,s1\nu1,a.wav,sad,s1\n"
    assert read_rows(tmp_path, rows, VOTE).table["utterance"].tolist() == ["u1"]
    with pytest.raises(
        InputError, match=r"rows 1 and 2: a\.wav has more than one speaker \(s2, s1\).*correct the speaker"
    ):
        read_rows(tmp_path, rows.replace("sad,s1\nu1", "sad,s2\nu1", 1), VOTE)


def test_a_vote_is_refused_for_a_release(tmp_path: Path) -> None:
    config = load_config("dataset=emodb", f"dataset.root={tmp_path}", "dataset.rater_vote=majority").dataset
    with pytest.raises(SetupError, match=r"dataset\.rater_vote is for csv, hub, audformat, shards, not for 'emodb'"):
        load_corpus(config)


def test_a_vote_makes_another_run_and_no_vote_makes_none() -> None:
    typed = ("dataset=csv", "dataset.table=my.csv")
    assert identity(load_config(*typed)) == identity(load_config(*typed, "dataset.rater_vote=null"))
    assert identity(load_config(*typed)) != identity(load_config(*typed, "dataset.rater_vote=majority"))
