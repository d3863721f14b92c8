"""The training loop.

for each epoch:  for each micro-batch: loss, gradient; at the end of a step: update    then: dev, keep the best

A step's loss is the mean of weight times loss (`objective.py`) over the utterances of `trainer.gradient_accumulation`
batches; the weights (`trainer.balance`) have mean 1 over the training part. With `trainer.step_seconds` the sum is
divided by the mean number of utterances in a step. The distribution of the utterances over micro-batches
(`trainer.batch_seconds`) and processes does not change the loss, up to rounding and the draws of dropout.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from melt_ser.audio import SAMPLE_RATE
from melt_ser.config import TrainerConfig
from melt_ser.core import files
from melt_ser.core.memory import memory_advice
from melt_ser.data.batches import Shard, ShuffledBatches
from melt_ser.data.datasets import Batch, ClipDataset
from melt_ser.data.loading import EpochLoader
from melt_ser.data.stage import Stage
from melt_ser.evaluation.inference import predict_probabilities
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.training.average import WeightAverage
from melt_ser.training.checkpoints import FitState, learning_weights, load_checkpoint, load_weights, save_checkpoint
from melt_ser.training.dev_scores import DevScores, dev_scores, no_dev
from melt_ser.training.objective import Objective
from melt_ser.training.optimisation import Weighting, make_optimiser, make_schedule, rates_for
from melt_ser.training.progress import RunningLoss, TrainingProgress
from melt_ser.training.targets import Goals

LESS_MEMORY = (
    "set trainer.batch_seconds, the audio that is computed at once, or lower it (the steps stay as they are), "
    "lower trainer.step_seconds or trainer.crop_seconds, or set trainer.gradient_checkpointing=true"
)


class StepInput(NamedTuple):
    """A micro-batch on the device.

    features: (batch, frames, ...), those of the frozen stage. counts: the frames of each utterance, (batch,).
    rows: of the training part, (batch,), or with mixup the share of each class, (batch, classes). weights: of each
    utterance in the loss, (batch,). scale: a number, the factor of the gradients. text: the vector of each utterance's
    words, (batch, features), if the model reads them.
    """

    features: Tensor
    counts: Tensor
    rows: Tensor
    weights: Tensor
    scale: Tensor
    text: Tensor | None = None


Gradients = Callable[[StepInput], Tensor]
"""Add the gradients of a micro-batch to those of the weights; return its loss, a number on the device."""

RecordGradients = Callable[[Gradients, Stage, list[nn.Parameter], np.ndarray, Accelerator], Gradients | None]
"""Return gradients by recorded graphs, or None if the training cannot use them (recorded.py)."""

Report = Callable[[Path, list[dict[str, Any]]], None]
"""Receive the folder of a training and its rows of metrics so far, one for each epoch."""


def fit(
    config: TrainerConfig,
    model: SpeechClassifier,
    stage: Stage,
    train: ClipDataset,
    dev: ClipDataset | None,
    seed: int,
    folder: Path,
    accelerator: Accelerator,
    title: str = "",
    record: RecordGradients | None = None,
    report: Report | None = None,
    goals: Goals | None = None,
) -> FitState:
    """Train `model` in place, up to `config.epochs`, and leave it with the weights of its best epoch.

    The best epoch has the highest dev score (`dev_scores.py`); among equals, the lowest dev loss. Dev is scored in the
    precision and batch size of the training, since the best epoch may depend on either. With `config.average` the
    weights of an epoch are their moving average. Afterwards the model computes in float32, like a model that is loaded
    from its folder.

    Args:
        config: the `trainer` settings.
        model: the model, on the accelerator's device; its frozen part stays as it is.
        stage: the end of the frozen part. That part runs here on every batch, unless `train` already yields its cached
            output.
        train: the utterances to learn from.
        dev: the utterances that choose the best epoch; None: the last epoch is the best.
        seed: the seed of batches, crops and dropout.
        folder: receives metrics.csv, with a row per epoch, and checkpoints; the same call continues from the newest. A
            checkpoint follows each epoch, or each tenth if pooled features are cached: such an epoch takes less time
            than a checkpoint.
        accelerator: device, precision and processes.
        title: a name for the progress, such as "fold 1/5".
        record: records the computation of gradients; None: they are computed each time.
        report: is called after each epoch, in the main process.
        goals: the loss and the right answers; None: the cross-entropy of the utterances' classes.

    Raises InputError if the loss is not finite or a checkpoint cannot be read, SetupError if memory runs out.
    """
    device = accelerator.device
    shard = Shard(accelerator.process_index, accelerator.num_processes)
    goals = goals or Goals.of_classes(train, dev)
    weighting = Weighting.of_targets(config.balance, goals.train, train.corpora, len(model.classes))
    weights = torch.from_numpy(weighting.in_loss).to(device)
    batches = plan_batches(config, train, seed, weighting)
    steps = batches.steps_until(config.epochs)
    if config.step_seconds is not None:
        config = rates_for(config, len(train) * config.epochs / steps)
    crop_frames = frames_of_crops(config, model, stage)
    objective = Objective(goals.objective, model.outputs, goals.train, weighting.smoothed, config.label_smoothing).to(
        device
    )
    optimiser = make_optimiser(config, model, scaled=accelerator.scaler is not None)
    schedule = make_schedule(config, optimiser, steps)
    wrapped = accelerator.prepare(model)
    if accelerator.scaler is not None:  # only the scaler of fp16 needs a prepared optimiser
        optimiser = accelerator.prepare(optimiser)
    learning = [weight for weight in wrapped.parameters() if weight.requires_grad]
    if shard.process > 0:
        torch.manual_seed(hash((seed, shard.process)))  # so that dropout differs between processes

    def gradients(batch: StepInput) -> Tensor:
        losses = objective(wrapped(batch.features, batch.counts, stage, batch.text), batch.rows, model.uncertainties)
        loss: Tensor = (losses * batch.weights).sum()
        accelerator.backward(loss * batch.scale)
        return loss.detach()

    recorded = None
    if record is not None:
        shapes = _shapes_of(batches, train, model, stage, crop_frames)
        recorded = record(gradients, stage, learning, shapes, accelerator)
    loader = EpochLoader(train, batches, shard, config.workers, for_gpu=device.type == "cuda")
    epochs_between_checkpoints = 10 if stage is Stage.pooled and train.is_cached else 1
    average = WeightAverage(learning, config.average)
    state = load_checkpoint(folder / "checkpoints", model, optimiser, schedule, average, accelerator)

    with TrainingProgress(title, steps, config.epochs, batches.steps_until(state.epoch), state.epoch) as progress:
        while not _is_done(config, state):
            state.epoch += 1
            wrapped.train()
            started, clips = time.perf_counter(), 0
            running_loss = RunningLoss(state.epoch, train, device)
            lengths = np.zeros(2)  # of this process: of the utterances alone, and with padding
            with memory_advice(LESS_MEMORY):
                torch.empty((), dtype=torch.int64).random_()  # a loader drew it before; dropout stays the same with it
                for micro_batch, loaded in loader.epoch(state.epoch):
                    batch = loaded.to(device)
                    with contextlib.nullcontext() if micro_batch.ends_step else accelerator.no_sync(wrapped):
                        features = frozen_features(model, stage, batch, accelerator)
                        if crop_frames is not None:
                            features = features.crop_frames(crop_frames, seed, state.epoch)
                        counted = weights[batch.rows] * float(bool(shard.of(micro_batch.rows)))
                        # Processes average their gradients, hence the factor.
                        scale = torch.full((), accelerator.num_processes / micro_batch.divisor, device=device)
                        answers = answers_of_batch(batch)
                        step_input = StepInput(features.inputs, features.lengths, answers, counted, scale, batch.text)
                        loss = (recorded or gradients)(step_input)
                    running_loss.add(loss, micro_batch.step, loaded.rows, len(shard.of(micro_batch.rows)))
                    clips += len(micro_batch.rows)
                    lengths += np.array([batch.lengths.sum().item(), batch.inputs.shape[1] * len(batch.rows)])
                    if not micro_batch.ends_step:
                        continue
                    if config.max_grad_norm > 0:
                        accelerator.clip_grad_norm_(learning, config.max_grad_norm)
                    optimiser.step()
                    if not accelerator.optimizer_step_was_skipped:  # fp16 skips a step if a gradient overflows
                        schedule.step()
                        average.update()
                    optimiser.zero_grad(set_to_none=recorded is None)
                    progress.step(state.epoch, running_loss.mean, clips / (time.perf_counter() - started))
                totals = np.array([running_loss.read(), *lengths])
            seconds = time.perf_counter() - started

            loss_sum, own_length, padded_length = _sum_over_processes(totals, accelerator)
            with average.in_model():
                scores = _scores_of(dev, goals, model, config, accelerator)
                if dev is None or scores.rank > (state.best_dev_value, -state.best_dev_loss):
                    state.best_epoch, state.best_dev_value, state.best_dev_loss = state.epoch, scores.value, scores.loss
                    state.best_dev_ua = scores.ua
                    state.best_weights = learning_weights(model)
            row = {
                "epoch": state.epoch,
                "train_loss": loss_sum / clips,
                "dev_loss": scores.loss,
                **scores.columns,
                **({} if scores.metric == "ua" else {"dev_value": scores.value}),
                "head_learning_rate": schedule.get_last_lr()[-1],
                "seconds": seconds,
                "clips_per_second": clips / seconds,
                "padding": 1.0 - own_length / padded_length,
            }
            state.history.append(row)
            due = state.epoch % epochs_between_checkpoints == 0
            if accelerator.is_main_process:
                if due or _is_done(config, state):
                    files.write_csv(folder / "metrics.csv", pd.DataFrame(state.history))
                if report is not None:
                    report(folder, state.history)
            if due:
                save_checkpoint(folder / "checkpoints", state, model, optimiser, schedule, average, accelerator)
            progress.scored(scores.metric, scores.value, state.best_dev_value, state.best_epoch)
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    load_weights(model, state.best_weights)
    return state


def plan_batches(config: TrainerConfig, train: ClipDataset, seed: int, weighting: Weighting) -> ShuffledBatches:
    """Return the plan of all batches of a training."""
    return ShuffledBatches(
        train.seconds,
        config.batch_size,
        seed,
        weighting.sampling,
        config.gradient_accumulation,
        config.batch_seconds,
        None if config.step_seconds is None else float(config.step_seconds),
    )


def answers_of_batch(batch: Batch) -> Tensor:
    """Return the rows of a batch, whose answers the objective knows, (batch,), or with mixup the shares of classes."""
    return batch.rows if batch.classes.ndim == 1 else batch.classes


def frozen_features(model: SpeechClassifier, stage: Stage, batch: Batch, accelerator: Accelerator) -> Batch:
    """Return the batch at the frozen stage: unchanged if its features are cached, otherwise computed."""
    if batch.stage is stage:
        return batch
    with accelerator.autocast():
        features, counts = model.compute_stage(stage, batch.inputs, batch.lengths)
    return replace(batch, inputs=features, lengths=counts, stage=stage)


def frames_of_crops(config: TrainerConfig, model: SpeechClassifier, stage: Stage) -> int | None:
    """Return the greatest number of frames to train on; None if no features are cropped.

    If a part is frozen, its features are cropped instead of the audio, unless `crop_places` is set. So the frozen part
    gets whole clips, as in a test, whether its features are cached or not.
    """
    if config.crop_seconds is None or config.crop_places is not None or stage in (Stage.nothing, Stage.pooled):
        return None
    return int(_frames_of(model, stage, np.array([config.crop_seconds])))


def _frames_of(model: SpeechClassifier, stage: Stage, seconds: np.ndarray) -> Tensor:
    return model.frames_of(stage, torch.from_numpy(np.rint(seconds * SAMPLE_RATE).astype(np.int64)))


def _shapes_of(
    batches: ShuffledBatches, train: ClipDataset, model: SpeechClassifier, stage: Stage, crop_frames: int | None
) -> np.ndarray:
    """Return rows and greatest number of frames of each micro-batch of the first epoch, (micro-batches, 2)."""
    rows = [batch.rows for batch in batches.micro_batches(epoch=1)]
    longest = np.array([train.seconds[own].max() for own in rows])
    frames = _frames_of(model, stage, longest).numpy()
    if crop_frames is not None:
        frames = frames.clip(max=crop_frames)
    return np.stack([[len(own) for own in rows], frames], axis=1)


def _sum_over_processes(totals: np.ndarray, accelerator: Accelerator) -> list[float]:
    summed: Any = accelerator.reduce(torch.from_numpy(totals).float().to(accelerator.device), "sum")
    values: list[float] = summed.tolist()
    return values


def _scores_of(
    dev: ClipDataset | None, goals: Goals, model: SpeechClassifier, config: TrainerConfig, accelerator: Accelerator
) -> DevScores:
    """Return the scores on dev; NaN without a dev part."""
    if dev is None:
        return no_dev(model.outputs, goals.train.is_distribution)
    assert goals.dev is not None
    answers = predict_probabilities(model, dev, config.batch_size, accelerator, LESS_MEMORY)
    return dev_scores(answers, goals.dev, model.outputs)


def _is_done(config: TrainerConfig, state: FitState) -> bool:
    out_of_patience = config.patience is not None and state.epoch - state.best_epoch >= config.patience
    return state.epoch >= config.epochs or out_of_patience
