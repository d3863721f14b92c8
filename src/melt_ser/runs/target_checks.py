"""Refuse settings that do not fit the target of a run (`dataset.target`), before any model is loaded."""

from __future__ import annotations

from melt_ser.config import AttributeLoss, ClassLoss, Config, Method, Smoothing, Target
from melt_ser.core.errors import SetupError
from melt_ser.core.processes import several


def check_target_settings(config: Config, target: Target) -> None:
    """Raise SetupError if a setting does not fit the target of the run."""
    objective, trainer = config.objective, config.trainer
    rates_attributes = target in (Target.attributes, Target.several)
    if objective.learned_weights and target is not Target.several:
        raise SetupError("objective.learned_weights=true weighs classes and attributes; set dataset.target=several.")
    if objective.class_loss is ClassLoss.divergence and target is not Target.distribution:
        raise SetupError(
            "objective.class_loss=divergence compares distributions; set dataset.target=distribution, or take "
            "objective=standard."
        )
    if config.augment.mixup_probability > 0 and target is not Target.label:
        raise SetupError(f"augment=mixup mixes classes, not dataset.target={target.value}; leave it out.")
    if trainer.method is not Method.gradient:
        return _check_probe(config, target)
    if objective.smoothing is Smoothing.confusability and trainer.label_smoothing == 0.0:
        raise SetupError("objective.smoothing=confusability needs trainer.label_smoothing above 0.")
    if not rates_attributes:
        return None
    if objective.attribute_loss is AttributeLoss.concordance:
        for key, is_set in (
            ("trainer.batch_seconds", trainer.batch_seconds is not None),
            ("trainer.cuda_graphs", trainer.cuda_graphs),
            ("several processes", several()),
        ):
            if is_set:
                raise SetupError(
                    f"The loss 1 - CCC is over all clips of a batch, which {key} would divide; leave that out, or set "
                    f"objective=squared_error."
                )
    if objective.learned_weights and several():
        raise SetupError("objective.learned_weights=true needs one process.")
    return None


def _check_probe(config: Config, target: Target) -> None:
    """Raise SetupError if a probe cannot learn the target."""
    trainer = config.trainer
    if target in (Target.distribution, Target.several):
        raise SetupError(
            f"A probe learns classes or attributes, not dataset.target={target.value}; set trainer=frozen, or another "
            f"target."
        )
    if trainer.method is Method.linear_svm and target is Target.attributes:
        raise SetupError("trainer.method=linear_svm is for classes; leave it out: a probe of attributes is a ridge.")
