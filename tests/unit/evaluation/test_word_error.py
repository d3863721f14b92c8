"""The word error rate against counts by hand."""

from __future__ import annotations

import pytest

from melt_ser.evaluation.word_error import WordErrors, word_errors

pytest.importorskip("jiwer")


def test_word_errors_are_those_of_all_utterances_with_a_transcript() -> None:
    said = ["The keys are on the table.", "She will come", "", "Oh!"]
    heard = ["the key is on table", "she will come on Monday", "not said", ""]
    errors = word_errors(said, heard)
    assert errors == WordErrors(utterances=3, words=10, substitutions=2, deletions=2, insertions=2)
    assert errors.rate == 0.6


def test_word_errors_case_and_punctuation_do_not_count() -> None:
    errors = word_errors(["Don't, PLEASE!"], ["don't please"])
    assert errors is not None
    assert errors.rate == 0.0


def test_word_errors_without_a_transcript_there_are_none() -> None:
    assert word_errors(["", "…"], ["a", "b"]) is None
