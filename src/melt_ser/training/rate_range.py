"""A range test of learning rates (Smith 2017): train a few steps while one rate rises, and watch the loss."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from accelerate import Accelerator

from melt_ser.config import TrainerConfig
from melt_ser.core.console import Progress
from melt_ser.core.memory import memory_advice
from melt_ser.data.batches import Shard
from melt_ser.data.datasets import ClipDataset
from melt_ser.data.loading import EpochLoader
from melt_ser.data.stage import Stage
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.training.fit import LESS_MEMORY, answers_of_batch, frames_of_crops, frozen_features, plan_batches
from melt_ser.training.objective import Objective
from melt_ser.training.optimisation import Weighting, make_optimiser
from melt_ser.training.targets import Goals

Part = Literal["head", "backbone"]
DIVERGED = 4.0  # times the lowest loss so far, both as means over a twentieth of the steps


def losses_of_rates(
    config: TrainerConfig,
    model: SpeechClassifier,
    stage: Stage,
    train: ClipDataset,
    seed: int,
    accelerator: Accelerator,
    part: Part,
    rates: np.ndarray,
    goals: Goals,
) -> np.ndarray:
    """Train `model` in place, a step with each rate; return the loss of each step, (steps,).

    The result is shorter if the loss was not finite any more, or far above its lowest value. The other part of the
    model learns with its rate of the settings. The arguments are those of `fit`, and:

        part: the part of the model whose learning rate rises; layer_decay counts from the top layer.
        rates: the learning rate of each step, (steps,).
    """
    device = accelerator.device
    weighting = Weighting.of_targets(config.balance, goals.train, train.corpora, len(model.classes))
    weights = torch.from_numpy(weighting.in_loss).to(device)
    objective = Objective(goals.objective, model.outputs, goals.train, weighting.smoothed, config.label_smoothing)
    objective.to(device)
    batches = plan_batches(replace(config, step_seconds=None), train, seed, weighting)
    loader = EpochLoader(train, batches, Shard(), config.workers, for_gpu=device.type == "cuda")
    scaled = accelerator.scaler is not None
    optimiser = make_optimiser(replace(config, head_learning_rate=1.0, backbone_learning_rate=1.0), model, scaled)
    if scaled:  # as in `fit`
        optimiser = accelerator.prepare(optimiser)
    of_head = {id(weight) for weight in model.head.parameters()}
    factors = [group["lr"] for group in optimiser.param_groups]
    fixed = config.backbone_learning_rate if part == "head" else config.head_learning_rate
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    crop_frames = frames_of_crops(config, model, stage)
    losses: list[float] = []
    model.train()
    steps = itertools.chain.from_iterable(loader.epoch(number) for number in itertools.count(1))
    with Progress(f"range of the {part}'s learning rate", len(rates)) as shown, memory_advice(LESS_MEMORY):
        total = 0.0
        for micro_batch, loaded in steps:
            features = frozen_features(model, stage, loaded.to(device), accelerator)
            if crop_frames is not None:
                features = features.crop_frames(crop_frames, seed, train.epoch)
            with accelerator.autocast():
                logits = model(features.inputs, features.lengths, stage, features.text)
            each = objective(logits.float(), answers_of_batch(features)) * weights[features.rows]
            loss = each.sum() / len(micro_batch.step_rows)
            accelerator.backward(loss)
            total += loss.item()
            if not micro_batch.ends_step:
                continue
            losses.append(total)
            shown.advance()
            if len(losses) == len(rates) or _has_diverged(losses, len(rates)):
                break
            for group, factor in zip(optimiser.param_groups, factors, strict=True):
                moves = (id(group["params"][0]) in of_head) == (part == "head")
                group["lr"] = factor * (rates[len(losses) - 1] if moves else fixed)
            if config.max_grad_norm > 0:
                accelerator.clip_grad_norm_(learning, config.max_grad_norm)
            optimiser.step()
            optimiser.zero_grad()
            total = 0.0
    return np.array(losses)


def _has_diverged(losses: list[float], steps: int) -> bool:
    if not np.isfinite(losses[-1]):
        return True
    width = max(3, steps // 20)
    if len(losses) < 2 * width:
        return False
    means = np.convolve(losses, np.full(width, 1 / width), mode="valid")
    return bool(means[-1] > DIVERGED * means.min())


def smoothed(losses: np.ndarray, steps: int) -> np.ndarray:
    """Return losses, (steps,), as means over their neighbours with Gaussian weights; a lag would shift the minimum."""
    from scipy.ndimage import gaussian_filter1d

    result: np.ndarray = gaussian_filter1d(losses, sigma=max(1.0, steps / 30), mode="nearest")
    return result


def suggested(rates: np.ndarray, curve: np.ndarray) -> float | None:
    """Return a tenth of the rate with the lowest smoothed loss; None if the loss has not fallen by 2 %.

    Args:
        rates: the learning rates, (steps,).
        curve: the smoothed losses, (steps,).
    """
    lowest = int(np.argmin(curve))
    if curve[lowest] > 0.98 * curve[: lowest + 1].max():
        return None
    return float(f"{rates[lowest] / 10:.2g}")
