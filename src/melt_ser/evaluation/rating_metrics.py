"""Metrics of ratings, each defined once: of attributes, such as arousal, and of distributions of votes.

Each metric is a function of sums over utterances. So the bootstrap (`rating_scores`) adds up the terms of the units
that it draws, and uses the same definitions.

    attribute        reference and prediction are numbers, (utterances,), on one scale
    distribution     reference and prediction are shares of the classes, (utterances, classes), each row with the sum 1

Sources: Lin 1989 (concordance correlation; variances with the divisor n); Lin 1991 (Jensen-Shannon divergence); Wu
et al., EMO-SUPERB, 2024 (a class counts as chosen if its share is above 1 / classes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from melt_ser.evaluation.metrics import Floats, f1_of_counts, mean_over_occurring, percent, quotient

LEAST_SHARE = 1e-7  # of a class in a prediction, so that the divergence from it is finite


@dataclass(frozen=True)
class RatingMetric:
    """A metric of ratings, and its treatment in results and reports.

    Args:
        terms: from references and predictions to the terms of each utterance, (utterances, terms).
        value: from sums of terms, (..., terms), to values, (...); NaN if the metric is not defined.
        label: the name of its column in tables.
        lowest, highest: the bounds of its values, and so of its interval.
        stretch, back: a function that makes its sampling distribution more even, and its inverse; the interval is
            computed between the two (Lin 1989: Fisher's z of CCC).
        show: returns the text of a value in a table.
    """

    terms: Callable[[Floats, Floats], Floats]
    value: Callable[[Floats], Floats]
    label: str
    lowest: float = 0.0
    highest: float = np.inf
    stretch: Callable[[Floats], Floats] = np.positive
    back: Callable[[Floats], Floats] = np.positive
    show: Callable[[float], str] = "{:.3f}".format


def moments(reference: Floats, prediction: Floats) -> Floats:
    """Return 1, x, y, x², y², xy of each utterance, (utterances, 6): x is the reference, y the prediction.

    Both are shifted by the mean reference, which changes no metric of attributes and keeps the sums small.
    """
    centre = reference.mean() if len(reference) else 0.0
    x, y = reference - centre, prediction - centre
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)


def concordance(sums: Floats) -> Floats:
    """Return the concordance correlation coefficient (CCC) of sums of `moments`: 1 if y = x everywhere."""
    mean_x, mean_y, variance_x, variance_y, covariance = _central(sums)
    return quotient(2 * covariance, variance_x + variance_y + (mean_x - mean_y) ** 2)


def pearson(sums: Floats) -> Floats:
    """Return the correlation coefficient of sums of `moments`; NaN if one side is constant."""
    _, _, variance_x, variance_y, covariance = _central(sums)
    correlation: Floats = np.clip(quotient(covariance, np.sqrt(variance_x * variance_y)), -1.0, 1.0)
    return correlation


def root_mean_square_error(sums: Floats) -> Floats:
    """Return the root of the mean squared difference of sums of `moments`, on the scale of the attribute."""
    squares = sums[..., 3] - 2 * sums[..., 5] + sums[..., 4]
    error: Floats = np.sqrt(np.maximum(quotient(squares, sums[..., 0]), 0.0))
    return error


def _central(sums: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return the means of x and y, their variances, and their covariance; a variance of mere rounding is 0."""
    n, x, y, squares_x, squares_y, products = np.moveaxis(sums, -1, 0)
    mean_x, mean_y = quotient(x, n), quotient(y, n)
    variances = []
    for squares, mean in ((squares_x, mean_x), (squares_y, mean_y)):
        of_squares = quotient(squares, n)
        variance = of_squares - mean**2
        variances.append(np.where(variance > 1e-12 * of_squares, variance, 0.0))
    return mean_x, mean_y, variances[0], variances[1], quotient(products, n) - mean_x * mean_y


def fisher(values: Floats) -> Floats:
    """Return Fisher's z of correlations, finite at the bounds."""
    z: Floats = np.arctanh(np.clip(values, -1 + 1e-12, 1 - 1e-12))
    return z


def reciprocal(values: Floats) -> Floats:
    """Return 1 / x of errors, finite at 0.

    The spread of an error over speakers rises with the error, and too low ones are the more frequent: the reciprocal
    makes both even, better than the logarithm.
    """
    inverses: Floats = 1 / np.maximum(values, 1e-12)
    return inverses


def from_reciprocal(values: Floats) -> Floats:
    """Return the inverse of `reciprocal`; infinite at 0 and below."""
    with np.errstate(divide="ignore"):
        errors: Floats = 1 / np.maximum(values, 0.0)
    return errors


def divergence(reference: Floats, prediction: Floats) -> Floats:
    """Return 1 and the Kullback-Leibler divergence of each utterance in nats, (utterances, 2)."""
    return _with_count(_relative_entropy(reference, np.maximum(prediction, LEAST_SHARE)))


def jensen_shannon(reference: Floats, prediction: Floats) -> Floats:
    """Return 1 and the Jensen-Shannon divergence of each utterance in nats, (utterances, 2); at most log 2."""
    middle = (reference + prediction) / 2
    return _with_count((_relative_entropy(reference, middle) + _relative_entropy(prediction, middle)) / 2)


def among_two(reference: Floats, prediction: Floats) -> Floats:
    """Return whether an utterance has one most voted class, and whether it is one of the two most probable.

    The shape is (utterances, 2). An utterance whose most voted classes are tied counts for nothing.
    """
    decided = ~has_tie(reference)
    best = np.argsort(-prediction, axis=1, kind="stable")[:, :2]
    found = (best == reference.argmax(axis=1)[:, None]).any(axis=1)
    return np.stack([decided, decided & found], axis=-1).astype(np.float64)


def most_voted(reference: Floats, prediction: Floats) -> Floats:
    """Return hits, answers and references of each class, (utterances, 3 · classes), without utterances with a tie."""
    decided = (~has_tie(reference)).astype(np.float64)[:, None]
    return _counts(_one_hot(reference) * decided, _one_hot(prediction) * decided)


def chosen_classes(reference: Floats, prediction: Floats) -> Floats:
    """Return hits, answers and references of each class, (utterances, 3 · classes).

    A class is chosen if its share is above 1 / classes, in the reference and in the prediction; so an utterance may
    have several classes.
    """
    least = 1 / reference.shape[1] + 1e-9
    return _counts((reference > least).astype(np.float64), (prediction > least).astype(np.float64))


def mean_of_second(sums: Floats) -> Floats:
    """Return the second sum divided by the first."""
    return quotient(sums[..., 1], sums[..., 0])


def macro_f1_of_sums(sums: Floats) -> Floats:
    """Return the mean F1 over the classes that occur in the reference, of sums of hits, answers and references."""
    hits, answers, references = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    return mean_over_occurring(f1_of_counts(hits, answers, references))


def has_tie(shares: Floats) -> np.ndarray:
    """Return whether the highest share of each row, (utterances, classes), is that of several classes."""
    tied: np.ndarray = (shares >= shares.max(axis=1, keepdims=True) - 1e-9).sum(axis=1) > 1
    return tied


def _one_hot(shares: Floats) -> Floats:
    chosen: Floats = np.eye(shares.shape[1])[shares.argmax(axis=1)]
    return chosen


def _counts(reference: Floats, prediction: Floats) -> Floats:
    return np.concatenate([reference * prediction, prediction, reference], axis=1)


def _with_count(values: Floats) -> Floats:
    return np.stack([np.ones_like(values), values], axis=-1)


def _relative_entropy(shares: Floats, others: Floats) -> Floats:
    """Return the sum over the classes of p log(p / q) of each utterance, (utterances,); 0 log 0 is 0."""
    from scipy.special import rel_entr

    entropy: Floats = rel_entr(shares, others).sum(axis=1)
    return entropy


# The metrics of an attribute and of a distribution, in the order of the tables; the first one ranks systems. A new
# metric needs one entry here.
ATTRIBUTE_METRICS: dict[str, RatingMetric] = {
    "ccc": RatingMetric(moments, concordance, "CCC", -1.0, 1.0, fisher, np.tanh),
    "pearson": RatingMetric(moments, pearson, "Pearson", -1.0, 1.0, fisher, np.tanh),
    "rmse": RatingMetric(moments, root_mean_square_error, "RMSE", stretch=reciprocal, back=from_reciprocal),
}
DISTRIBUTION_METRICS: dict[str, RatingMetric] = {
    "kl": RatingMetric(divergence, mean_of_second, "KL"),
    "js": RatingMetric(jensen_shannon, mean_of_second, "JS", highest=float(np.log(2))),
    "most_voted_f1": RatingMetric(most_voted, macro_f1_of_sums, "F1 most voted", highest=1.0, show=percent),
    "multi_label_f1": RatingMetric(chosen_classes, macro_f1_of_sums, "F1 multi-label", highest=1.0, show=percent),
    "top_2": RatingMetric(among_two, mean_of_second, "top 2", highest=1.0, show=percent),
}
