"""Measure how far two label sources agree: overall, by class, by net moves, and by speaker, season and length.

"As given" treats each label outside the set as a category of its own, so that it counts as disagreement and never turns
into another label. "Within the set" leaves out the utterances with such labels. Case does not matter: JOY is joy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.corpora.readers.melt import TAXONOMY
from melt_ser.evaluation.metrics import Floats, Integers, class_indices, confusion_matrix, quotient, weighted_accuracy
from melt_ser.evaluation.slices import MOST_VALUES
from melt_ser.evaluation.statistics import (
    RESAMPLES,
    Units,
    count_per_unit,
    interval,
    resample,
    resampling_units,
    why_none,
)
from melt_ser.label_study.label_pairs import KEYS, NAME, LabelPairs, first_spellings
from melt_ser.label_study.reliability import cohens_kappa, coincidences_of_pairs, krippendorffs_alpha

SCHEMA_VERSION = 1
LABELS = TAXONOMY  # MELD's and MELT's seven emotions
MOST_OUTSIDE = 50  # different labels outside the set; a column with more holds something other than labels
LENGTH = "length"  # in words
LENGTHS = {"up to 5 words": 5, "6 to 10 words": 10, "11 to 20 words": 20, "over 20 words": np.inf}
BY = ("speaker", "season", LENGTH)

Bounds = list[float]  # of a 95 % interval: low, high


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """The agreement of some utterances' labels; None if a value is not defined, or has no interval."""

    n: int  # utterances
    ci_unit: str  # the resampled unit: speaker or utterance
    changed: float | None  # share of utterances with two different labels, 0..1
    changed_ci95: Bounds | None
    kappa: float | None  # Cohen's
    kappa_ci95: Bounds | None
    alpha: float | None  # Krippendorff's, for nominal labels
    alpha_ci95: Bounds | None


class Slice(Measures, frozen=True, kw_only=True):
    """The agreement of the utterances with one value of a column."""

    by: str  # column, or "length"
    value: str | None  # None: no value, or one beyond the 200 most frequent


class ClassAgreement(msgspec.Struct, frozen=True):
    """The utterances with one label, within the set."""

    label: str
    first: int  # by the first source
    second: int  # by the second source
    both: int
    f1: float | None  # 0..1, the same for either source as reference; None if neither gives the label
    f1_ci95: Bounds | None


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """The agreement of two label sources."""

    schema_version: int = SCHEMA_VERSION
    first: str  # name of the first source
    second: str
    labels: list[str]  # the set
    n: int  # utterances with two labels
    left_out: dict[str, int]  # rows, by reason
    outside: dict[str, dict[str, int]]  # for "first" and "second", utterances by label outside the set
    as_given: Measures
    within: Measures
    classes: list[ClassAgreement]
    categories: list[str]  # the set, followed by the labels outside it
    confusion: list[list[int]]  # utterances; rows are the first source's categories, columns the second's
    shift: list[list[int]]  # net moves from the row's category to the column's
    slices: list[Slice]


Measure = Callable[[Integers], Floats]
MEASURES: dict[str, Measure] = {
    "changed": lambda confusion: 1 - weighted_accuracy(confusion),
    "kappa": cohens_kappa,
    "alpha": lambda confusion: krippendorffs_alpha(coincidences_of_pairs(confusion)),
}


