"""Agreement beyond chance, from counts: Cohen's kappa and Krippendorff's alpha for nominal labels.

Functions of a matrix also take a stack of matrices, (..., categories, categories), so that bootstraps use the same
definitions. Sources: Cohen 1960; Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".
"""

from __future__ import annotations

import numpy as np

from melt_ser.evaluation.metrics import Floats, Integers


def cohens_kappa(confusion: Integers) -> Floats:
    """Return kappa, (...), of two raters' confusion matrix; NaN if both give every item one and the same label."""
    total = confusion.sum(axis=(-2, -1), dtype=np.float64)
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
    """Return alpha, (...), of a coincidence matrix; NaN without pairs or with only one label."""
    values = coincidences.sum(axis=-1)
    total = values.sum(axis=-1)
    disagreement = total - np.trace(coincidences, axis1=-2, axis2=-1)
    expected = (total**2 - (values**2).sum(axis=-1)) / np.where(total > 1, total - 1, np.nan)
    return _beyond_chance(disagreement, expected)


def _beyond_chance(disagreement: Floats, expected: Floats) -> Floats:
    ratio = np.full(np.shape(disagreement), np.nan)
    np.divide(disagreement, expected, out=ratio, where=np.asarray(expected) > 1e-12)
    return np.asarray(1 - ratio)
