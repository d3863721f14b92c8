"""The judgement that a model learns (`dataset.target`): which rows of a corpus have it, and its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from melt_ser.config import DatasetConfig, Target
from melt_ser.core.errors import InputError
from melt_ser.corpora.labels import LabelSpace
from melt_ser.corpora.ratings import ATTRIBUTE, VOTES, Ratings

WITH_ATTRIBUTES = (Target.attributes, Target.several)
"""The targets that have a scale for each attribute."""

WITHOUT = {Target.distribution: "no vote for one of the classes", Target.attributes: "no attribute"}
"""The targets that need no label, and the reason why a row is left out with each."""


def target_of(config: DatasetConfig, table: pd.DataFrame, ratings: Ratings | None) -> Target:
    """Return `dataset.target`, or without it the one that the corpus has: classes, attributes or votes."""
    if config.target is not None:
        return Target(config.target)
    if (table["label"] != "").any() or ratings is None or ratings.is_empty:
        return Target.label
    return Target.distribution if ratings.attributes.empty else Target.attributes


def check_target(target: Target, table: pd.DataFrame, corpus: str) -> None:
    """Raise InputError if a corpus lacks labels or ratings that a target needs."""
    if target in WITH_ATTRIBUTES and not _columns(table, ATTRIBUTE):
        raise InputError(
            f"'{corpus}' has no attributes, which dataset.target={target.value} needs; give columns such as arousal, "
            f"or name them with +dataset.attributes.<name>=[lowest,highest]."
        )
    if target is Target.distribution and not voted_emotions(table):
        raise InputError(
            f"'{corpus}' has no votes, which dataset.target=distribution needs; give a table of single ratings "
            f"(dataset.raters), or columns of votes (+dataset.votes.<label>=<column>)."
        )


def with_classes(table: pd.DataFrame, target: Target, space: LabelSpace) -> tuple[pd.DataFrame, Counter[str]]:
    """Return the rows that have a target other than a label, with the column `class`, and counts of the others.

    The class of a distribution is the first of the most voted classes. If attributes alone are the target, `class` is
    "".
    """
    if target is Target.distribution:
        shares = shares_of(table, space, list(space.classes))
        voted = shares.sum(axis=1) > 0
        names = np.array(list(space.classes), dtype=object)[shares.argmax(axis=1)]
    else:
        voted = (~np.isnan(attributes_of(table, attribute_names(table)))).any(axis=1)
        names = np.full(len(table), "", dtype=object)
    left_out = Counter({WITHOUT[target]: int((~voted).sum())})
    return table.assign(**{"class": names})[voted], +left_out


def shares_of(table: pd.DataFrame, space: LabelSpace, classes: Sequence[str]) -> np.ndarray:
    """Return the shares of the classes among the votes of each row, (rows, classes); a row without votes has zeros.

    Votes for other emotions do not count.
    """
    counts = np.zeros((len(table), len(classes)))
    for position, name in enumerate(classes):
        for emotion in space.classes[name]:
            if VOTES + emotion in table:
                counts[:, position] += table[VOTES + emotion].to_numpy(dtype="float64")
    totals = counts.sum(axis=1, keepdims=True)
    shares: np.ndarray = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    return shares


def voted_emotions(table: pd.DataFrame) -> list[str]:
    """Return the emotions that have a vote."""
    return [column.removeprefix(VOTES) for column in _columns(table, VOTES) if table[column].sum() > 0]


def attribute_names(table: pd.DataFrame) -> list[str]:
    """Return the attributes of a corpus table."""
    return [column.removeprefix(ATTRIBUTE) for column in _columns(table, ATTRIBUTE)]


def attributes_of(table: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Return the attributes of each row, (rows, attributes), on the scale of the corpus; NaN if one is not known."""
    if not names:
        return np.zeros((len(table), 0))
    values: np.ndarray = table[[ATTRIBUTE + name for name in names]].to_numpy(dtype="float64")
    return values


def _columns(table: pd.DataFrame, start: str) -> list[str]:
    return [column for column in map(str, table) if column.startswith(start)]
