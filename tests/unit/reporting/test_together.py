"""Speech and text together: which answers are combined, and which are refused with a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from melt_ser.reporting import together
from melt_ser.reporting.together import speech_and_text_together


class Score:
    """A system's score, as far as pairs are made of it."""

    def __init__(
        self,
        family: str,
        tables: list[pd.DataFrame],
        fold: str | None = None,
        corpus: str = "c",
        text: str | None = None,
        trainer: str = "probe",
    ) -> None:
        backbone = {"name": f"{family} {text}", "family": family, "checkpoint": f"hub/{family}", "text": text}
        config = {"backbone": backbone, "trainer": {"name": trainer}}
        result = type("Result", (), {"config": config, "train": type("Train", (), {"folds": [None]})})
        self.system, self.answer_set, self.train, self.corpus, self.fold = family, "closed = open", corpus, corpus, fold
        self.runs = [type("Run", (), {"result": result, "folder": Path("nowhere") / family})] * len(tables)
        row = {"split": "test", "classes": ["angry", "sad"], "fold": fold, "models": 1}
        self.rows = [type("Row", (), row)] * len(tables)
        self.summary = type("Summary", (), {"over": None, "count": 1})
        self.is_over_own_folds = False
        self.tables = tables


def answers(angry: dict[str, float], references: str = "as") -> pd.DataFrame:
    """Return predictions, from the probability of anger of each utterance; the references begin with a or s."""
    names = {"a": "angry", "s": "sad"}
    rows = [
        {"utterance": name, "group": name, "reference": names[reference], "angry": share, "sad": 1 - share}
        for (name, share), reference in zip(angry.items(), references * len(angry), strict=False)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(autouse=True)
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "answers_of", lambda score: score.tables)


def combined(*scores: Score) -> together.Together:
    return speech_and_text_together(scores)  # type: ignore[arg-type]


HEARD = answers({"1": 0.9, "2": 0.6, "3": 0.2, "4": 0.1})  # right, wrong, wrong, right
READ = answers({"4": 0.4, "3": 0.9, "2": 0.1}, "sas")  # another order, without the first: all right


def test_the_mean_of_the_probabilities_is_scored_on_the_utterances_that_both_answered() -> None:
    [pair] = combined(Score("wavlm", [HEARD]), Score("text", [READ])).pairs
    assert (pair.over_speech.n, pair.weight) == (3, "0.5")
    assert pair.uas == (0.25, 1.0, 1.0)  # speech: none of one angry, one of two sad clips
    assert (pair.over_speech.difference, pair.over_text.difference) == (0.75, 0.0)


def test_one_seed_goes_with_each_of_the_other_and_other_numbers_are_refused() -> None:
    [pair] = combined(Score("wavlm", [HEARD, HEARD]), Score("text", [READ])).pairs
    assert pair.uas == (0.25, 1.0, 1.0)
    found = combined(Score("wavlm", [HEARD] * 3), Score("text", [READ] * 2))
    assert (len(found.pairs), found.notes) == (
        0,
        [
            "wavlm and text on c are not combined: they have 2 and 3 tables of answers, one for each seed and model; "
            "give both the same seeds."
        ],
    )


def test_folds_that_were_run_one_by_one_are_combined_over_the_speakers_of_all() -> None:
    def folds(table: pd.DataFrame) -> list[pd.DataFrame]:
        speakers = table["utterance"].map({"1": "a", "2": "b", "3": "a", "4": "b"})
        return [of_fold for _, of_fold in table.assign(group=speakers).groupby("group")]

    read = answers({"1": 0.9, "2": 0.1, "3": 0.9, "4": 0.4}, "asas")
    found = combined(Score("wavlm", folds(HEARD)), Score("text", folds(read)))
    assert not any("not combined" in note for note in found.notes)
    [pair] = found.pairs
    assert (pair.over_speech.n, pair.over_speech.units, pair.over_speech.unit) == (4, 2, "speaker")


def test_a_run_of_joined_vectors_stands_beside_the_pair_that_it_joins() -> None:
    joined = Score("wavlm", [answers({"4": 0.4, "3": 0.1, "2": 0.1, "1": 0.9}, "sasa")], text="hub/text")
    half, both = combined(Score("wavlm", [HEARD]), Score("text", [READ]), joined).pairs
    assert (half.weight, both.weight) == ("0.5", "joined vectors")
    assert both.uas == (0.25, 1.0, 0.5)  # not of the angry clip, but of both sad ones
    assert both.over_speech.difference == pytest.approx(0.25)
    for stranger in (
        Score("wavlm", [HEARD], text="hub/other"),
        Score("hubert", [HEARD], text="hub/text"),
        Score("wavlm", [HEARD], text="hub/text", trainer="frozen"),
    ):
        assert len(combined(Score("wavlm", [HEARD]), Score("text", [READ]), stranger).pairs) == 1


def test_joined_vectors_of_several_seeds_and_of_fewer_utterances() -> None:
    pair = Score("wavlm", [HEARD]), Score("text", [READ])
    half, both = combined(*pair, Score("wavlm", [HEARD, HEARD], text="hub/text")).pairs
    assert (half.uas, both.uas) == ((0.25, 1.0, 1.0), (0.25, 1.0, 0.25))
    found = combined(*pair, Score("wavlm", [READ[:2]], text="hub/text"))
    assert found.notes[0].endswith("not combined: the run of joined vectors was tested on fewer utterances.")


def test_other_labels_and_other_utterances_are_told_and_other_tests_are_no_pair() -> None:
    other_labels = READ.assign(reference="sad")
    found = combined(Score("wavlm", [HEARD]), Score("text", [other_labels]))
    assert found.notes == ["wavlm and text on c are not combined: they were tested against other labels."]
    found = combined(Score("wavlm", [HEARD]), Score("text", [answers({"9": 0.1})]))
    assert found.notes == ["wavlm and text on c are not combined: they were tested on no utterance in common."]
    alone = combined(Score("wavlm", [HEARD]), Score("text", [READ], corpus="d"), Score("hubert", [HEARD]))
    assert (alone.pairs, alone.notes) == ([], [])


def test_the_answers_of_each_system_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(together, "answers_of", lambda score: read.append(score.system) or score.tables)
    found = combined(*(Score(family, [HEARD]) for family in ("wavlm", "hubert")), Score("text", [READ]))
    assert len(found.pairs) == 2 and sorted(read) == ["hubert", "text", "wavlm"]


def test_a_p_that_no_resampling_tells_from_zero_is_no_zero() -> None:
    [pair] = combined(Score("wavlm", [HEARD]), Score("text", [READ])).pairs
    cells = dict(zip(together.COLUMNS, replace(pair, p=(0.0312, 0.0)).cells, strict=True))
    assert (cells["p"], cells["p (text)"]) == ("0.031", "< 0.001")
    assert "can differ from the p of the same two systems elsewhere" in together.MEANING


def test_p_is_that_of_both_gains_corrected_together() -> None:
    [pair] = combined(Score("wavlm", [HEARD]), Score("text", [READ])).pairs
    raw = pair.over_speech.bootstrap_p, pair.over_text.bootstrap_p
    assert pair.p == tuple(together.holm(raw))
