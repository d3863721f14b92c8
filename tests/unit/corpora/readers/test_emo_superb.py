"""The partitions of EMO-SUPERB, on trees with the columns and names of its repository."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from corpus_trees import EMO_SUPERB, emo_superb_tree, placeholder
from melt_ser.cli.compose import load_dataset
from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.load import load_corpus, read_release
from melt_ser.corpora.splits import make_fold_splits
from melt_ser.info import names

PARTITIONS = [name for name in names("dataset") if name.startswith("emo_superb_")]


def config(name: str, root: Path, **settings: object) -> DatasetConfig:
    return replace(load_dataset(f"emo_superb_{name}"), root=str(root), **settings)


@pytest.mark.parametrize(("name", "partition"), zip(("iemocap", "crema_d", "nnime"), EMO_SUPERB, strict=True))
def test_each_fold_has_the_parts_of_its_table(tmp_path: Path, name: str, partition: str) -> None:
    emo_superb_tree(tmp_path, partition)
    corpus = load_corpus(config(name, tmp_path, fold="all"))
    splits = make_fold_splits(corpus.table.assign(**{"class": ""}), corpus.config, corpus.annotated)
    assert [split.fold for split in splits] == [1, 2, 3]
    for number, split in enumerate(splits):
        assert {clip[5:7] for clip in split.test["utterance"]} == {f"{number:02}"}
        assert {clip[5:7] for clip in split.dev["utterance"]} == {f"{(number + 1) % 3:02}"}
        assert [len(part) for part in split.parts.values()] == [4, 4, 4]


def test_the_votes_are_the_shares_of_all_its_classes(tmp_path: Path) -> None:
    emo_superb_tree(tmp_path, "NNIME/Secondary", each=11)
    corpus = load_corpus(config("nnime", tmp_path))
    columns = [column for column in corpus.table if column.startswith("votes ")]
    assert len(columns) == 11 and {"votes happy", "votes joyful", "votes calm"} < set(columns)
    assert corpus.table[columns].sum(axis=1).to_numpy() == pytest.approx(1.0, abs=1e-4)
    assert corpus.table.set_index("utterance").loc["clip_00_10", "votes joyful"] == pytest.approx(0.954545, abs=1e-6)


def test_a_speaker_is_the_id_with_the_gender_and_a_clip_is_the_same_recording_as_in_the_release(tmp_path: Path) -> None:
    """In IEMOCAP and MSP-IMPROV the two speakers of a session share an id."""
    emo_superb_tree(tmp_path, "IEMOCAP/Secondary")
    table = load_corpus(config("iemocap", tmp_path)).table
    assert sorted(table["speaker"].unique()) == ["01F", "01M", "02F"]
    assert table["source"].iloc[0] == "iemocap/clip_00_00"


def test_attributes_have_the_scale_of_the_corpus(tmp_path: Path) -> None:
    emo_superb_tree(tmp_path, "IEMOCAP/Secondary", each=5)
    corpus = load_corpus(config("iemocap", tmp_path, target="attributes"))
    assert corpus.ratings is not None and corpus.ratings.scales == {"arousal": (1.0, 5.0), "valence": (1.0, 5.0)}
    assert corpus.table["attribute arousal"].tolist() == [1, 2, 3, 4, 5] * 3


def test_the_audio_may_lie_in_the_release_itself(tmp_path: Path) -> None:
    clips = emo_superb_tree(tmp_path / "checkout", "CREMA-D/Primary")
    for number, clip in enumerate(clips[:6]):
        placeholder(tmp_path / "release" / "AudioWAV" / str(number % 2) / f"{clip}.wav")
    settings = config("crema_d", tmp_path / "release", checkout=str(tmp_path / "checkout"))
    root, release = read_release(settings)
    assert root == tmp_path / "release" and set(release.table["utterance"]) == set(clips[:6])
    shutil.rmtree(tmp_path / "checkout/data/CREMA-D/Audios")
    with pytest.raises(SetupError, match=r"is not in .*Audios; put it there, or set dataset\.root to the release"):
        read_release(replace(settings, root=str(tmp_path / "checkout"), checkout=None))
    assert {skipped.reason for skipped in release.skipped} == {f"no audio file: row {row}" for row in range(7, 13)}


def test_a_damaged_checkout_is_refused_in_a_sentence(tmp_path: Path) -> None:
    emo_superb_tree(tmp_path, "CREMA-D/Primary")
    folder = tmp_path / "data/CREMA-D/Primary"
    with pytest.raises(SetupError, match=r"data/IEMOCAP/Secondary; set dataset\.checkout, or dataset\.root"):
        read_release(config("iemocap", tmp_path))
    with pytest.raises(SetupError, match="a corpus and a kind such as IEMOCAP/Secondary, not SAVEE"):
        read_release(config("crema_d", tmp_path, subset="SAVEE/Primary"))
    whole = (folder / "labels_consensus_2.csv").read_text()
    for old, new, sentence in (
        ("Male,Test", "Male,Test4", "row 5: 'Test4' is no part"),
        ("clip_00_01.wav", "clip_00_00.wav", "the clip 'clip_00_00' twice"),
        ("0.958333", "0.858333", "Fold 2 of .* has other clips or votes than fold 1"),
        ("disgust", "boredom", "has no column 'disgust'"),
        ("Split_Set", "Part", "lacks the column split_set"),
    ):
        (folder / "labels_consensus_2.csv").write_text(whole.replace(old, new))
        with pytest.raises(InputError, match=sentence):
            read_release(config("crema_d", tmp_path))
    (folder / "labels_consensus_2.csv").unlink()
    with pytest.raises(InputError, match=r"labels_consensus_2\.csv is missing, but .* has 2 folds"):
        read_release(config("crema_d", tmp_path))


def test_other_corpora_have_no_folds_of_their_own(tmp_path: Path) -> None:
    emo_superb_tree(tmp_path, "CREMA-D/Primary")
    corpus = load_corpus(config("crema_d", tmp_path))
    with pytest.raises(SetupError, match="'emo_superb_crema_d' has no folds of its own"):
        make_fold_splits(corpus.table, corpus.config, corpus.table)
    with pytest.raises(SetupError, match=r"dataset\.fold is 1 to 3 or all"):
        make_fold_splits(corpus.table, replace(corpus.config, fold=4), corpus.annotated)


def test_clips_in_no_part_of_a_fold_are_counted(tmp_path: Path) -> None:
    emo_superb_tree(tmp_path, "CREMA-D/Primary")
    corpus = load_corpus(config("crema_d", tmp_path))
    parts = corpus.annotated.assign(**{"fold 1": ["", *corpus.annotated["fold 1"][1:]]})  # as an own reader may have it
    [split] = make_fold_splits(corpus.table.assign(**{"class": ""}), corpus.config, parts)
    assert len(split.test) == 3
    assert "1 utterances of 'emo_superb_crema_d' are in no part of fold 1 and are left out." in split.notes
    none = corpus.annotated.assign(**{"fold 1": "train"})
    with pytest.raises(InputError, match="Fold 1 of 'emo_superb_crema_d' has no test clip here"):
        make_fold_splits(corpus.table, corpus.config, none)


def test_every_partition_has_its_own_classes() -> None:
    """Nine tasks over six corpora; the all-inclusive rule needs their number of classes."""
    sizes = {name.removeprefix("emo_superb_"): len(set(load_dataset(name).label_map.values())) for name in PARTITIONS}
    assert sizes == {
        "iemocap": 9,
        "crema_d": 6,
        "msp_improv": 4,
        "msp_improv_secondary": 10,
        "msp_podcast": 8,
        "msp_podcast_secondary": 16,
        "nnime": 11,
        "biic_podcast": 8,
        "biic_podcast_secondary": 16,
    }
