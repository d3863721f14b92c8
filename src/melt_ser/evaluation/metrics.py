"""Recognition metrics, each defined once, from an integer confusion matrix.

A confusion matrix here is square over ONE list of classes: rows are references, columns predictions. The list holds
every class that either side may use, so a prediction outside the corpus's own classes is a column with an empty row.

A class *occurs* if its row is not empty. Libraries disagree about averages if a class does not occur. Here, averages
over classes always run over the classes that occur, and a prediction of any other class is an error of its reference
class.

Every metric also takes a stack of matrices, (..., classes, classes), so the bootstrap in `statistics` uses the same
definitions. All values are fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from melt_ser.core.errors import InputError

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def class_indices(labels: Sequence[str] | pd.Series, classes: Sequence[str], role: str) -> Integers:
    """Return the positions of `labels` in `classes`, (utterances,); `role` names the labels in an error.

    Raises InputError if `classes` has a class twice or lacks a label.
    """
    index = pd.Index(list(classes), dtype=object)
    if not index.is_unique:
        raise InputError(f"The classes {list(classes)} name one class twice; list each class once.")
    indices = np.asarray(index.get_indexer(pd.Index(list(labels), dtype=object)), dtype=np.int64)
    unknown = np.flatnonzero(indices < 0)
    if unknown.size:
        label = list(labels)[int(unknown[0])]
        raise InputError(
            f"{unknown.size} {role} label(s) are not among the classes {list(classes)}, the first is {label!r} "
            f"in row {int(unknown[0])}; map or leave out such utterances before scoring."
        )
    return indices


def confusion_matrix(
    reference: Sequence[str] | pd.Series, prediction: Sequence[str] | pd.Series, classes: Sequence[str]
) -> Integers:
    """Count utterances, (classes, classes): rows are references, columns predictions, in the order of `classes`.

    Raises InputError if there is no utterance, the lengths differ, or a label is not in `classes`.
    """
    if len(reference) != len(prediction):
        raise InputError(
            f"There are {len(reference)} references but {len(prediction)} predictions; give each utterance both."
        )
    if len(reference) == 0:
        raise InputError("There are no utterances to score; check the split and the label map.")
    rows = class_indices(reference, classes, "reference")
    columns = class_indices(prediction, classes, "predicted")
    size = len(classes)
    return np.bincount(rows * size + columns, minlength=size * size).reshape(size, size).astype(np.int64)


def recall(confusion: Integers) -> Floats:
    """Return the recall of each class, (..., classes); NaN for a class that does not occur."""
    return quotient(_hits(confusion), _support(confusion))


def f1(confusion: Integers) -> Floats:
    """Return the F1 of each class, (..., classes); 0 if it is never predicted, NaN if it does not occur."""
    return f1_of_counts(_hits(confusion), confusion.sum(axis=-2), _support(confusion))


def f1_of_counts(hits: Integers | Floats, answers: Integers | Floats, support: Integers | Floats) -> Floats:
    """Return the F1 of each class, (..., classes), from its right answers, its answers and its references."""
    return np.where(support > 0, quotient(2 * hits, support + answers), np.nan)


def unweighted_accuracy(confusion: Integers) -> Floats:
    """Return UA, (...): the mean recall over the classes that occur (unweighted average recall, balanced accuracy)."""
    return mean_recall(_hits(confusion), _support(confusion))


def mean_recall(hits: Integers, support: Integers) -> Floats:
    """Return UA, (...), from the right answers and the utterances of each class, (..., classes)."""
    return mean_over_occurring(quotient(hits, np.broadcast_to(support, hits.shape)))


def weighted_accuracy(confusion: Integers) -> Floats:
    """Return WA, (...): the share of utterances predicted right (accuracy, recall weighted by support)."""
    return quotient(_hits(confusion).sum(axis=-1), confusion.sum(axis=(-2, -1)))


def macro_f1(confusion: Integers) -> Floats:
    """Return the mean F1 over the classes that occur, (...)."""
    return mean_over_occurring(f1(confusion))


def weighted_f1(confusion: Integers) -> Floats:
    """Return the mean F1 weighted by the support of each class, (...)."""
    support = _support(confusion)
    return quotient(np.nansum(f1(confusion) * support, axis=-1), support.sum(axis=-1))


def _hits(confusion: Integers) -> Integers:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _support(confusion: Integers) -> Integers:
    return np.asarray(confusion.sum(axis=-1), dtype=np.int64)


def quotient(numerator: npt.NDArray[np.generic], denominator: npt.NDArray[np.generic]) -> Floats:
    """Return the quotient as float64; NaN if the denominator is 0."""
    result = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)
    return result


def mean_over_occurring(values: Floats) -> Floats:
    """Return the mean over the last axis without NaN; NaN for a matrix without any utterance."""
    occurs = ~np.isnan(values)
    return quotient(np.where(occurs, values, 0.0).sum(axis=-1), occurs.sum(axis=-1))


def percent(fraction: float) -> str:
    """Return a fraction as people read it: per cent with one decimal.

    >>> percent(0.6875)
    '68.8'
    """
    return f"{100 * fraction:.1f}"


def p_text(p: float) -> str:
    """Return a p-value as a table shows it; a test of some thousand resamples cannot tell a smaller one from 0.

    >>> p_text(0.0312), p_text(0.0002)
    ('0.031', '< 0.001')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


@dataclass(frozen=True)
class Metric:
    """A metric of a confusion matrix, and its treatment in results and reports.

    Args:
        function: from confusion matrices, (..., classes, classes), to values, (...).
        label: the name of its column in tables.
        has_interval: whether the bootstrap of `statistics` gives it a 95 % interval.
        in_tables: whether tables for people show it; `result.json` and CSV have every metric.
        shows_interval: whether the narrow table of the terminal shows its interval too.
        required: whether every result has it, even of schema version 1.
        show: returns the text of a value in a table.
    """

    function: Callable[[Integers], Floats]
    label: str
    has_interval: bool = True
    in_tables: bool = True
    shows_interval: bool = False
    required: bool = False
    show: Callable[[float], str] = percent


# Every metric of a result, in the order of the tables; the first one ranks systems. A new metric needs one entry here.
METRICS: dict[str, Metric] = {
    "ua": Metric(unweighted_accuracy, "UA", shows_interval=True, required=True),
    "wa": Metric(weighted_accuracy, "WA", shows_interval=True, required=True),
    "macro_f1": Metric(macro_f1, "macro-F1", required=True),
    "weighted_f1": Metric(weighted_f1, "weighted F1", has_interval=False, in_tables=False, required=True),
}


def table_metrics() -> dict[str, Metric]:
    """Return the metrics that tables for people show."""
    return {name: metric for name, metric in METRICS.items() if metric.in_tables}
