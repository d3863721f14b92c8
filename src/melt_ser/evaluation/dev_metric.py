"""The score on dev that chooses an epoch, or the settings of a probe."""

from __future__ import annotations

from math import log

from melt_ser.evaluation.rating_metrics import LEAST_SHARE

METRIC_LABELS = {"ua": "UA", "-kl": "-KL", "ccc": "CCC", "ua+ccc": "UA and CCC"}
"""The name of each in tables; -kl is the negative divergence, so that the highest score is the best."""

LOWEST = {"ua": 0.0, "-kl": log(LEAST_SHARE), "ccc": -1.0, "ua+ccc": -0.5}
"""The lowest value of each."""


def score_text(metric: str, value: float) -> str:
    """Return a score as text: UA in per cent, the others with three decimals."""
    return f"{100 * value:.1f} %" if metric == "ua" else f"{value:.3f}"


def dev_metric(has_classes: bool, has_attributes: bool, is_distribution: bool) -> str:
    """Return its name: ua, -kl (of a distribution), ccc (the mean over attributes), or ua+ccc (the mean of both)."""
    if is_distribution:
        return "-kl"
    if not has_attributes:
        return "ua"
    return "ua+ccc" if has_classes else "ccc"
