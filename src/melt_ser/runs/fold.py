"""One fold's model: built, trained or read back, and asked for predictions."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from melt_ser.config import Config
from melt_ser.core import files
from melt_ser.core.memory import NO_ROOM_FOR_MODEL, memory_advice
from melt_ser.corpora.fold_split import check_fold_split
from melt_ser.data.audio_cache import AudioCache
from melt_ser.evaluation.calibration import DevCalibration, calibrate
from melt_ser.evaluation.evaluation_sets import EvaluationSet
from melt_ser.evaluation.inference import predict_probabilities
from melt_ser.models.backbone import Backbone, load_backbone
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.export import load_model, save_head, save_model
from melt_ser.runs.inputs import FoldInputs
from melt_ser.runs.result import FoldTraining, read_training
from melt_ser.training.device import make_accelerator
from melt_ser.training.fit import fit

if TYPE_CHECKING:
    from melt_ser.corpora.fold_split import FoldSplit
    from melt_ser.runs.plan import RunPlan


ReadBackbone = Callable[[], Backbone]
FOLD_FILE = "fold.json"  # the mark of a finished fold


def configured_backbone(config: Config) -> Backbone:
    """The backbone as the configuration says, frozen as it says."""
    augment = config.augment
    backbone = load_backbone(
        config.backbone, config.seed, augment.time_mask_probability, augment.feature_mask_probability
    )
    backbone.freeze(config.trainer.freeze)
    if config.trainer.gradient_checkpointing:
        backbone.gradient_checkpointing_enable()
    return backbone


def build_model(config: Config, classes: list[str], read_backbone: ReadBackbone | None = None) -> SpeechClassifier:
    """Backbone and head as the configuration says; the head's weights come from the seed."""
    backbone = read_backbone() if read_backbone else configured_backbone(config)
    torch.manual_seed(config.seed)
    return SpeechClassifier(backbone, config.head, classes)


def load_or_train(
    study: RunPlan, parts: FoldSplit, cache: AudioCache | None = None, read_backbone: ReadBackbone | None = None
) -> tuple[FoldInputs, FoldTraining]:
    """The model of one fold, with its inputs: read back where an interrupted run had finished it, else trained.

    Each fold has an accelerator of its own: one keeps every model, optimiser and loss scale that it has seen.
    """
    config, folder = study.config, study.fold_folder(parts)
    accelerator = make_accelerator(config.device, config.trainer.precision)
    done = folder / FOLD_FILE
    if done.is_file():
        if accelerator.is_main_process:  # of a run that was killed before it could
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        model = load_model(folder / "model", accelerator.device)
        model.backbone.freeze(config.trainer.freeze)  # so that it reads a test as the one that trained
        return FoldInputs(study, parts, model, accelerator, cache), read_training(done)
    started = time.perf_counter()
    check_fold_split(parts, config.dataset)  # again, just before they are used
    model = build_model(config, study.classes, read_backbone)
    with memory_advice(NO_ROOM_FOR_MODEL):
        model.to(accelerator.device)
    inputs = FoldInputs(study, parts, model, accelerator, cache)
    title = "" if study.one_model else f"fold {parts.fold}/{len(study.parts)}"
    state = fit(
        config.trainer,
        model,
        inputs.prefix,
        inputs.train(),
        inputs.dev,
        config.seed,
        folder,
        accelerator,
        title,
    )
    trained = FoldTraining(state.best_epoch, state.best_dev_ua, time.perf_counter() - started)
    if accelerator.is_main_process:
        like = _model_of_the_same_backbone(study)
        if like is None:
            save_model(model, folder / "model")
        else:
            save_head(model, folder / "model", like)
        files.write_json(done, vars(trained))
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return inputs, trained


def _model_of_the_same_backbone(study: RunPlan) -> Path | None:
    """The model folder of a finished fold, where the backbone is frozen."""
    if study.config.trainer.freeze != "everything":
        return None
    folders = [study.fold_folder(parts) for parts in study.parts]
    return next((folder / "model" for folder in folders if (folder / FOLD_FILE).is_file()), None)


def calibrate_on_dev(inputs: FoldInputs) -> DevCalibration:
    """How sure a fold's final model is on its dev part, in batches of the training's size, as dev always is."""
    dev, batch_size = inputs.dev, inputs.study.config.trainer.batch_size
    return calibrate(predict_probabilities(inputs.model, dev, batch_size, inputs.accelerator), dev.classes)


def predict_targets(inputs: FoldInputs, targets: list[EvaluationSet]) -> Iterator[tuple[EvaluationSet, np.ndarray]]:
    """Each target of a fold with its model's probabilities, (utterances, classes)."""
    batch_size = inputs.study.config.eval.batch_size
    for target in targets:
        yield target, predict_probabilities(inputs.model, inputs.test(target), batch_size, inputs.accelerator)
