"""Test whether one source is preferred, beyond the chance differences of these raters and clips.

The judgements of one rater resemble each other, and so do those of one clip. A binomial test treats them as independent
and therefore finds too much. The mixed test tests the mean preference in a linear mixed model with crossed random
effects of raters and clips (Baayen, Davidson & Bates 2008), fitted by restricted likelihood, with Student's t and one
degree of freedom less than the fewer of raters and clips. In simulations without a preference (`docs/listening.md`) it
keeps its level of 5 %; a test by statsmodels' Bayesian logistic mixed model does not.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from melt_ser.core.errors import SetupError
from melt_ser.evaluation.metrics import Floats, Integers


@dataclass(frozen=True)
class MixedTest:
    """The mean preference (0..1) with its 95 % interval, and the two-sided p-value against one half."""

    mean: float
    interval: tuple[float, float]
    p: float
    of_raters: float  # standard deviation between raters
    of_clips: float  # standard deviation between clips
    converged: bool


def mixed_test(preferred: Floats, rater: Integers, clip: Integers) -> MixedTest | None:
    """Test the mean of judgements against one half; return None if the model has no residual.

    Args:
        preferred: (judgements,), 1 if the source is preferred, otherwise 0.
        rater: (judgements,), the number of the rater.
        clip: (judgements,), the number of the clip.

    The model has no residual with fewer than two raters or clips, if raters never differ on a clip, if clips never
    differ for a rater, or if raters and clips together explain every judgement, as they can if there are few.
    Raises SetupError without statsmodels.
    """
    try:
        from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec
    except ImportError:
        raise SetupError("The mixed test needs statsmodels: pip install 'melt-ser[listening]'.") from None
    factors = {"rater": np.unique(rater, return_inverse=True)[1], "clip": np.unique(clip, return_inverse=True)[1]}
    levels = [int(numbers.max()) + 1 for numbers in factors.values()]
    if min(levels) < 2 or any(_alone_explains(numbers, preferred) for numbers in factors.values()):
        return None
    effects = [np.eye(count)[numbers] for count, numbers in zip(levels, factors.values(), strict=True)]
    if _together_explain(effects, preferred):
        return None
    names = [[[f"{name} {number}" for number in range(count)]] for name, count in zip(factors, levels, strict=True)]
    spec = VCSpec(list(factors), names, [[effect] for effect in effects])
    ones = np.ones((len(preferred), 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels warns of variances at their bound 0, but these are valid
        # statsmodels' default optimisers stop short of the maximum at that bound; Powell's method does not.
        # The judgements are not centred: with a mean of exactly 0, statsmodels ends in a singular matrix.
        fit = MixedLM(preferred, ones, groups=np.zeros(len(preferred)), exog_vc=spec).fit(method="powell")
    variances = np.maximum(np.asarray(fit.vcomp, dtype=np.float64), 0.0)
    error = _standard_error(effects, variances, float(fit.scale))
    difference, freedom = float(fit.fe_params[0]) - 0.5, min(levels) - 1
    margin = float(stdtrit(freedom, 0.975)) * error
    return MixedTest(
        mean=0.5 + difference,
        interval=(max(0.0, 0.5 + difference - margin), min(1.0, 0.5 + difference + margin)),
        p=float(2 * stdtr(freedom, -abs(difference) / error)),
        of_raters=float(np.sqrt(variances[0])),
        of_clips=float(np.sqrt(variances[1])),
        converged=bool(fit.converged),
    )


def _alone_explains(numbers: Integers, preferred: Floats) -> bool:
    """Return whether all judgements of each rater (or of each clip) are the same."""
    mean = np.bincount(numbers, preferred) / np.bincount(numbers)
    return bool(np.isin(mean, (0.0, 1.0)).all())


def _together_explain(effects: list[Floats], preferred: Floats) -> bool:
    """Return whether a value of each rater plus one of each clip gives every judgement."""
    columns = np.hstack(effects)
    fitted = columns @ np.linalg.lstsq(columns, preferred, rcond=None)[0]
    return bool(np.allclose(fitted, preferred, atol=1e-6))


def _standard_error(effects: list[Floats], variances: Floats, residual: float) -> float:
    """Return the mean's standard error by generalised least squares; statsmodels' is undefined for a variance of 0."""
    count = len(effects[0])
    scaled = np.hstack(
        [effect * np.sqrt(variance / residual) for effect, variance in zip(effects, variances, strict=True)]
    )
    # The covariance is residual * (1 + scaled @ scaled.T); Woodbury's identity gives its inverse.
    sums = scaled.sum(axis=0)
    precision = count - sums @ np.linalg.solve(np.eye(scaled.shape[1]) + scaled.T @ scaled, sums)
    return float(np.sqrt(residual / precision))
