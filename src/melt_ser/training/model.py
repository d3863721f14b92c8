"""One fold's model: built, trained or read back, and asked for predictions."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import Accelerator

from melt_ser import files
from melt_ser.config import Config
from melt_ser.corpora.splits import check_parts
from melt_ser.data.utterances import Utterances
from melt_ser.evaluation.inference import classify
from melt_ser.evaluation.targets import Target
from melt_ser.models.backbone import load_backbone
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.export import load_model, save_model
from melt_ser.training.fit import fit

if TYPE_CHECKING:
    from pathlib import Path

    from melt_ser.corpora.splits import Parts
    from melt_ser.training.run import Fold, Study


def build_model(config: Config, classes: list[str]) -> SpeechClassifier:
    """Backbone and head as the configuration says; the head's weights come from the seed."""
    augment = config.augment
    backbone = load_backbone(
        config.backbone, config.seed, augment.time_mask_probability, augment.feature_mask_probability
    )
    backbone.freeze(config.trainer.freeze)
    if config.trainer.gradient_checkpointing:
        backbone.gradient_checkpointing_enable()
    torch.manual_seed(config.seed)
    return SpeechClassifier(backbone, config.head, classes)


def load_or_train(study: Study, parts: Parts, folder: Path, accelerator: Accelerator) -> tuple[SpeechClassifier, Fold]:
    """The model of one fold: read back where an interrupted run had finished it, else trained."""
    from melt_ser.training.run import Fold

    done = folder / "fold.json"
    if done.is_file():
        best_epoch, dev_ua, seconds = files.read_json(done)
        model = load_model(folder / "model", accelerator.device)
        return model, Fold(parts, folder, best_epoch, dev_ua, seconds)
    started = time.perf_counter()
    config = study.config
    check_parts(parts, config.dataset)  # again, just before they are used
    model = build_model(config, study.classes).to(accelerator.device)
    trainer = config.trainer
    normalize = model.backbone.do_normalize
    root = study.corpus.root
    train = Utterances(
        parts.train,
        root,
        study.classes,
        normalize,
        config.augment,
        trainer.crop_seconds,
        trainer.pad_to_crop,
        config.seed,
    )
    dev = Utterances(parts.dev, root, study.classes, normalize)
    title = "" if study.one_model else f"fold {parts.fold}/{len(study.parts)}"
    state = fit(trainer, model, train, dev, config.eval.batch_size, config.seed, folder, accelerator, title)
    save_model(model, folder / "model")
    seconds = time.perf_counter() - started
    files.write_json(done, [state.best_epoch, state.best_dev_ua, seconds])
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    return model, Fold(parts, folder, state.best_epoch, state.best_dev_ua, seconds)


def predict_targets(
    model: SpeechClassifier, targets: list[Target], batch_size: int, accelerator: Accelerator
) -> Iterator[tuple[Target, np.ndarray]]:
    """Each target with the model's probabilities, (utterances, classes)."""
    for target in targets:
        utterances = Utterances(target.table, target.corpus.root, model.classes, model.backbone.do_normalize)
        yield target, classify(model, utterances, batch_size, accelerator)
