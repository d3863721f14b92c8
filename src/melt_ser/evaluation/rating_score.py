"""The type of a row of `ratings` in `result.json`, and the fields that it shares with the rows of classes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

INTERVAL_MARKS = {
    "ˢ": "over speakers",
    "ᵘ": "over utterances, taken as independent",
    "¹": "over the utterances of one speaker, says nothing about others",
}

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
        """Return the one of INTERVAL_MARKS that names the unit of the intervals."""
        return "ˢ" if self.ci_unit == "speaker" else "ᵘ"