def agreement(
    pairs: LabelPairs,
    labels: Sequence[str] | None = None,
    by: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """Return the agreement of pairs of labels.

    Intervals are by bootstrap over speakers if all are known, otherwise over utterances (see `evaluation.statistics`).

    Args:
        pairs: two labels for each utterance.
        labels: the set; None: MELD's seven, or all labels that occur if most of them are others.
        by: columns of the table or "length"; None: the columns of `BY` that the table has.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises InputError if no utterance has two labels of the set or a column has too many labels outside it, SetupError
    for an unknown column or a set of fewer than two labels.
    """
    if labels and len({label.casefold() for label in labels}) < max(2, len(labels)):
        raise SetupError(f"The label set needs two or more different labels, not: {', '.join(labels)}.")
    labels = labels or usual_labels(pairs)
    spelled = {label.casefold(): label for label in labels}
    sides = {side: in_one_spelling(pairs.table[side], spelled) for side in ("first", "second")}
    table = pairs.table.assign(**sides)
    outside = {side: table.loc[~table[side].isin(labels), side].value_counts() for side in ("first", "second")}
    for name, counts in zip(pairs.names, outside.values(), strict=True):
        if len(counts) > MOST_OUTSIDE:
            raise InputError(
                f"{name} has {len(counts)} different labels outside the set, such as '{counts.index[0]}'; "
                f"choose the column with --first-column and --second-column, or the set with --labels."
            )
    within = table[table["first"].isin(labels) & table["second"].isin(labels)]
    if within.empty:
        raise InputError(
            f"No utterance has two labels of the set {', '.join(labels)} (the first: '{table['first'].iloc[0]}' and "
            f"'{table['second'].iloc[0]}'); set --labels, or --first-column and --second-column."
        )
    categories = [*labels, *sorted({*outside["first"].index, *outside["second"].index})]
    draw = {"resamples": resamples, "seed": seed}
    confusion = confusion_matrix(table["first"], table["second"], categories)
    return Agreement(
        first=pairs.names[0],
        second=pairs.names[1],
        labels=list(labels),
        n=len(table),
        left_out=pairs.left_out,
        outside={side: {str(name): int(count) for name, count in outside[side].items()} for side in outside},
        as_given=Measures(**_measured(table, categories, **draw)),
        within=Measures(**_measured(within, list(labels), **draw)),
        classes=_classes(within, list(labels), **draw),
        categories=categories,
        confusion=confusion.tolist(),
        shift=(confusion - confusion.T).tolist(),
        slices=list(_slices(table, categories, _dividing_columns(table, by), **draw)),
    )


def usual_labels(pairs: LabelPairs) -> Sequence[str]:
    """Return MELD's seven emotions, or all labels that occur, in the first spelling, if most of them are others."""
    found = first_spellings([*pairs.table["first"], *pairs.table["second"]])
    few_of_melds = len(found.keys() & set(LABELS)) < len(found) / 2
    return sorted(found.values()) if few_of_melds and len(found) <= MOST_OUTSIDE else LABELS


def in_one_spelling(given: pd.Series, spelled: Mapping[str, str]) -> pd.Series:
    """Return labels as the set writes them, in any case; labels outside the set in lower case."""
    return given.map(lambda label: spelled.get(label.casefold(), label.casefold())).astype("str")


def _measured(table: pd.DataFrame, categories: list[str], resamples: int, seed: int) -> dict[str, Any]:
    """Return the fields of `Measures` for the pairs of a table."""
    whole, drawn, units = _resampled(table, categories, resamples, seed)
    fields: dict[str, Any] = {"n": len(table), "ci_unit": units.kind}
    for name, measure in MEASURES.items():
        least = 0.0 if name == "changed" else -1.0
        fields[name], fields[f"{name}_ci95"] = with_interval(float(measure(whole)), measure(drawn), units, least)
    return fields


def _classes(table: pd.DataFrame, labels: list[str], resamples: int, seed: int) -> list[ClassAgreement]:
    whole, drawn, units = _resampled(table, labels, resamples, seed)
    scores, resampled = _f1(whole), _f1(drawn)
    return [
        ClassAgreement(
            label,
            int(whole[at].sum()),
            int(whole[:, at].sum()),
            int(whole[at, at]),
            *with_interval(float(scores[at]), resampled[:, at], units, 0.0),
        )
        for at, label in enumerate(labels)
    ]


def _f1(confusion: Integers) -> Floats:
    """Return the F1 of each class, (..., classes), which has no side; NaN if neither source gives the label."""
    both = np.diagonal(confusion, axis1=-2, axis2=-1)
    return quotient(2 * both, confusion.sum(axis=-1) + confusion.sum(axis=-2))


def _resampled(
    table: pd.DataFrame, categories: list[str], resamples: int, seed: int
) -> tuple[Integers, Integers, Units]:
    """Return the confusion matrix, those of the resamples, and the resampled units."""
    size = len(categories)
    cells = class_indices(table["first"], categories, "first") * size
    cells += class_indices(table["second"], categories, "second")
    units = resampling_units(len(table), table.get("speaker"))
    per_unit = count_per_unit(cells, size * size, units.of_row)
    drawn = resample(per_unit, resamples, seed).reshape(-1, size, size)
    return per_unit.sum(axis=0).reshape(size, size), drawn, units


def with_interval(
    value: float, resampled: Floats, units: Units, least: float
) -> tuple[float, Bounds | None] | tuple[None, None]:
    """Return a value with its interval, cut at `least` and 1; (None, None) if it is not defined.

    Resamples with an undefined value are left out. There is no interval where results have none
    (`evaluation.statistics.why_none`).
    """
    defined = resampled[~np.isnan(resampled)]
    if np.isnan(value) or not len(defined):
        return None, None
    low, high = interval(value, defined, units)
    if why_none(low, high, float(np.ptp(defined)), units, least):
        return value, None
    return value, [max(low, least), min(high, 1.0)]


def _dividing_columns(table: pd.DataFrame, by: Sequence[str] | None) -> dict[str, pd.Series]:
    """Return the values of each column that divides the table, by its name."""
    texts = ("text", NAME) if set(KEYS) <= set(table) else ("text",)  # MELD's utterance is a text, others' are names
    text = next((table[column] for column in texts if column in table), None)
    available = {str(column): table[column] for column in table if column not in ("first", "second")}
    if text is not None:
        available[LENGTH] = _lengths(text)
    if by is None:
        return {name: available[name] for name in BY if name in available}
    unknown = [name for name in by if name.lower() not in available]
    if unknown:
        raise SetupError(f"The files have no column '{unknown[0]}'; {did_you_mean(unknown[0], available)}")
    return {name.lower(): available[name.lower()] for name in by}


def _lengths(text: pd.Series) -> pd.Series:
    """Return each text's class of length, from its number of words between blanks."""
    words = text.map(lambda words: len(words.split()))
    return pd.cut(words, [-1, *LENGTHS.values()], labels=list(LENGTHS)).astype(str)


def _slices(
    table: pd.DataFrame, categories: list[str], columns: dict[str, pd.Series], resamples: int, seed: int
) -> Iterator[Slice]:
    """Yield the agreement for each value of each column, the rest of its values last.

    Classes of length and whole numbers come in their order, other values from the most frequent.
    """
    for name, values in columns.items():
        counts = values[values != ""].value_counts().sort_index(kind="stable")
        largest = counts.sort_values(ascending=False, kind="stable").index[:MOST_VALUES].tolist()
        if name == LENGTH:
            largest = [length for length in LENGTHS if length in largest]
        elif all(re.fullmatch("[0-9]+", value) for value in largest):
            largest = sorted(largest, key=int)
        groups = {value: values == value for value in largest} | {None: ~values.isin(largest)}
        for value, rows in groups.items():
            if rows.any():
                yield Slice(by=name, value=value, **_measured(table[rows], categories, resamples, seed))
