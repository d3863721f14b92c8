"""Check the settings that cut an epoch into steps, and steps into batches that are computed at once."""

from __future__ import annotations

from melt_ser.config import AUTO, TrainerConfig
from melt_ser.core.errors import SetupError


def check_steps(trainer: TrainerConfig) -> None:
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
