"""The jackknife: the error of a mean is that of the textbook, and outliers cost degrees of freedom."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import sem, ttest_1samp

from melt_ser.evaluation.jackknife import jackknife
from melt_ser.evaluation.statistics import Units

EVEN = np.array([-1.5, -0.9, -0.3, 0.3, 0.9, 1.5])  # with less kurtosis than the normal distribution


def without_each(values: np.ndarray) -> np.ndarray:
    without: np.ndarray = (values.sum() - values) / (len(values) - 1)
    return without


def units(number: int, of_row: list[int] | None = None) -> Units:
    return Units("speaker", np.array(of_row or range(number)))


def test_the_error_and_the_p_of_a_mean_are_those_of_the_t_test() -> None:
    values = EVEN + 0.7
    found = jackknife(without_each(values), units(6))
    assert found.error == pytest.approx(sem(values))
    assert found.degrees == pytest.approx(5)
    assert found.p_value(float(values.mean()), 6) == pytest.approx(ttest_1samp(values, 0).pvalue)
    low, high = ttest_1samp(values, 0).confidence_interval()
    assert found.margin() == pytest.approx((high - low) / 2)


def test_an_outlier_and_unequal_sizes_cost_degrees_of_freedom() -> None:
    normal = np.linspace(-1, 1, 20)
    outlying = np.append(normal[:-1], 8.0)
    assert jackknife(without_each(normal), units(20)).degrees == pytest.approx(19)
    assert 3 <= jackknife(without_each(outlying), units(20)).degrees < 10
    one_has_half = units(20, [*range(20), *[0] * 19])
    assert jackknife(without_each(normal), one_has_half).degrees == pytest.approx(one_has_half.effective - 1)
    assert jackknife(without_each(EVEN[:3]), units(3)).degrees == pytest.approx(2)


def test_units_that_agree_have_no_error_and_the_p_of_a_sign_test() -> None:
    found = jackknife(np.full(5, 0.25), units(5))
    assert (found.error, found.margin()) == (0, 0)
    assert found.p_value(0.25, 5) == 2 / 2**5
    assert found.p_value(0.0, 5) == 1
