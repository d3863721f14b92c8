"""One fold: its model, its training, and its predictions."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import torch

from melt_ser.config import Config, Method
from melt_ser.core import files
from melt_ser.core.errors import SetupError
from melt_ser.core.memory import NO_ROOM_FOR_MODEL, memory_advice
from melt_ser.corpora.fold_split import FoldSplit, check_fold_split
from melt_ser.data.audio_cache import AudioCache
from melt_ser.evaluation.calibration import DevCalibration, calibrate
from melt_ser.evaluation.evaluation_sets import EvaluationSet
from melt_ser.evaluation.inference import predict_probabilities
from melt_ser.evaluation.results import FoldTraining
from melt_ser.models.adapters import add_adapters, merge_adapters
from melt_ser.models.backbone import Backbone
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.export import load_model, save_head, save_model
from melt_ser.models.families import load_backbone
from melt_ser.models.head import checked_layers
from melt_ser.models.outputs import Outputs
from melt_ser.models.text_encoder import text_vectors
from melt_ser.runs.fold_inputs import FoldInputs
from melt_ser.runs.goals import correct_priors, goals_of, with_uncertainties
from melt_ser.runs.plan import RunPlan
from melt_ser.runs.predictions import DEV_FILE, dev_table
from melt_ser.runs.probabilities import predict_each
from melt_ser.runs.step_seconds import find_step_seconds
from melt_ser.training.device import make_accelerator
from melt_ser.training.fit import Report, fit
from melt_ser.training.pooled import set_scale
from melt_ser.training.probe import Choice, fit_probe
from melt_ser.training.recorded import recorded_gradients

ReadBackbone = Callable[[], Backbone]
FOLD_FILE = "fold.json"  # the mark of a finished fold
REFIT_FOLDER = "refit"  # in the folder of a fold: metrics and checkpoints of the training on train and dev


def configured_backbone(config: Config) -> Backbone:
    """Load the backbone of a configuration, freeze the part that `trainer.freeze` names, and add adapters (LoRA).

    If layers learn, those above the hidden state that the head reads are left out: they have nothing to learn from.
    """
    augment = config.augment
    backbone = load_backbone(
        config.backbone, config.seed, augment.time_mask_probability, augment.feature_mask_probability
    )
    layers = checked_layers(config.head.layers, backbone.number_of_layers)
    if isinstance(layers, int) and config.trainer.freeze != "everything":
        backbone.keep_layers(max(layers, 1))
    backbone.freeze(config.trainer.freeze)
    if config.trainer.lora_rank > 0:
        add_adapters(backbone, config.trainer, config.seed)
    if config.trainer.gradient_checkpointing:
        backbone.gradient_checkpointing_enable()
    return backbone


def build_model(
    config: Config, outputs: Outputs | list[str], read_backbone: ReadBackbone | None = None
) -> SpeechClassifier:
    """Return the backbone and head of a configuration; the seed decides the head's weights.

    outputs: those of the model, or the names of its classes.
    read_backbone: returns the backbone, by default `configured_backbone(config)`; folds may share a frozen backbone.
    """
    backbone = read_backbone() if read_backbone else configured_backbone(config)
    if not backbone.has_frames and config.trainer.method is Method.gradient:
        raise SetupError(f"backbone.family={config.backbone.family} has no frames to train on; set trainer=probe.")
    torch.manual_seed(config.seed)
    return SpeechClassifier(backbone, config.head, outputs, text_vectors(config.backbone))


def load_or_train(
    plan: RunPlan,
    split: FoldSplit,
    cache: AudioCache | None = None,
    read_backbone: ReadBackbone | None = None,
    report: Report | None = None,
) -> tuple[FoldInputs, FoldTraining]:
    """Train the model of one fold, or load it if an interrupted run had finished it.

    With a refit (`RunPlan.refits`) a second model follows, which learns from train and dev with what dev has chosen.
    Return the fold's inputs, with the model, and the record of its training.
    """
    config, folder = plan.config, plan.fold_folder(split)
    done = folder / FOLD_FILE
    if done.is_file():
        accelerator = make_accelerator(config.device, config.trainer.precision)
        if accelerator.is_main_process:  # the interrupted run may have been killed before it deleted them
            delete_checkpoints(folder)
        model = load_model(folder / "model", accelerator.device)
        model.backbone.freeze(config.trainer.freeze)  # its stage must equal that of the trained model
        training: FoldTraining = files.read_typed(done, FoldTraining, "delete it to train that fold again")
        return FoldInputs(plan, split, model, accelerator, cache), training
    started = time.perf_counter()
    check_fold_split(split, config.dataset)  # once more, just before the split is used
    title = "" if plan.one_model else f"fold {split.fold}/{len(plan.splits)}"
    inputs, training = train_model(plan, split, folder, title, cache, read_backbone, report)
    if plan.refits(split):
        if plan.classes:
            _dev_answers(inputs)
        del inputs  # and with it the first model
        both = replace(split, train=pd.concat([split.train, split.dev]))
        title = f"{title} on train and dev".strip()
        inputs, _ = train_model(plan, both, folder / REFIT_FOLDER, title, cache, read_backbone, report, training)
    training.seconds = time.perf_counter() - started
    if inputs.accelerator.is_main_process:
        sibling = _model_of_another_fold(plan)
        if sibling is not None and config.trainer.freeze == "everything":
            save_head(inputs.model, folder / "model", sibling)
        else:
            save_model(inputs.model, folder / "model", sibling)
        files.write_json(done, msgspec.structs.asdict(training))
        delete_checkpoints(folder)
    return inputs, training


def train_model(
    plan: RunPlan,
    split: FoldSplit,
    folder: Path,
    title: str,
    cache: AudioCache | None,
    read_backbone: ReadBackbone | None,
    report: Report | None,
    chosen: FoldTraining | None = None,
) -> tuple[FoldInputs, FoldTraining]:
    """Train a new model without saving or testing it; return its inputs and the record of its training.

    Each training has its own accelerator, since an accelerator keeps every model, optimiser and loss scale that it has
    prepared. chosen: train without a dev part, for as many epochs or with the settings that dev chose before; None: dev
    chooses them.
    """
    config = plan.config
    accelerator = make_accelerator(config.device, config.trainer.precision)
    model = build_model(config, plan.outputs, read_backbone)
    with memory_advice(NO_ROOM_FOR_MODEL):
        model.to(accelerator.device)
    inputs = FoldInputs(plan, split, model, accelerator, cache)
    dev = inputs.dev if chosen is None else None
    train = inputs.train()
    if config.trainer.method is Method.gradient:
        if model.head.standardises:
            set_scale(model, train, config.trainer.batch_size, accelerator)
        find_step_seconds(plan, inputs, train)
        trainer = plan.config.trainer
        if chosen is not None and chosen.best_epoch is not None:
            trainer = replace(trainer, epochs=chosen.best_epoch)
        record = partial(recorded_gradients, trainer, model) if trainer.cuda_graphs else None
        goals = goals_of(plan, split)
        with_uncertainties(model, plan)
        state = fit(
            *(trainer, model, inputs.stage, train, dev, config.seed, folder, accelerator, title, record, report, goals)
        )
        model.uncertainties = None
        correct_priors(model, goals, config.objective.prior_correction)
        training = FoldTraining(state.best_epoch, state.best_dev_ua, dev_value=state.best_dev_value)
    else:
        choice = Choice(**chosen.chosen) if chosen else None
        choice = fit_probe(config.trainer, model, train, dev, folder, accelerator, choice, goals_of(plan, split))
        training = FoldTraining(None, choice.dev_ua, chosen=choice._asdict(), dev_value=choice.dev_value)
    if config.trainer.lora_rank > 0:
        merge_adapters(model.backbone)
    model.fold_standardisation()
    return inputs, training


def delete_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a fold's trainings."""
    for place in (folder, folder / REFIT_FOLDER):
        shutil.rmtree(place / "checkpoints", ignore_errors=True)


