"""The training loop: the page to read first.

for each epoch:  for each step:  for each of its pieces: loss, gradient    then: dev UA, keep the best, checkpoint

A step's loss is the weighted mean over all its utterances, however they are spread over batches (`accumulation`),
pieces (`batch_seconds`) and processes, so that none of these changes what is learned.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from melt_ser.config import Balance, TrainerConfig
from melt_ser.core import files
from melt_ser.core.errors import InputError
from melt_ser.core.memory import memory_advice
from melt_ser.data.batches import Shard, ShuffledBatches
from melt_ser.data.datasets import Batch, ClipDataset
from melt_ser.data.feature_store import FeatureDataset
from melt_ser.data.stage import Stage
from melt_ser.evaluation.inference import dev_scores, predict_probabilities
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.training.checkpoints import FitState, learning_weights, load_checkpoint, load_weights, save_checkpoint
from melt_ser.training.frozen import frozen_part
from melt_ser.training.optimisation import cell_weights, class_weights, make_loss, make_optimiser, make_schedule
from melt_ser.training.progress import TrainingProgress

LESS_MEMORY = (
    "set trainer.batch_seconds, the audio that is computed at once, or lower it (the steps stay as they are), "
    "lower trainer.crop_seconds, or set trainer.gradient_checkpointing=true"
)


def fit(
    config: TrainerConfig,
    model: SpeechClassifier,
    prefix: Stage,
    train: ClipDataset,
    dev: ClipDataset,
    seed: int,
    folder: Path,
    accelerator: Accelerator,
    title: str = "",
) -> FitState:
    """Train `model` in place, up to `config.epochs`, and leave it with the weights of its best epoch by dev UA.

    What of it is frozen, `prefix`, is computed here unless `train` has the features of that.
    Ties go to the lower dev loss. `folder` receives metrics.csv, a row an epoch, and while it runs checkpoints
    that the same call goes on from: after each epoch, or each tenth on kept pooled features, whose epochs take
    milliseconds, less than a checkpoint. Dev is scored in the precision of the training and in batches of its size,
    since the best epoch may hang on either; afterwards the model computes in float32, as it does when it is read back.
    """
    inverse_counts = class_weights(train.classes, len(model.classes))
    balanced = cell_weights(train.classes, train.corpora)
    weights = inverse_counts if config.balance is Balance.loss else torch.ones_like(inverse_counts)
    utterance_weights = balanced if config.balance is Balance.loss else np.ones_like(balanced)
    # What the loss, which weighs classes, leaves to be done for an utterance: 1 but in a union of corpora.
    by_corpus = torch.from_numpy(utterance_weights / weights.numpy()[train.classes]).to(accelerator.device)
    share = Shard(accelerator.process_index, accelerator.num_processes)
    draws = balanced if config.balance is Balance.sampling else None
    batches = ShuffledBatches(
        train.seconds, config.batch_size, seed, draws, share, config.gradient_accumulation, config.batch_seconds
    )
    epochs_between_checkpoints = 10 if prefix is Stage.pooled and isinstance(train, FeatureDataset) else 1
    on_gpu = accelerator.device.type == "cuda"
    workers = _workers(config, train, accelerator)
    loader = DataLoader(train, batch_sampler=batches, collate_fn=train.collate, num_workers=workers, pin_memory=on_gpu)
    loss_function = make_loss(config, weights).to(accelerator.device)
    optimiser = make_optimiser(config, model, scaled=accelerator.scaler is not None)
    schedule = make_schedule(config, optimiser, batches.steps_per_epoch * config.epochs)
    wrapped = accelerator.prepare(model)
    if accelerator.scaler is not None:  # which alone needs a prepared one; after the schedule, which else warns
        optimiser = accelerator.prepare(optimiser)
    learning = [weight for weight in wrapped.parameters() if weight.requires_grad]
    if share.process > 0:
        torch.manual_seed(hash((seed, share.process)))  # each process drops out units of its own
    state = load_checkpoint(folder / "checkpoints", model, optimiser, schedule, accelerator)

    with TrainingProgress(title, batches.steps_per_epoch, config.epochs, accelerator.is_main_process) as progress:
        progress.skip(state.epoch)
        while not _is_done(config, state):
            state.epoch += 1
            train.epoch = batches.epoch = state.epoch
            wrapped.train()
            started, clips, weight_sum = time.perf_counter(), 0, 0.0
            totals = np.zeros(3)  # of this process: loss, lengths, lengths with padding
            own_pieces = iter(loader)
            for step, pieces in enumerate(batches.steps(), start=1):
                step_weight = float(utterance_weights[np.concatenate(pieces)].sum())
                with memory_advice(LESS_MEMORY):
                    for number, rows in enumerate(pieces, start=1):
                        batch = next(own_pieces).to(accelerator.device)
                        with contextlib.nullcontext() if number == len(pieces) else accelerator.no_sync(wrapped):
                            inputs, lengths = frozen_part(config, model, prefix, batch, seed, state.epoch, accelerator)
                            losses = loss_function(wrapped(inputs, lengths, prefix), batch.classes)
                            losses = losses * by_corpus[batch.rows]
                            loss = losses.sum() if share.of(rows) else 0.0 * losses.sum()
                            loss_value = loss.item()
                            _check_finite(loss_value, state.epoch, step, batch, train)
                            # Processes average their gradients, hence the factor.
                            accelerator.backward(loss * (accelerator.num_processes / step_weight))
                        clips += len(rows)
                        padded_length = batch.inputs.shape[1] * len(batch.rows)
                        totals += np.array([loss_value, batch.lengths.sum().item(), padded_length])
                    if config.max_grad_norm > 0:
                        accelerator.clip_grad_norm_(learning, config.max_grad_norm)
                    optimiser.step()
                if not accelerator.optimizer_step_was_skipped:  # as fp16 does where a gradient overflows
                    schedule.step()
                optimiser.zero_grad()
                weight_sum += step_weight
                shown_loss = totals[0] * accelerator.num_processes / weight_sum
                progress.step(state.epoch, shown_loss, clips / (time.perf_counter() - started))
            seconds = time.perf_counter() - started

            loss_sum, own_length, padded_length = _sum_over_processes(totals, accelerator)
            dev_ua, dev_wa, dev_loss = dev_scores(
                predict_probabilities(model, dev, config.batch_size, accelerator, LESS_MEMORY), dev
            )
            row = {
                "epoch": state.epoch,
                "train_loss": loss_sum / weight_sum,
                "dev_loss": dev_loss,
                "dev_ua": dev_ua,
                "dev_wa": dev_wa,
                "head_learning_rate": schedule.get_last_lr()[-1],
                "seconds": seconds,
                "clips_per_second": clips / seconds,
                "padding": 1.0 - own_length / padded_length,
            }
            state.history.append(row)
            if (dev_ua, -dev_loss) > (state.best_dev_ua, -state.best_dev_loss):
                state.best_epoch, state.best_dev_ua, state.best_dev_loss = state.epoch, dev_ua, dev_loss
                state.best_weights = learning_weights(model)
            due = state.epoch % epochs_between_checkpoints == 0
            if accelerator.is_main_process:
                if due or _is_done(config, state):
                    files.write_csv(folder / "metrics.csv", pd.DataFrame(state.history))
                _tensorboard(config, folder, state)
            if due:
                save_checkpoint(folder / "checkpoints", state, model, optimiser, schedule, accelerator)
            progress.epoch(row)
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    load_weights(model, state.best_weights)
    return state


def _sum_over_processes(totals: np.ndarray, accelerator: Accelerator) -> list[float]:
    summed: Any = accelerator.reduce(torch.from_numpy(totals).float().to(accelerator.device), "sum")
    values: list[float] = summed.tolist()
    return values


def _workers(config: TrainerConfig, train: ClipDataset, accelerator: Accelerator) -> int:
    """Decoding processes: up to 8 beside a GPU; none for kept features, nor on a CPU, whose cores the model needs."""
    if config.workers is not None:
        return config.workers
    decodes_beside = accelerator.device.type == "cuda" and not isinstance(train, FeatureDataset)
    return min(8, torch.multiprocessing.cpu_count()) if decodes_beside else 0


def _is_done(config: TrainerConfig, state: FitState) -> bool:
    out_of_patience = config.patience is not None and state.epoch - state.best_epoch >= config.patience
    return state.epoch >= config.epochs or out_of_patience


def _check_finite(loss: float, epoch: int, step: int, batch: Batch, train: ClipDataset) -> None:
    if loss - loss == 0.0:  # false for NaN and infinity
        return
    clips = ", ".join(str(train.path(row)) for row in batch.rows.tolist())
    raise InputError(
        f"The loss is {loss} at epoch {epoch}, step {step}; lower trainer.head_learning_rate or "
        f"trainer.backbone_learning_rate, or check the clips of that batch: {clips}"
    )


def _tensorboard(config: TrainerConfig, folder: Path, state: FitState) -> None:
    if not config.tensorboard:
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder / "tensorboard", purge_step=state.epoch) as writer:
        for name, value in state.history[-1].items():
            writer.add_scalar(name, value, state.epoch)
