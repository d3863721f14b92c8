"""How far two label sources agree: overall, by class, where labels move to, and by speaker, season and length.

A label outside the set is a category of its own in all that is "as given", so that it counts as the disagreement that
it is, and no label is made into another; "within the set" leaves its utterances out. Joy and JOY are one label.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.evaluation.metrics import Floats, Integers, class_indices, confusion_matrix, f1, weighted_accuracy
from melt_ser.evaluation.slices import MOST_VALUES
from melt_ser.evaluation.statistics import RESAMPLES, count_per_unit, interval, resample, resampling_units
from melt_ser.label_study.label_pairs import LabelPairs
from melt_ser.label_study.reliability import cohens_kappa, coincidences_of_pairs, krippendorffs_alpha

SCHEMA_VERSION = 1
LABELS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")  # of MELD and MELT
MOST_OUTSIDE = 50  # different labels outside the set; beyond that a column holds something else
LENGTH = "length"  # in words
LENGTHS = {"up to 5 words": 5, "6 to 10 words": 10, "11 to 20 words": 20, "over 20 words": np.inf}
BY = ("speaker", "season", LENGTH)

Measure = Callable[[Integers], Floats]
MEASURES: dict[str, Measure] = {
    "changed": lambda confusion: 1 - weighted_accuracy(confusion),
    "kappa": cohens_kappa,
    "alpha": lambda confusion: krippendorffs_alpha(coincidences_of_pairs(confusion)),
}
Agreement = dict[str, Any]


def agreement(
    pairs: LabelPairs,
    labels: Sequence[str] = LABELS,
    by: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """All that is said of the pairs, as JSON has it; fractions in 0..1, None where a value is not defined.

    Intervals are by bootstrap over speakers where all are known, else over utterances (see `evaluation.statistics`).
    `by` are columns of the table or "length"; None takes those of `BY` that there are. Raises InputError where no
    utterance has two labels of the set or a column holds too many labels beyond it; SetupError for an unknown column.
    """
    spelled = {label.casefold(): label for label in labels}
    if len(spelled) < max(2, len(labels)):
        raise SetupError(f"The label set needs two or more different labels, not: {', '.join(labels)}.")
    sides = {side: _in_one_spelling(pairs.table[side], spelled) for side in ("first", "second")}
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
    return {
        "schema_version": SCHEMA_VERSION,
        "first": pairs.names[0],
        "second": pairs.names[1],
        "labels": list(labels),
        "n": len(table),
        "left_out": pairs.left_out,
        "outside": {side: {str(name): int(count) for name, count in outside[side].items()} for side in outside},
        "as_given": _measured(table, categories, **draw),
        "within": _measured(within, list(labels), **draw),
        "classes": _classes(within, list(labels), **draw),
        "categories": categories,
        "confusion": confusion.tolist(),
        "shift": (confusion - confusion.T).tolist(),
        "slices": list(_slices(table, categories, _chosen(table, by), **draw)),
    }


def _in_one_spelling(given: pd.Series, spelled: Mapping[str, str]) -> pd.Series:
    """Labels as the set writes them, whatever their case; those outside it in lower case."""
    return given.map(lambda label: spelled.get(label.casefold(), label.casefold())).astype("str")


def _measured(table: pd.DataFrame, categories: list[str], resamples: int, seed: int) -> dict[str, Any]:
    """`MEASURES` of these pairs with their intervals, their number and what was resampled."""
    whole, drawn, units = _resampled(table, categories, resamples, seed)
    found: dict[str, Any] = {"n": len(table), "ci_unit": units.kind}
    for name, measure in MEASURES.items():
        least = 0.0 if name == "changed" else -1.0
        found |= _with_interval(name, float(measure(whole)), measure(drawn), units, least)
    return found


def _classes(table: pd.DataFrame, labels: list[str], resamples: int, seed: int) -> list[dict[str, Any]]:
    """For each label how often each source gave it and both did, and its F1 (which is the same either way round)."""
    whole, drawn, units = _resampled(table, labels, resamples, seed)
    scores, resampled = f1(whole), f1(drawn)
    return [
        {
            "label": label,
            "first": int(whole[at].sum()),
            "second": int(whole[:, at].sum()),
            "both": int(whole[at, at]),
            **_with_interval("f1", float(scores[at]), resampled[:, at], units, 0.0),
        }
        for at, label in enumerate(labels)
    ]


def _resampled(table: pd.DataFrame, categories: list[str], resamples: int, seed: int) -> tuple[Integers, Integers, Any]:
    """The confusion matrix, those of the resamples, and the units that were resampled."""
    size = len(categories)
    cells = class_indices(table["first"], categories, "first") * size
    cells += class_indices(table["second"], categories, "second")
    units = resampling_units(len(table), table.get("speaker"))
    per_unit = count_per_unit(cells, size * size, units.of_row)
    drawn = resample(per_unit, resamples, seed).reshape(-1, size, size)
    return per_unit.sum(axis=0).reshape(size, size), drawn, units


def _with_interval(name: str, value: float, resampled: Floats, units: Any, least: float) -> dict[str, Any]:
    """`{name, name_ci95}`; resamples in which the value is not defined are left out, as is what has none."""
    defined = resampled[~np.isnan(resampled)]
    if np.isnan(value) or not len(defined):
        return {name: None, f"{name}_ci95": None}
    low, high = interval(value, defined, units)
    return {name: value, f"{name}_ci95": [max(low, least), min(high, 1.0)]}


def _chosen(table: pd.DataFrame, by: Sequence[str] | None) -> dict[str, pd.Series]:
    """The values of each column that divides the table."""
    text = next((table[column] for column in ("text", "utterance") if column in table), None)
    there = {str(column): table[column] for column in table if column not in ("first", "second")}
    if text is not None:
        there[LENGTH] = _lengths(text)
    if by is None:
        return {name: there[name] for name in BY if name in there}
    unknown = [name for name in by if name.lower() not in there]
    if unknown:
        raise SetupError(f"The files have no column '{unknown[0]}'; {did_you_mean(unknown[0], there)}")
    return {name.lower(): there[name.lower()] for name in by}


def _lengths(text: pd.Series) -> pd.Series:
    """Each text's number of words (what blanks part), as a class of length."""
    words = text.map(lambda words: len(words.split()))
    return pd.cut(words, [-1, *LENGTHS.values()], labels=list(LENGTHS)).astype(str)


def _slices(
    table: pd.DataFrame, categories: list[str], columns: dict[str, pd.Series], resamples: int, seed: int
) -> Iterator[dict[str, Any]]:
    """`{by, value, n, ...}` for each value; the value None has whatever has none or is beyond the 200 largest.

    Classes of length and whole numbers are in their order, other values from the largest.
    """
    for name, values in columns.items():
        counts = values[values != ""].value_counts().sort_index(kind="stable")
        kept = counts.sort_values(ascending=False, kind="stable").index[:MOST_VALUES].tolist()
        if name == LENGTH:
            kept = [length for length in LENGTHS if length in kept]
        elif all(re.fullmatch("[0-9]+", value) for value in kept):
            kept = sorted(kept, key=int)
        groups = {value: values == value for value in kept} | {None: ~values.isin(kept)}
        for value, rows in groups.items():
            if rows.any():
                yield {"by": name, "value": value, **_measured(table[rows], categories, resamples, seed)}
