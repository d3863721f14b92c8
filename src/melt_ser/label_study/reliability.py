"""Agreement beyond chance, from counts: Cohen's kappa and Krippendorff's alpha.

Functions of a matrix also take a stack of matrices, (..., categories, categories), and those of numbers take the times
that each item counts, so that bootstraps use the same definitions. Two ordered labels or numbers that are near each
other disagree less.
Sources: Cohen 1960 and 1968 (weighted kappa); Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".
"""

from __future__ import annotations

import numpy as np

from melt_ser.evaluation.metrics import Floats, Integers

PAIR = 2  # labels of an item that can disagree


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


def krippendorffs_alpha(coincidences: Floats) -> Floats:
    """Return alpha, (...), of a coincidence matrix of nominal labels; NaN without pairs or with only one label."""
    values = coincidences.sum(axis=-1)
    total = values.sum(axis=-1)
    disagreement = total - np.trace(coincidences, axis1=-2, axis2=-1)
    expected = (total**2 - (values**2).sum(axis=-1)) / np.where(total > 1, total - 1, np.nan)
    return _beyond_chance(disagreement, expected)


def alpha_of_numbers(items: Floats, times: Floats) -> Floats:
    """Return alpha of interval data, (resamples,); NaN without pairs or with only one number.

    Distances are squared differences, so sums of the numbers and of their squares are enough, however many numbers
    there are.

    Args:
        items: the number that each rater gave an item, (items, raters); NaN is none.
        times: how often each resample has an item, (resamples, items).
    """
    pairable = (~np.isnan(items)).sum(axis=1) >= PAIR
    items, times = items[pairable], times[:, pairable]
    raters = (~np.isnan(items)).sum(axis=1)
    centred = np.nan_to_num(items - np.nanmean(items)) if items.size else items  # large means cost no digits
    sums, squares = centred.sum(axis=1), (centred**2).sum(axis=1)
    within = (raters * squares - sums**2) / (raters - 1)
    total, sums, squares, observed = (times @ np.column_stack([raters, sums, squares, within])).T
    return _beyond_chance(observed, (total * squares - sums**2) / np.where(total > 1, total - 1, np.nan))


def alpha_of_ranks(items: Integers, times: Integers) -> Floats:
    """Return alpha of ordinal data, (resamples,): that of the numbers of values up to the middle of each category.

    Args:
        items: the number of the category that each rater gave an item, in their order, (items, raters); -1 is none.
        times: how often each resample has an item, (resamples, items).
    """
    pairable = (items >= 0).sum(axis=1) >= PAIR
    items, times = items[pairable], times[:, pairable]
    given = items >= 0
    categories = items[given]
    alphas = []
    for row in times:
        values = np.bincount(categories, weights=np.broadcast_to(row[:, None], items.shape)[given])
        middle = np.cumsum(values) - values / 2
        ranks = np.full(items.shape, np.nan)
        ranks[given] = middle[categories]
        alphas.append(alpha_of_numbers(ranks, row[None]))
    return np.concatenate(alphas)


def kappa_of_numbers(first: Floats, second: Floats, times: Floats) -> Floats:
    """Return Cohen's kappa, (resamples,), of two raters' numbers, weighted by their squared difference.

    It equals Lin's concordance correlation coefficient. NaN if both give one and the same number.

    Args:
        first, second: the numbers of each rater, (items,).
        times: how often each resample has an item, (resamples, items).
    """
    middle = np.mean([first, second]) if len(first) else 0.0
    first, second = first - middle, second - middle
    each = [np.ones(len(first)), first, second, first**2 + second**2, (first - second) ** 2]
    total, sum_first, sum_second, squares, observed = (times @ np.column_stack(each)).T
    return _beyond_chance(observed, squares - 2 * sum_first * sum_second / total)


def steps(categories: int) -> Floats:
    """Return the number of steps between each two ordered categories, (categories, categories): of linear weights."""
    ranks = np.arange(categories, dtype=np.float64)
    return np.abs(ranks[:, None] - ranks)


def _beyond_chance(disagreement: Floats, expected: Floats) -> Floats:
    ratio = np.full(np.shape(disagreement), np.nan)
    np.divide(disagreement, expected, out=ratio, where=np.asarray(expected) > 1e-12)
    return np.asarray(1 - ratio)
