"""The state of a fit after an epoch: enough to go on from there.

    checkpoint/  model.safetensors  best.safetensors  state.pt (optimiser, schedule, scaler, random state)

Written to a temporary folder and renamed, so that a kill leaves the previous one.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from melt_ser import files
from melt_ser.errors import InputError


@dataclass
class FitState:
    """How far a fit is: epochs done, the best one, and a row of metrics an epoch."""

    epoch: int = 0
    best_epoch: int = 0
    best_dev_ua: float = -1.0
    best_dev_loss: float = float("inf")
    history: list[dict[str, Any]] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)  # on the CPU, of what learns


def learning_weights(model: nn.Module) -> dict[str, Tensor]:
    """Copies on the CPU of the weights that learn; frozen ones are the checkpoint's or the seed's."""
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in model.state_dict().items()
        if name in learning
    }


def load_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put weights of `learning_weights` back."""
    unexpected = model.load_state_dict(weights, strict=False).unexpected_keys
    if unexpected:
        raise InputError(f"A checkpoint has weights that the model lacks, such as {unexpected[0]}; set force=true.")


def save_checkpoint(
    folder: Path,
    state: FitState,
    model: nn.Module,
    optimiser: Optimizer,
    schedule: LRScheduler,
    accelerator: Accelerator,
) -> None:
    """Write the state of a fit after an epoch."""
    progress = {
        item.name: getattr(state, item.name) for item in dataclasses.fields(state) if item.name != "best_weights"
    }
    with files.replacing_folder(folder) as temporary:
        save_file(learning_weights(model), temporary / "model.safetensors")
        save_file(state.best_weights, temporary / "best.safetensors")
        torch.save(
            {
                "progress": progress,
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else None,
                "random": torch.get_rng_state(),
                "random_cuda": torch.cuda.get_rng_state_all() if accelerator.device.type == "cuda" else [],
            },
            temporary / "state.pt",
        )


def load_checkpoint(
    folder: Path, model: nn.Module, optimiser: Optimizer, schedule: LRScheduler, accelerator: Accelerator
) -> FitState:
    """Read the state of a fit and put everything back; a fresh state where there is none."""
    if not folder.is_dir():
        return FitState()
    try:
        saved = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
        load_weights(model, load_file(folder / "model.safetensors"))
        best = load_file(folder / "best.safetensors")
    except Exception as error:
        raise InputError(f"The checkpoint {folder} cannot be read ({error}); delete that folder.") from error
    optimiser.load_state_dict(saved["optimiser"])
    schedule.load_state_dict(saved["schedule"])
    if accelerator.scaler is not None and saved["scaler"] is not None:
        accelerator.scaler.load_state_dict(saved["scaler"])
    torch.set_rng_state(saved["random"])
    if saved["random_cuda"] and accelerator.device.type == "cuda":
        torch.cuda.set_rng_state_all(saved["random_cuda"])
    return FitState(**saved["progress"], best_weights=best)
