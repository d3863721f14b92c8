"""Agreement beyond chance, from counts: Cohen's kappa and Krippendorff's alpha.

Functions of a matrix also take a stack of matrices, (..., categories, categories), so that bootstraps use the same
definitions. Labels are nominal unless distances are given: then two labels that are near each other disagree less.
Sources: Cohen 1960 and 1968 (weighted kappa); Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from melt_ser.evaluation.metrics import Floats, Integers


def cohens_kappa(confusion: Integers, distances: Floats | None = None) -> Floats:
    """Return kappa, (...), of two raters' confusion matrix; NaN if both give every item one and the same label.

    distances: of each two categories, (categories, categories): weighted kappa.
    """
    total = confusion.sum(axis=(-2, -1), dtype=np.float64)
    if distances is not None:
        rows, columns = confusion.sum(axis=-1, dtype=np.float64), confusion.sum(axis=-2, dtype=np.float64)
        by_chance = np.einsum("...a,...b,ab->...", rows, columns, distances) / total
        return _beyond_chance(np.einsum("...ab,ab->...", confusion, distances), by_chance)
    observed = np.trace(confusion, axis1=-2, axis2=-1) / total
    expected = (confusion.sum(axis=-1) * confusion.sum(axis=-2)).sum(axis=-1) / total**2
    return _beyond_chance(1 - observed, 1 - expected)


def coincidences_of_pairs(confusion: Integers) -> Floats:
    """Return the coincidence matrix, (..., categories, categories), of two raters' confusion matrix."""
    return (confusion + np.swapaxes(confusion, -2, -1)).astype(np.float64)


def coincidences_of_items(counts: Integers) -> Floats:
    """Return the coincidence matrix, (categories, categories), of items that any number of raters labelled.

    `counts`, (items, categories), is the number of raters who gave an item each label. Items may have different numbers
    of raters; those with fewer than two do not count.
    """
    rated = counts[counts.sum(axis=1) >= 2].astype(np.float64)
    weights = 1 / (rated.sum(axis=1) - 1)
    together = np.einsum("ia,ib,i->ab", rated, rated, weights)
    return np.asarray(together - np.diag(rated.T @ weights))


def krippendorffs_alpha(coincidences: Floats, distances: Floats | None = None) -> Floats:
    """Return alpha, (...), of a coincidence matrix; NaN without pairs or with only one label.

    distances: the squared difference of each two categories, (..., categories, categories).
    """
    values = coincidences.sum(axis=-1)
    total = values.sum(axis=-1)
    if distances is not None:
        observed = (coincidences * distances).sum(axis=(-2, -1))
        by_chance = np.einsum("...a,...b,...ab->...", values, values, np.broadcast_to(distances, coincidences.shape))
        return _beyond_chance(observed, by_chance / np.where(total > 1, total - 1, np.nan))
    disagreement = total - np.trace(coincidences, axis1=-2, axis2=-1)
    expected = (total**2 - (values**2).sum(axis=-1)) / np.where(total > 1, total - 1, np.nan)
    return _beyond_chance(disagreement, expected)


def squared_differences(values: Sequence[float]) -> Floats:
    """Return the squared difference of each two values, (values, values): the distances of interval data."""
    numbers = np.asarray(values, dtype=np.float64)
    return np.asarray((numbers[:, None] - numbers) ** 2)


def steps(categories: int) -> Floats:
    """Return the number of steps between each two ordered categories, (categories, categories): of linear weights."""
    ranks = np.arange(categories, dtype=np.float64)
    return np.abs(ranks[:, None] - ranks)


def squared_ranks(coincidences: Floats) -> Floats:
    """Return alpha's distances of ordinal data, (..., categories, categories), for categories in their order.

    The distance of two categories is the square of the number of values from the middle of one to that of the other.
    """
    values = coincidences.sum(axis=-1)
    middle = np.cumsum(values, axis=-1) - values / 2
    return np.asarray((middle[..., :, None] - middle[..., None, :]) ** 2)


def _beyond_chance(disagreement: Floats, expected: Floats) -> Floats:
    ratio = np.full(np.shape(disagreement), np.nan)
    np.divide(disagreement, expected, out=ratio, where=np.asarray(expected) > 1e-12)
    return np.asarray(1 - ratio)
