"""Recognition metrics, each defined once, from an integer confusion matrix.

A confusion matrix here is square over ONE list of classes: rows are references, columns predictions. The list holds
every class that either side may use, so a prediction outside the corpus's own classes is a column whose row is empty.

A class *occurs* when its row is not empty. Libraries disagree about averages when a class does not occur; here it is
always the same: averages over classes run over the classes that occur, and a prediction of any other class is simply
an error of the reference class it was made for.

Every function but `confusion_matrix` also takes a stack of matrices (..., classes, classes), which is how the bootstrap
in `statistics` uses the same definitions. All values are fractions.
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
    """Positions of `labels` in `classes`, (utterances,); `role` names the labels in the error for an unknown one.

    Raises InputError when `classes` repeats itself or a label is not among them.
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
    """Counts of utterances, (classes, classes): rows are references, columns predictions, in the order of `classes`.

    Raises InputError when there is no utterance, the lengths differ, or a label is not in `classes`.
    """
    if len(reference) != len(prediction):
        raise InputError(
            f"There are {len(reference)} references but {len(prediction)} predictions; give one of each an utterance."
        )
    if len(reference) == 0:
        raise InputError("There are no utterances to score; check the split and the label map.")
    rows = class_indices(reference, classes, "reference")
    columns = class_indices(prediction, classes, "predicted")
    size = len(classes)
    return np.bincount(rows * size + columns, minlength=size * size).reshape(size, size).astype(np.int64)


def recall(confusion: Integers) -> Floats:
    """Recall of each class, (..., classes); NaN where the class does not occur."""
    return _divide(_hits(confusion), _support(confusion))


def f1(confusion: Integers) -> Floats:
    """F1 of each class, (..., classes); 0 for one that occurs and is never predicted, NaN where it does not occur."""
    support = _support(confusion)
    score = _divide(2 * _hits(confusion), support + confusion.sum(axis=-2))
    return np.where(support > 0, score, np.nan)


def unweighted_accuracy(confusion: Integers) -> Floats:
    """UA, (...): mean recall over the classes that occur (unweighted average recall, balanced accuracy)."""
    return _mean_over_occurring(recall(confusion))


def weighted_accuracy(confusion: Integers) -> Floats:
    """WA, (...): share of utterances predicted right (accuracy, recall weighted by support)."""
    return _divide(_hits(confusion).sum(axis=-1), confusion.sum(axis=(-2, -1)))


def macro_f1(confusion: Integers) -> Floats:
    """Mean F1 over the classes that occur, (...)."""
    return _mean_over_occurring(f1(confusion))


def weighted_f1(confusion: Integers) -> Floats:
    """Mean F1 weighted by each class's support, (...)."""
    support = _support(confusion)
    return _divide(np.nansum(f1(confusion) * support, axis=-1), support.sum(axis=-1))


def _hits(confusion: Integers) -> Integers:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _support(confusion: Integers) -> Integers:
    return np.asarray(confusion.sum(axis=-1), dtype=np.int64)


def _divide(numerator: npt.NDArray[np.generic], denominator: npt.NDArray[np.generic]) -> Floats:
    """Quotient as float64, NaN where the denominator is 0."""
    result = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)
    return result


def _mean_over_occurring(values: Floats) -> Floats:
    """Mean over the last axis, leaving out NaN; NaN for a matrix without any utterance."""
    occurs = ~np.isnan(values)
    return _divide(np.where(occurs, values, 0.0).sum(axis=-1), occurs.sum(axis=-1))


def percent(fraction: float) -> str:
    """Return a fraction as people read it: per cent with one decimal.

    >>> percent(0.6875)
    '68.8'
    """
    return f"{100 * fraction:.1f}"


@dataclass(frozen=True)
class Metric:
    """A metric of a confusion matrix, and how results and reports treat it.

    Args:
        function: from confusion matrices, (..., classes, classes), to values, (...).
        label: the head of its column in tables.
        has_interval: whether the bootstrap of `statistics` gives it a 95 % interval.
        in_tables: whether tables for people show it; `result.json` and CSV have every metric.
        shows_interval: whether the narrow table of the terminal shows its interval too.
        required: whether every result has it, of schema version 1 too.
        show: from a value to its text in a table.
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
