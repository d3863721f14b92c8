"""Keep the seconds that `trainer.step_seconds=auto` finds: a run or a trial finds them once, a resumed one reads them.

They stand in its `config.yaml`, and in the `inputs.json` of a run, from which they come into its result.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from melt_ser.config import AUTO
from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import SetupError
from melt_ser.runs.folder import INPUTS_FILE, goes_on, read_inputs, read_settings, write_settings

if TYPE_CHECKING:
    from accelerate import Accelerator

    from melt_ser.data.datasets import ClipDataset
    from melt_ser.runs.fold_inputs import FoldInputs
    from melt_ser.runs.plan import RunPlan


def use_found_step_seconds(plan: RunPlan, accelerator: Accelerator) -> None:
    """Put the seconds that the run or the trial has found before into its settings, in place of `auto`.

    Raises SetupError if there are none and no GPU to find them on.
    """
    if plan.config.trainer.step_seconds != AUTO:
        return
    found = _found_before(plan.folder) if goes_on(plan.folder, plan.config.force) else None
    if found is not None:
        _settle(plan, found)
    elif not can_measure(accelerator):
        raise SetupError(
            "trainer.step_seconds=auto is the most that fits into the memory of a GPU, and this device is "
            f"{accelerator.device}; give a number of seconds, such as trainer.step_seconds=120."
        )


def can_measure(accelerator: Accelerator) -> bool:
    """Return whether the device says when its memory is full: a CPU's system ends the process instead."""
    return bool(accelerator.device.type == "cuda")


def find_step_seconds(plan: RunPlan, inputs: FoldInputs, train: ClipDataset) -> None:
    """Find the seconds of `auto` with a fold's model, and keep them in its folder; do nothing for a number.

    train: the utterances that the fold trains on.
    """
    from melt_ser.training.largest_step import largest_step_seconds

    trainer = plan.config.trainer
    if trainer.step_seconds != AUTO:
        return
    found = largest_step_seconds(trainer, inputs.model, inputs.stage, train, inputs.accelerator)
    say(f"note: trainer.step_seconds=auto is {found}: a step of {found} s fits; the run keeps this number.")
    _settle(plan, found)
    if inputs.accelerator.is_main_process:
        if (plan.folder / INPUTS_FILE).is_file():  # a trial has none
            before = read_inputs(plan.folder)
            before.step_seconds = found
            files.write_json(plan.folder / INPUTS_FILE, msgspec.to_builtins(before))
        write_settings(plan.folder, plan.config)  # last: a resumed run reads them here


def _found_before(folder: Path) -> int | None:
    seconds = read_settings(folder).get("trainer", {}).get("step_seconds")
    return seconds if isinstance(seconds, int) else None


def _settle(plan: RunPlan, seconds: int) -> None:
    plan.config = replace(plan.config, trainer=replace(plan.config.trainer, step_seconds=seconds))
