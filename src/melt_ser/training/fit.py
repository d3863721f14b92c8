"""The training loop: the page to read first.

for each epoch:  for each batch:  loss, gradient, step     then: dev UA, keep the best, checkpoint
"""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from melt_ser import files
from melt_ser.audio import SAMPLE_RATE
from melt_ser.config import Balance, TrainerConfig
from melt_ser.data.batches import ShuffledBatches
from melt_ser.data.utterances import Batch, Utterances, collate
from melt_ser.errors import InputError, SetupError
from melt_ser.evaluation.inference import classify, dev_scores
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.training.checkpoints import FitState, learning_weights, load_checkpoint, load_weights, save_checkpoint
from melt_ser.training.optimisation import class_weights, make_loss, make_optimiser, make_schedule
from melt_ser.training.progress import TrainingProgress


def fit(
    config: TrainerConfig,
    model: SpeechClassifier,
    train: Utterances,
    dev: Utterances,
    dev_batch_size: int,
    seed: int,
    folder: Path,
    accelerator: Accelerator,
    title: str = "",
) -> FitState:
    """Train `model` in place, up to `config.epochs`, and leave it with the weights of its best epoch by dev UA.

    Ties go to the lower dev loss. `folder` receives metrics.csv, a row an epoch, and while it runs a checkpoint
    that the same call goes on from.
    """
    weights = class_weights(train.classes, len(model.classes)).numpy()[train.classes]
    batches = ShuffledBatches(
        train.seconds, config.batch_size, seed, weights if config.balance is Balance.sampling else None
    )
    loader = accelerator.prepare(
        DataLoader(
            train,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=_workers(config, accelerator),
            pin_memory=accelerator.device.type == "cuda",
        )
    )
    loss_function = make_loss(config, train.classes, len(model.classes)).to(accelerator.device)
    optimiser = make_optimiser(config, model)
    wrapped, optimiser = accelerator.prepare(model, optimiser)
    steps_per_epoch = -(-len(loader) // config.accumulation)
    schedule = make_schedule(config, optimiser.optimizer, steps_per_epoch * config.epochs)
    state = load_checkpoint(folder / "checkpoint", model, optimiser, schedule, accelerator)

    with TrainingProgress(title, len(loader), config.epochs, accelerator.is_main_process) as progress:
        progress.skip(state.epoch * len(loader))
        while state.epoch < config.epochs and not _out_of_patience(config, state):
            state.epoch += 1
            train.epoch = batches.epoch = state.epoch
            wrapped.train()
            started, clips, loss_sum = time.perf_counter(), 0, 0.0
            audio_seconds, padded_seconds = 0.0, 0.0
            for step, batch in enumerate(loader, start=1):
                with accelerator.accumulate(wrapped), _memory_advice():
                    logits = wrapped(batch.audio, batch.lengths)
                    loss = loss_function(logits, batch.classes)
                    _check_finite(loss.item(), state.epoch, step, batch, train)
                    accelerator.backward(loss)
                    if accelerator.sync_gradients and config.clip_norm > 0:
                        accelerator.clip_grad_norm_(wrapped.parameters(), config.clip_norm)
                    optimiser.step()
                    if accelerator.sync_gradients and not accelerator.optimizer_step_was_skipped:
                        schedule.step()
                    optimiser.zero_grad()
                clips += len(batch.classes)
                loss_sum += loss.item() * len(batch.classes)
                audio_seconds += batch.lengths.sum().item() / SAMPLE_RATE
                padded_seconds += batch.audio.numel() / SAMPLE_RATE
                progress.batch(state.epoch, loss_sum / clips, clips / (time.perf_counter() - started))
            seconds = time.perf_counter() - started

            dev_ua, dev_wa, dev_loss = dev_scores(classify(model, dev, dev_batch_size, accelerator), dev)
            row = {
                "epoch": state.epoch,
                "train_loss": loss_sum / clips,
                "dev_loss": dev_loss,
                "dev_ua": dev_ua,
                "dev_wa": dev_wa,
                "learning_rate": schedule.get_last_lr()[-1],
                "seconds": seconds,
                "clips_per_second": clips / seconds,
                "padding": 1.0 - audio_seconds / padded_seconds,
            }
            state.history.append(row)
            if (dev_ua, -dev_loss) > (state.best_dev_ua, -state.best_dev_loss):
                state.best_epoch, state.best_dev_ua, state.best_dev_loss = state.epoch, dev_ua, dev_loss
                state.best_weights = learning_weights(model)
            if accelerator.is_main_process:
                files.write_csv(folder / "metrics.csv", pd.DataFrame(state.history))
                save_checkpoint(folder / "checkpoint", state, model, optimiser, schedule, accelerator)
                _tensorboard(config, folder, state)
            progress.epoch(row)
    load_weights(model, state.best_weights)
    return state


def _workers(config: TrainerConfig, accelerator: Accelerator) -> int:
    """Decoding processes: none on a CPU, whose cores the model needs, and up to 8 beside a GPU."""
    if config.workers is not None:
        return config.workers
    return min(8, torch.multiprocessing.cpu_count()) if accelerator.device.type == "cuda" else 0


def _out_of_patience(config: TrainerConfig, state: FitState) -> bool:
    return config.patience is not None and state.epoch - state.best_epoch >= config.patience


def _check_finite(loss: float, epoch: int, step: int, batch: Batch, train: Utterances) -> None:
    if loss - loss == 0.0:  # false for NaN and infinity
        return
    clips = ", ".join(train.paths[row] for row in batch.rows.tolist())
    raise InputError(
        f"The loss is {loss} at epoch {epoch}, step {step}; lower trainer.learning_rate or "
        f"trainer.backbone_learning_rate, or check the clips of that batch: {clips}"
    )


class _memory_advice:
    """Turn an out-of-memory error into the settings to lower."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise SetupError(
                "Out of memory: lower trainer.batch_size (and raise trainer.accumulation to keep the steps), "
                "lower trainer.crop_seconds, or set trainer.gradient_checkpointing=true."
            ) from None


def _tensorboard(config: TrainerConfig, folder: Path, state: FitState) -> None:
    if not config.tensorboard:
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder / "tensorboard", purge_step=state.epoch) as writer:
        for name, value in state.history[-1].items():
            writer.add_scalar(name, value, state.epoch)
