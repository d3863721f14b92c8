"""Check the values of the group `objective` that do not depend on the target of a run (runs/target_checks.py)."""

from __future__ import annotations

import math

from melt_ser.config import ClassLoss, ObjectiveConfig
from melt_ser.core.errors import SetupError

NOT_NEGATIVE = ("class_weight", "attribute_weight", "focal_gamma", "scaling")
READ_BY = {
    "focal_gamma": (ClassLoss.focal,),
    "adjustment": (ClassLoss.logit_adjusted, ClassLoss.vector_scaling),
    "scaling": (ClassLoss.vector_scaling,),
}
"""The losses of classes that read a setting."""


def check_objective(objective: ObjectiveConfig) -> None:
    """Raise SetupError if a value of the `objective` group is out of its range, or has no effect beside another."""
    default = ObjectiveConfig()
    for key in NOT_NEGATIVE:
        if not 0.0 <= getattr(objective, key) < math.inf:
            raise SetupError(f"objective.{key} is a number from 0 up, not {getattr(objective, key)}.")
    for key, losses in READ_BY.items():
        if getattr(objective, key) != getattr(default, key) and objective.class_loss not in losses:
            raise SetupError(
                f"objective.{key} has no effect with objective.class_loss={objective.class_loss.value}; leave it out, "
                f"or set objective={' or '.join(loss.value for loss in losses)}."
            )
    for key in ("class_weight", "attribute_weight") if objective.learned_weights else ():
        if getattr(objective, key) != getattr(default, key):
            raise SetupError(
                f"objective.{key} has no effect with objective.learned_weights=true, which learns it; leave it out."
            )
