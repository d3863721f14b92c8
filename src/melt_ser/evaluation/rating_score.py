"""The type of a row of `ratings` in `result.json`, and the fields that it shares with the rows of classes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

ONE_SPEAKER = "All utterances are of one speaker: the intervals say nothing about other speakers."  # an interval_note
INTERVAL_MARKS = {
    "ˢ": "over speakers",
    "ᵘ": "over utterances, taken as independent",
    "¹": "over the utterances of one speaker, says nothing about others",
}


def interval_mark(unit: str, note: str) -> str:
    """Return the one of INTERVAL_MARKS that says what intervals with this `ci_unit` and `interval_note` are over."""
    if unit == "speaker":
        return "ˢ"
    return "¹" if ONE_SPEAKER in note else "ᵘ"


Interval = Annotated[list[float], Meta(min_length=2, max_length=2)]  # [low, high]
Fold = int | str | None  # a number, one of POOLED, MEAN and ENSEMBLE of results.py, or None: the release's own split


class RatingScore(Struct, kw_only=True):
    """A row of `ratings`: the scores of an attribute, of the mean over the attributes, or of a distribution of votes.

    The metrics are those of `rating_metrics.py`; one that is not defined is None. The other fields are as in `evals`.
    """

    corpus: str
    split: str
    fold: Fold
    of: str  # the attribute, "mean" or "distribution"; of one rater also "class"
    n: int
    values: dict[str, float | None]
    ci95: dict[str, Interval | None] = {}
    ci_unit: str = "utterance"
    interval_note: str = ""
    models: int = 1
    spread: dict[str, float] = {}
    scale: Interval | None = None  # of the attribute in the corpus
    dropped: dict[str, int] = {}
    overlap: int = 0
    digest: str = ""
    precision: str = "fp32"
    predictions: str = ""
    warnings: list[str] = []

    @property
    def interval_mark(self) -> str:
        """Return the one of INTERVAL_MARKS that says what the intervals are over."""
        return interval_mark(self.ci_unit, self.interval_note)
