"""Refuse settings that do not fit the target of a run (`dataset.target`), before any model is loaded."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from melt_ser.config import AttributeLoss, ClassLoss, Config, Method, ObjectiveConfig, Smoothing, Target
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.processes import several
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.labels import RESERVED
from melt_ser.corpora.ratings import ATTRIBUTE
from melt_ser.corpora.targets import WITH_ATTRIBUTES, attribute_names
from melt_ser.evaluation.rating_scores import DISTRIBUTION, MEAN_OF_ATTRIBUTES
from melt_ser.runs.rating_rows import CLASS


def check_target_settings(config: Config, target: Target) -> None:
    """Raise SetupError if a setting does not fit the target of the run."""
    objective, trainer = config.objective, config.trainer
    rates_attributes = target in WITH_ATTRIBUTES
    _check_losses(objective, target, is_probe=trainer.method is not Method.gradient)
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


def _check_losses(objective: ObjectiveConfig, target: Target, is_probe: bool) -> None:
    """Raise SetupError if a setting of the objective would have no effect."""
    default, correction = ObjectiveConfig(), objective.prior_correction
    class_settings = {"class_loss": default.class_loss, "smoothing": default.smoothing, "prior_correction": 0.0}
    of_classes = [key for key, usual in class_settings.items() if getattr(objective, key) != usual]
    if of_classes and target is Target.attributes:
        raise SetupError(f"objective.{of_classes[0]} is for classes, not for dataset.target=attributes; leave it out.")
    if of_classes and is_probe:
        raise SetupError(f"A probe has its own loss, and objective.{of_classes[0]} no effect; leave it out.")
    if objective.attribute_loss is not default.attribute_loss and target in (Target.label, Target.distribution):
        raise SetupError(
            f"objective.attribute_loss={objective.attribute_loss.value} is a loss of attributes; set "
            f"dataset.target=attributes or several, or leave it out."
        )
    for key in ("class_weight", "attribute_weight"):
        if getattr(objective, key) != getattr(default, key) and target is not Target.several:
            raise SetupError(
                f"objective.{key} weighs classes against attributes; set dataset.target=several, or leave it out."
            )
    if objective.class_loss is ClassLoss.multi_label:
        if objective.smoothing is not default.smoothing:
            raise SetupError(
                "objective.smoothing does not fit objective.class_loss=multi_label; leave one of them out."
            )
        if correction:
            raise SetupError(
                "objective.prior_correction divides probabilities of exclusive classes, which "
                "objective.class_loss=multi_label does not learn; leave one of them out."
            )


TAKEN = (*RESERVED, CLASS, DISTRIBUTION, MEAN_OF_ATTRIBUTES)
"""Columns of predictions, and rows of results, whose names an attribute cannot have."""


def check_attributes(corpus: Corpus, classes: Sequence[str], parts: Sequence[pd.DataFrame]) -> None:
    """Raise InputError if an attribute has a name that is taken, or no value in one of the training parts.

    classes: those that the model learns.
    """
    if corpus.target not in WITH_ATTRIBUTES:
        return
    for name in attribute_names(corpus.table):
        if name in (*TAKEN, *classes):
            raise InputError(
                f"The attribute '{name}' of '{corpus.name}' has the name of a class or of a column of the predictions; "
                f"give it another name: +dataset.columns.<name>={name} +dataset.attributes.<name>=[lowest,highest]."
            )
        if any(part[ATTRIBUTE + name].isna().all() for part in parts):
            raise InputError(
                f"The training part of '{corpus.name}' has no value of '{name}'; choose another split, or name the "
                f"other attributes alone (+dataset.attributes.<name>=[lowest,highest])."
            )


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
