"""Checkpoints of an unfinished training: its whole state after an epoch, so that a stopped run resumes exactly.

    checkpoints/epoch0003/  model.safetensors  best.safetensors  state.pt (optimiser, schedule, average, scaler, random
    states)

models/checkpoint_files.py finds pretrained checkpoints, the weights that a backbone starts from; models/export.py saves
finished models.

Each checkpoint is written to a temporary folder and then renamed; only then is the previous one deleted. So the
newest folder with such a name is always whole, even if the process is killed. The other random draws of training
(order, crops, augmentation) depend only on seed and epoch, so they need no state.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from melt_ser.core import files
from melt_ser.core.errors import InputError, first_line
from melt_ser.training.average import WeightAverage


@dataclass
class FitState:
    """The progress of a fit: epochs done, the best epoch and its scores on dev, and a row of metrics per epoch."""

    epoch: int = 0
    best_epoch: int = 0
    best_dev_value: float = -math.inf  # of the score that chooses, such as UA
    best_dev_ua: float | None = None  # None: the model has no classes
    best_dev_loss: float = float("inf")
    history: list[dict[str, Any]] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)  # only those that learn; on the CPU


def learning_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of the weights that learn, on the CPU; frozen ones need no copy, because they stay as they are."""
    return {
        name: parameter.detach().to("cpu", copy=True).contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def load_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put the weights from `learning_weights` back. Raises InputError if the model lacks one."""
    unexpected = model.load_state_dict(weights, strict=False).unexpected_keys
    if unexpected:
        raise InputError(f"A checkpoint has weights that the model lacks, such as {unexpected[0]}; set force=true.")


def save_checkpoint(
    folder: Path,
    state: FitState,
    model: nn.Module,
    optimiser: Optimizer,
    schedule: LRScheduler,
    average: WeightAverage,
    accelerator: Accelerator,
) -> None:
    """Write the state of a fit after an epoch. Every process must call it; the main one writes.

    Args:
        folder: the folder of all checkpoints of this fit.
        state: the progress and the best weights.
        model, optimiser, schedule, average: as they are after the epoch.
        accelerator: the processes; its loss scale is written too.

    Raises OutputError if a write fails.
    """
    random = {"cpu": torch.get_rng_state()}
    if accelerator.device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(accelerator.device)
    random_states = gather_object([random])
    if not accelerator.is_main_process:
        return
    progress = {
        item.name: getattr(state, item.name) for item in dataclasses.fields(state) if item.name != "best_weights"
    }
    path = folder / f"epoch{state.epoch:04d}"
    with files.replacing_folder(path) as temporary:
        save_file(learning_weights(model), temporary / "model.safetensors")
        save_file(state.best_weights, temporary / "best.safetensors")
        torch.save(
            {
                "progress": progress,
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "average": average.state_dict(),
                "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else None,
                "random": random_states,
            },
            temporary / "state.pt",
        )
    for other in folder.iterdir():  # older checkpoints, and the remains of a kill
        if other != path:
            shutil.rmtree(other, ignore_errors=True)


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    optimiser: Optimizer,
    schedule: LRScheduler,
    average: WeightAverage,
    accelerator: Accelerator,
) -> FitState:
    """Restore a fit from its newest checkpoint and return its state; a fresh state if there is no checkpoint.

    Args:
        folder: the folder of all checkpoints of this fit.
        model, optimiser, schedule, average: newly made; they receive the saved state.
        accelerator: the processes; its loss scale is put back too.

    Raises InputError if the checkpoint cannot be read or belongs to another model.
    """
    saved_epochs = sorted(folder.glob("epoch[0-9]*"), key=lambda path: int(path.name.removeprefix("epoch")))
    if not saved_epochs:
        return FitState()
    newest = saved_epochs[-1]
    try:
        saved = torch.load(newest / "state.pt", map_location="cpu", weights_only=True)
        load_weights(model, load_file(newest / "model.safetensors"))
        best = load_file(newest / "best.safetensors")
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
        if "average" in saved:  # checkpoints from before the setting `trainer.average` have none
            average.load_state_dict(saved["average"])
        if accelerator.scaler is not None and saved["scaler"] is not None:
            accelerator.scaler.load_state_dict(saved["scaler"])
        progress = saved["progress"]
        progress.setdefault("best_dev_value", progress["best_dev_ua"])  # checkpoints from before other targets
        state = FitState(**progress, best_weights=best)
    except Exception as error:  # torch, safetensors and pickle each raise their own errors for damaged files
        raise InputError(
            f"The checkpoint {newest} cannot be read ({first_line(error)}); delete that folder or set force=true."
        ) from error
    random_states = saved["random"]
    # with more processes than before, the new ones start from the seed
    if accelerator.process_index < len(random_states):
        random = random_states[accelerator.process_index]
        torch.set_rng_state(random["cpu"])
        if accelerator.device.type == "cuda" and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"], accelerator.device)
    return state
