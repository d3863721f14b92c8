"""Attributes and votes of releases, read from trees that are generated in their layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from corpus_trees import emodb_tree, placeholder, tone, write_rows, write_text
from melt_ser.cli.compose import load_dataset
from melt_ser.config import DatasetConfig, Target
from melt_ser.core.errors import InputError
from melt_ser.corpora.load import load_corpus
from melt_ser.corpora.readers import crema_d, emns, emodb, emodb2, iemocap, msp_improv, msp_podcast


def settings(name: str, target: Target | None) -> DatasetConfig:
    return replace(load_dataset(name), target=target)


EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 3.0000, 2.0000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral; Sadness;\t()
C-E4:\tFrustration;\t()
C-F1:\tAnger;\t()
A-E3:\tval 3; act 2; dom  2;\t()
A-F1:\tval 5; act 5; dom 5;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M000\txxx\t[3.0000, 2.0000, 2.5000]
C-E2:\tHappiness;\t()
C-E4:\tOther;\t(curious)
"""


@pytest.fixture
def iemocap_root(tmp_path: Path) -> Path:
    for turn in ("F000", "M000"):
        tone(tmp_path / f"Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_{turn}.wav")
    write_text(tmp_path / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt", EVALUATION)
    return tmp_path


def test_iemocap_gives_the_evaluators_votes_and_the_means(iemocap_root: Path) -> None:
    ratings = iemocap.read(iemocap_root, settings("iemocap", Target.distribution)).ratings
    assert ratings is not None
    assert ratings.votes.loc["Ses01F_impro01_F000"].to_dict() == {"fru": 1, "hap": 0, "neu": 1.5, "oth": 0, "sad": 0.5}
    assert ratings.votes.loc["Ses01F_impro01_M000"].to_dict() == {"fru": 0, "hap": 1, "neu": 0, "oth": 1, "sad": 0}
    assert ratings.attributes.loc["Ses01F_impro01_F000"].to_dict() == dict(valence=2.5, arousal=3.0, dominance=2.0)
    assert ratings.scales["arousal"] == (1.0, 5.0)
    said = ratings.single.set_index(["utterance", "rater"]).loc[("Ses01F_impro01_F000", "E3")]
    assert (said["label"], said["valence"], said["arousal"]) == ("neu", 3.0, 2.0)
    assert set(ratings.single["rater"]) == {"E2", "E3", "E4"}  # not the actors themselves


def test_iemocap_learns_turns_without_agreement_by_their_votes(iemocap_root: Path) -> None:
    config = settings("iemocap", Target.distribution)
    config.root = str(iemocap_root)
    corpus = load_corpus(config)
    assert corpus.table.set_index("utterance")["votes happy"].to_dict() == dict(
        Ses01F_impro01_F000=0.0, Ses01F_impro01_M000=1.0
    )
    assert corpus.table["emotion"].tolist() == ["neutral", None]


def test_values_outside_the_scale_of_a_release_are_kept_and_noted(iemocap_root: Path) -> None:
    text = EVALUATION.replace("[2.5000, 3.0000, 2.0000]", "[5.5000, 3.0000, 0.5000]")
    write_text(iemocap_root / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt", text)
    config = settings("iemocap", Target.attributes)
    config.root = str(iemocap_root)
    corpus = load_corpus(config)
    assert corpus.table["attribute valence"].tolist() == [5.5, 3.0]
    assert "valence keeps 1 value outside its scale, 1 to 5" in corpus.notes


def test_a_class_corpus_reads_no_ratings(iemocap_root: Path) -> None:
    assert iemocap.read(iemocap_root, settings("iemocap", None)).ratings is None


PODCAST = ["FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set"]


@pytest.mark.parametrize("form", ["one column", "columns"])
def test_msp_podcast_gives_the_workers_ratings(tmp_path: Path, form: str) -> None:
    for name in ("0001_0008", "0001_0019"):
        placeholder(tmp_path / f"Audios/MSP-PODCAST_{name}.wav")
    rows = [
        ["MSP-PODCAST_0001_0008.wav", "N", "3.5", "4.5", "4.0", "12", "Male", "Train"],
        ["MSP-PODCAST_0001_0019.wav", "X", "5.0", "2.0", "6.0", "12", "Male", "Train"],
    ]
    write_rows(tmp_path / "Labels/labels_consensus.csv", PODCAST, rows)
    first, second = "MSP-PODCAST_0001_0008.wav", "MSP-PODCAST_0001_0019.wav"
    if form == "one column":
        columns = ["FileName", "EmoDetail"]
        detailed = [
            [first, "WORKER01; Neutral; Neutral,Concerned; A:3.000000; V:4.000000; D:4.000000;"],
            [first, "WORKER02; Happy; Happy; A:4.000000; V:5.000000; D:4.000000;"],
            [second, "WORKER01; Other-bitter; Annoyed; A:5.000000; V:2.000000; D:6.000000;"],
            [second, "no rating"],
        ]
    else:
        columns = ["FileName", "Workers", "EmoClass_Major", "EmoClass_Second", "EmoAct", "EmoVal", "EmoDom"]
        detailed = [
            [first, "WORKER01", "Neutral", "Neutral,Concerned", "3", "4", "4"],
            [first, "WORKER02", "Happy", "Happy", "4", "5", "4"],
            [second, "WORKER01", "Other-bitter", "Annoyed", "5", "2", "6"],
            [second, "", "", "", "", "", ""],
        ]
    write_rows(tmp_path / "Labels/labels_detailed.csv", columns, detailed)
    release = msp_podcast.read(tmp_path, settings("msp_podcast", Target.distribution))
    ratings = release.ratings
    assert ratings is not None and ratings.scales["valence"] == (1.0, 7.0)
    assert ratings.votes.loc["MSP-PODCAST_0001_0008"].to_dict() == {"H": 1.0, "N": 1.0, "O": 0.0}
    assert ratings.votes.loc["MSP-PODCAST_0001_0019"].to_dict() == {"H": 0.0, "N": 0.0, "O": 1.0}
    assert ratings.attributes.loc["MSP-PODCAST_0001_0008"].to_dict() == dict(arousal=3.5, valence=4.5, dominance=4.0)
    assert "1 rows of labels_detailed.csv are no rating of a worker" in release.notes


def test_msp_improv_gives_the_evaluators_ratings(tmp_path: Path) -> None:
    """Its activation is 1 for the most active, so that arousal is 6 minus it, of the means and of each evaluator."""
    placeholder(tmp_path / "session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav")
    lines = [
        "UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.5; V:3.0; D:3.5; N:4.0;",
        "A1B2; Neutral; Neutral; A:2.000000; V:3.000000; D:3.000000; N:4.000000;",
        "C3D4; Angry; Angry,Annoyed; A:3.000000; V:3.000000; D:4.000000; N:4.000000;",
    ]
    write_text(tmp_path / "Evaluation.txt", "\n".join(lines))
    ratings = msp_improv.read(tmp_path, settings("msp_improv", Target.attributes)).ratings
    assert ratings is not None and ratings.scales["arousal"] == (1.0, 5.0)
    assert ratings.votes.iloc[0].to_dict() == {"A": 1.0, "N": 1.0}
    assert ratings.attributes.iloc[0].to_dict() == dict(arousal=3.5, valence=3.0, dominance=3.5)
    assert ratings.single["arousal"].tolist() == [4.0, 3.0]
    write_text(tmp_path / "Evaluation.txt", lines[0])
    without_evaluators = msp_improv.read(tmp_path, settings("msp_improv", Target.attributes)).ratings
    assert without_evaluators is not None and without_evaluators.attributes["arousal"].tolist() == [3.5]


VOTES = ["", *"ADFHNS", "fileName", "numResponses", "agreement", "emoVote", "meanEmoResp"]


def test_crema_d_gives_the_votes_of_the_voice_alone(tmp_path: Path) -> None:
    placeholder(tmp_path / "AudioWAV/1001_DFA_ANG_XX.wav")
    rows = [
        ["100001", *"700120", "1001_DFA_ANG_XX", "10", "0.7", "A", "61.5"],
        ["200001", *"000080", "1001_DFA_ANG_XX", "8", "1.0", "N", "50"],  # the face alone
    ]
    write_rows(tmp_path / "processedResults/tabulatedVotes.csv", VOTES, rows)
    release = crema_d.read(tmp_path, settings("crema_d", Target.distribution))
    assert release.ratings is not None
    expected = {"ANG": 7.0, "DIS": 0.0, "FEA": 0.0, "HAP": 1.0, "NEU": 2.0, "SAD": 0.0}
    assert release.ratings.votes.loc["1001_DFA_ANG_XX"].to_dict() == expected
    assert release.ratings.attributes.loc["1001_DFA_ANG_XX", "intensity"] == 61.5
    write_text(tmp_path / "processedResults/tabulatedVotes.csv", "version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="it is a pointer of git lfs"):
        crema_d.read(tmp_path, settings("crema_d", Target.distribution))
    assert crema_d.read(tmp_path, settings("crema_d", None)).ratings is None


def test_a_table_with_labels_reads_attributes_only_if_they_are_asked_for(tmp_path: Path) -> None:
    """A column arousal with words stopped no run before there were targets."""
    from melt_ser.corpora.readers.csv import read

    placeholder(tmp_path / "a.wav")
    pd.DataFrame({"audio": ["a.wav"], "label": ["sad"], "arousal": ["low"]}).to_csv(tmp_path / "t.csv", index=False)
    config = replace(load_dataset("csv"), table="t.csv")
    assert read(tmp_path, config).ratings is None
    with pytest.raises(InputError, match="row 1: the arousal 'low' is no number"):
        read(tmp_path, replace(config, target=Target.several))


def test_emodb_gives_the_shares_of_its_listeners(shared_data: Path, tmp_path: Path) -> None:
    """Of the released table: every clip of the first release was recognised by 80 % or more."""
    config = replace(settings("emodb", Target.attributes), root=str(shared_data / "emodb"))
    corpus = load_corpus(config)
    table = corpus.table.set_index("utterance")
    assert table.loc["03a01Fa", ["attribute recognised", "attribute natural"]].tolist() == [0.9, 0.75]
    assert len(table) == 535 and table["attribute recognised"].min() == 0.8
    assert corpus.ratings is not None and corpus.ratings.scales["natural"] == (0.0, 1.0)
    assert "recognised and natural are shares of the listeners, of erkennung.txt" in corpus.notes
    assert load_corpus(replace(config, target=None)).ratings is None
    write_text(tmp_path / "erkennung.txt", "Nr.\tSatz\terkannt\tnatuerlich\n1\t03a01Fa.wav\tviel\t75,00\n")
    placeholder(tmp_path / "wav/03a01Fa.wav")
    with pytest.raises(InputError, match=r"erkennung\.txt, row 1: the recognised 'viel' is no number"):
        emodb.read(tmp_path, config)
    write_text(tmp_path / "erkennung.txt", "a table of something else\n")
    with pytest.raises(InputError, match=r"erkennung\.txt is not the released table of the listeners"):
        emodb.read(tmp_path, config)


def test_emodb_2_gives_who_recognised_a_clip_and_not_the_naturalness_that_is_set_by_position(tmp_path: Path) -> None:
    stems = emodb_tree(tmp_path, placeholder)
    columns = ["file", "emotion", "emotion.confidence", "emotion.naturalness"]
    write_rows(tmp_path / "db.emotion.csv", columns, [[f"wav/{stem}.wav", "anger", "0.45", "0.9"] for stem in stems])
    write_rows(tmp_path / emodb.ADDED, columns, [[f"wav/{stems[0]}.wav", "anger", "0.45", "0.9"]])
    ratings = emodb2.read(tmp_path, settings("emodb2", Target.several)).ratings
    assert ratings is not None and list(ratings.attributes) == ["recognised"] and ratings.votes.empty
    assert ratings.attributes.loc[stems[0], "recognised"] == 0.45
    write_rows(tmp_path / "db.emotion.csv", columns[:2], [[f"wav/{stem}.wav", "anger"] for stem in stems])
    with pytest.raises(InputError, match=r"db\.emotion\.csv lacks the column emotion\.confidence"):
        emodb2.read(tmp_path, settings("emodb2", Target.several))


def test_emns_gives_the_level_as_intensity(tmp_path: Path) -> None:
    text = "utterance|emotion|gender|level|audio_recording\n"
    for number, level in enumerate(("7", "0", "")):
        placeholder(tmp_path / f"cleaned_webm/recorded_audio_{number}.webm")
        text += f"Hello.|Sad|Female|{level}|wavs/recorded_audio_{number}.webm\n"
    write_text(tmp_path / "metadata.csv", text)
    ratings = emns.read(tmp_path, settings("emns", Target.attributes)).ratings
    assert ratings is not None and ratings.scales == {"intensity": (0.0, 10.0)}
    assert ratings.attributes["intensity"].fillna(-1).tolist() == [7.0, 0.0, -1.0]
    assert emns.read(tmp_path, settings("emns", None)).ratings is None
    write_text(tmp_path / "metadata.csv", text.replace("|7|", "|high|"))
    with pytest.raises(InputError, match=r"metadata\.csv, row 1: the level 'high' is no number"):
        emns.read(tmp_path, settings("emns", Target.attributes))
