"""The score on dev that chooses an epoch, or the settings of a probe."""

from __future__ import annotations

METRIC_LABELS = {"ua": "UA", "-kl": "-KL", "ccc": "CCC", "ua+ccc": "UA and CCC"}
"""The name of each in tables; -kl is the negative divergence, so that the highest score is the best."""


def dev_metric(has_classes: bool, has_attributes: bool, is_distribution: bool) -> str:
    """Return its name: ua, -kl (of a distribution), ccc (the mean over attributes), or ua+ccc (the mean of both)."""
    if is_distribution:
        return "-kl"
    if not has_attributes:
        return "ua"
    return "ua+ccc" if has_classes else "ccc"