def _model_of_another_fold(plan: RunPlan) -> Path | None:
    """Return the model folder of a finished fold; its files of what is frozen can be shared."""
    folders = [plan.fold_folder(split) for split in plan.splits]
    return next((folder / "model" for folder in folders if (folder / FOLD_FILE).is_file()), None)


def calibrate_on_dev(inputs: FoldInputs) -> DevCalibration | None:
    """Calibrate a fold's final model on its dev utterances, in batches of the same size as in training.

    Return None after a refit: that model has learned from dev, so its confidence there says nothing; and for a model
    without classes.
    """
    if inputs.plan.refits(inputs.split) or not inputs.plan.classes:
        return None
    return calibrate(_dev_answers(inputs)[:, : len(inputs.plan.classes)], inputs.dev.classes)


def _dev_answers(inputs: FoldInputs) -> np.ndarray:
    """Return the answers of a model that learned from train alone for dev, (utterances, outputs); write `dev.csv`."""
    plan, split = inputs.plan, inputs.split
    answers = predict_probabilities(inputs.model, inputs.dev, plan.config.trainer.batch_size, inputs.accelerator)
    if plan.classes and inputs.accelerator.is_main_process:
        files.write_csv(plan.fold_folder(split) / DEV_FILE, dev_table(split.dev, answers, plan.classes))
    return answers


def predict_sets(
    inputs: FoldInputs, models: Sequence[SpeechClassifier], sets: Sequence[Sequence[EvaluationSet]]
) -> list[list[np.ndarray]]:
    """Return the probabilities of each model for each of its sets, (utterances, classes).

    Args:
        inputs: of one of the models; they read the utterances of all.
        models: of one fold, or of several folds that share a frozen backbone.
        sets: the evaluation sets of each model, in the same order of corpora.
    """
    batch_size, accelerator = inputs.plan.config.eval.batch_size, inputs.accelerator
    of_corpora = [
        predict_each(models, parts, inputs.test, batch_size, accelerator) for parts in zip(*sets, strict=True)
    ]
    return [list(of_model) for of_model in zip(*of_corpora, strict=True)]
