"""Check the values of the group `trainer` that do not depend on another group (checks.py has the others)."""

from __future__ import annotations

from melt_ser.config import AUTO, Method, TrainerConfig
from melt_ser.core.errors import SetupError

FREEZE = ("nothing", "convolution", "everything")


def check_trainer(trainer: TrainerConfig) -> None:
    """Raise SetupError if a value of the `trainer` group is out of its range, or does not fit another."""
    at_least_one = {
        "epochs": trainer.epochs,
        "batch_size": trainer.batch_size,
        "gradient_accumulation": trainer.gradient_accumulation,
    }
    for key, value in at_least_one.items():
        if value < 1:
            raise SetupError(f"trainer.{key} is at least 1, not {value}.")
    not_negative = {
        "head_learning_rate": trainer.head_learning_rate,
        "backbone_learning_rate": trainer.backbone_learning_rate,
        "weight_decay": trainer.weight_decay,
        "max_grad_norm": trainer.max_grad_norm,
    }
    for key, number in not_negative.items():
        if not 0.0 <= number < float("inf"):
            raise SetupError(f"trainer.{key} is a number from 0 up, not {number}.")
    below_one = {
        "warmup_fraction": trainer.warmup_fraction,
        "label_smoothing": trainer.label_smoothing,
        "average": trainer.average,
    }
    for key, share in below_one.items():
        if not 0.0 <= share < 1.0:
            raise SetupError(f"trainer.{key} is at least 0 and below 1, not {share}.")
    if not 0.0 < trainer.layer_decay <= 1.0:
        raise SetupError(f"trainer.layer_decay is above 0 and at most 1, not {trainer.layer_decay}.")
    if trainer.layer_decay < 1.0 and trainer.freeze == "everything" and trainer.method is Method.gradient:
        raise SetupError(
            "trainer.layer_decay has no effect with trainer.freeze=everything, which trains no layer; leave it out."
        )
    _check_steps(trainer)
    if trainer.crop_seconds is not None and trainer.crop_seconds < 0.1:
        raise SetupError(f"trainer.crop_seconds is at least 0.1 or null, not {trainer.crop_seconds}.")
    if trainer.pad_to_crop and trainer.crop_seconds is None:
        raise SetupError("trainer.pad_to_crop needs trainer.crop_seconds.")
    if trainer.crop_places is not None and trainer.crop_seconds is None:
        raise SetupError(f"trainer.crop_places={trainer.crop_places} needs trainer.crop_seconds.")
    if trainer.crop_places is not None and trainer.crop_places < 2:
        raise SetupError(f"trainer.crop_places is at least 2 or null, not {trainer.crop_places}.")
    if trainer.workers is not None and trainer.workers < 0:
        raise SetupError(f"trainer.workers is a number from 0 up or null, not {trainer.workers}.")
    if trainer.patience is not None and trainer.patience < 1:
        raise SetupError(f"trainer.patience is at least 1 or null, not {trainer.patience}.")
    if isinstance(trainer.freeze, str) and trainer.freeze not in FREEZE:
        raise SetupError(f"trainer.freeze is {', '.join(FREEZE)} or a number of layers, not '{trainer.freeze}'.")
    if trainer.refit not in (False, True, "cut_dev"):
        raise SetupError(f"trainer.refit is false, true or cut_dev, not '{trainer.refit}'.")


def _check_steps(trainer: TrainerConfig) -> None:
    """Raise SetupError if `batch_seconds` or `step_seconds` is out of its range or does not fit another setting."""
    if trainer.batch_seconds is not None and not 1.0 <= trainer.batch_seconds < float("inf"):
        raise SetupError(f"trainer.batch_seconds is a number from 1 up or null, not {trainer.batch_seconds}.")
    seconds = trainer.step_seconds
    if seconds is None:
        return
    if seconds != AUTO and (isinstance(seconds, str) or seconds < 1):
        raise SetupError(f"trainer.step_seconds is a whole number from 1 up, auto or null, not '{seconds}'.")
    if trainer.gradient_accumulation > 1:
        raise SetupError(
            "trainer.gradient_accumulation joins batches of a number of clips; with trainer.step_seconds, leave it out "
            "and raise the seconds."
        )
    if seconds == AUTO and trainer.batch_seconds is not None:
        raise SetupError(
            "trainer.step_seconds=auto is the most that is computed at once; leave trainer.batch_seconds out, or give "
            "step_seconds as a number."
        )
