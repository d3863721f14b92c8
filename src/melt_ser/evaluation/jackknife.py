"""The jackknife: the standard error of a score from its values without one unit each, and its Student's t.

A speaker whose score is far from the others' makes the error of few speakers uncertain. So the degrees of freedom are
Satterthwaite's: they fall with the kurtosis of the values.

Sources: Efron and Tibshirani 1993, chapter 11; Satterthwaite 1946 (the variance of a sample variance grows with the
kurtosis); Kish 1965 (units of unequal size count as fewer).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from melt_ser.evaluation.metrics import Floats
from melt_ser.evaluation.statistics import ROUNDING, Units

FEWEST_DEGREES = 3.0  # unless there are fewer units; with less, the interval of a few speakers is often endless


@dataclass(frozen=True)
class Jackknife:
    """The standard error of a score, and the degrees of freedom of its Student's t."""

    error: float
    degrees: float

    def margin(self, level: float = 0.95) -> float:
        """Return half the width of the interval that holds the true value in this share of cases."""
        return float(stdtrit(self.degrees, (1 + level) / 2)) * self.error

    def p_value(self, value: float, units: int) -> float:
        """Return the two-sided p-value of a true value of 0.

        If all units agree, they show no spread. The p-value is then that of the sign test.
        """
        if self.error > ROUNDING:
            return float(2 * stdtr(self.degrees, -abs(value) / self.error))
        return 1.0 if abs(value) <= ROUNDING else 2.0 ** (1 - units)


def jackknife(left_out: Floats, units: Units) -> Jackknife:
    """Return the error of a score from its values without one unit each, (units,)."""
    number = len(left_out)
    error = float(np.sqrt((number - 1) * np.var(left_out)))
    degrees = (units.effective - 1) / (1 + _excess_kurtosis(left_out) * (number - 1) / (2 * number))
    return Jackknife(error, max(degrees, min(FEWEST_DEGREES, units.effective - 1)))


def _excess_kurtosis(values: Floats) -> float:
    """Return the unbiased excess kurtosis of values, at least 0 (that of the normal distribution)."""
    from scipy.stats import kurtosis

    if len(values) < 4 or np.ptp(values) <= ROUNDING:
        return 0.0
    return max(float(kurtosis(values, bias=False)), 0.0)
