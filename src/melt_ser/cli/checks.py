"""Check the values of the settings, beyond their types, before anything slow happens."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from melt_ser.cli.augment_checks import check_augment
from melt_ser.cli.objective_checks import check_objective
from melt_ser.cli.trainer_checks import check_trainer
from melt_ser.cli.word_checks import check_words_alone, check_words_beside
from melt_ser.config import (
    FIXED_POOLINGS,
    LAYERS,
    AugmentConfig,
    BackboneConfig,
    CacheConfig,
    Config,
    DatasetConfig,
    EvalConfig,
    EvaluateConfig,
    Init,
    LabelsConfig,
    Method,
    Precision,
    PrepareConfig,
    TrainerConfig,
)
from melt_ser.core.device_name import check_device_name
from melt_ser.core.errors import SetupError, did_you_mean
from melt_ser.core.vocabulary import (
    ATTRIBUTES,
    EMOTIONS,
    GENERAL_READERS,
    READ_WORDS,
    USED_COLUMNS,
    WITHOUT_WEIGHTS,
    no_emotion,
    unknown_column,
)

OF_STEPS = (
    *("epochs", "gradient_accumulation", "batch_seconds", "step_seconds"),
    *("head_learning_rate", "backbone_learning_rate"),
    *("optimiser", "weight_decay", "schedule", "warmup_fraction", "max_grad_norm", "label_smoothing", "patience"),
    *("crop_places", "pad_to_crop", "gradient_checkpointing", "average", "layer_decay", "lora_rank"),
    *("lora_alpha", "lora_dropout", "lora_targets", "cuda_graphs"),
)
"""The settings of the group `trainer` that only trainer.method=gradient reads."""

OF_WEIGHTS = ("checkpoint", "revision", "init", "architecture", "layers", "layer_drop", "pad_to_window", "allow_pickle")
"""The settings of the group `backbone` that have no meaning without weights."""

PARTS = ("train", "dev", "test", "all")  # of dataset.expected


def check(config: Config) -> None:
    """Raise SetupError if a value is out of its range or does not fit another."""
    check_device_name(config.device)
    check_backbone(config)
    trainer = config.trainer
    check_trainer(trainer)
    layers = config.head.layers
    if layers not in LAYERS and not (isinstance(layers, int) and layers >= 0):
        raise SetupError(f"head.layers is {', '.join(LAYERS)} or a number from 0 up, not {layers!r}.")
    if config.head.standardise and config.head.pooling not in FIXED_POOLINGS:
        raise SetupError("head.standardise=true needs head.pooling=mean or statistics; the other poolings learn.")
    if not 0.0 <= config.head.dropout < 1.0:
        raise SetupError(f"head.dropout is at least 0 and below 1, not {config.head.dropout}.")
    if any(size < 1 for size in config.head.hidden_sizes):
        raise SetupError(f"head.hidden_sizes are at least 1, not {config.head.hidden_sizes}.")
    for key, seed in {"seed": config.seed, "dataset.split_seed": config.dataset.split_seed}.items():
        if not 0 <= seed < 2**32:
            raise SetupError(f"{key} is from 0 up to 4294967295, not {seed}.")
    if not 0.0 <= config.backbone.layer_drop < 1.0:
        raise SetupError(f"backbone.layer_drop is at least 0 and below 1, not {config.backbone.layer_drop}.")
    if config.backbone.layer_drop > 0.0 and trainer.freeze == "everything":
        raise SetupError(
            "backbone.layer_drop has no effect with trainer.freeze=everything, which trains no layer; leave it out."
        )
    if config.backbone.init is Init.random and config.backbone.checkpoint is None:
        raise SetupError("backbone.init=random needs backbone.checkpoint; without one, weights are random anyway.")
    if config.backbone.layers is not None and config.backbone.layers < 1:
        raise SetupError(f"backbone.layers is at least 1 or null, not {config.backbone.layers}.")
    if config.backbone.architecture and config.backbone.checkpoint is not None:
        raise SetupError(
            f"backbone.architecture has sizes for random weights, but backbone.checkpoint={config.backbone.checkpoint} "
            f"has its own sizes; leave the sizes out, or set backbone.checkpoint=null."
        )
    check_method(config)
    check_objective(config.objective)
    check_augment(config.augment)
    if config.augment.masks_input and trainer.freeze == "everything":
        raise SetupError(
            "augment.time_mask_probability and augment.feature_mask_probability need a backbone that is trained, but "
            "trainer.freeze=everything trains none; set both to 0, or trainer.freeze=convolution."
        )
    check_eval(config.eval)
    check_cache(config.cache)
    check_finite(config)


def check_finite(settings: Any, place: str = "") -> None:
    """Raise SetupError for a number that is infinite or not a number; a result, which holds the settings, has none."""
    if isinstance(settings, float) and not math.isfinite(settings):
        raise SetupError(f"{place} is a finite number, not {settings}.")
    inner = vars(settings) if dataclasses.is_dataclass(settings) else settings
    if isinstance(inner, list):
        for value in inner:
            check_finite(value, place)
    elif isinstance(inner, dict):
        for name, value in inner.items():
            check_finite(value, f"{place}.{name}" if place else name)


def check_backbone(config: Config) -> None:
    """Raise SetupError for settings that the family of the backbone does not read, or for an empty checkpoint."""
    family = config.backbone.family
    for key in ("checkpoint", "text"):
        if getattr(config.backbone, key) == "":
            raise SetupError(f"backbone.{key} is empty; give a hub id or a folder, or null.")
    check_words_beside(config)
    if family in READ_WORDS:
        check_words_alone(config)
    if family not in WITHOUT_WEIGHTS:
        if config.backbone.pad_to_window and family != "whisper":
            raise SetupError(
                f"backbone.pad_to_window is for backbone.family=whisper and has no effect with {family}; leave it out."
            )
        return
    untouched = BackboneConfig()
    for key in OF_WEIGHTS:
        if getattr(config.backbone, key) != getattr(untouched, key):
            raise SetupError(
                f"backbone.{key} has no meaning with backbone.family={family}, which has no weights; leave it out."
            )
    if config.trainer.method is Method.gradient:
        raise SetupError(f"backbone.family={family} has no weights to train and no frames; set trainer=probe.")


def check_method(config: Config) -> None:
    """Raise SetupError if a setting does not fit the method of training."""
    trainer, head, untouched = config.trainer, config.head, TrainerConfig()
    if any(not 0.0 < strength < float("inf") for strength in trainer.inverse_regularisation):
        raise SetupError(f"trainer.inverse_regularisation has numbers above 0, not {trainer.inverse_regularisation}.")
    if not trainer.inverse_regularisation:
        raise SetupError("trainer.inverse_regularisation is empty; give at least one value of C.")
    if trainer.method is Method.gradient:
        if head.layers == "chosen":
            raise SetupError("head.layers=chosen is for trainer=probe; give last, weighted, all or a number.")
        if trainer.inverse_regularisation != untouched.inverse_regularisation:
            raise SetupError("trainer.inverse_regularisation is for trainer=probe; leave it out.")
        check_lora(trainer)
        return
    probe = f"trainer.method={trainer.method.value}"
    if trainer.freeze != "everything":
        raise SetupError(f"{probe} needs a frozen backbone; set trainer.freeze=everything, not {trainer.freeze}.")
    for key in OF_STEPS:
        if getattr(trainer, key) != getattr(untouched, key):
            hint = "leave it out" if trainer.name == "probe" else "leave it out, or set trainer=probe"
            raise SetupError(f"trainer.{key} has no effect with {probe}, which takes no steps; {hint}.")
    if head.pooling not in FIXED_POOLINGS:
        raise SetupError(
            f"{probe} cannot learn head.pooling={head.pooling.value}; set mean or statistics, or head=probe."
        )
    if head.layers == "weighted":
        raise SetupError(
            f"{probe} cannot learn head.layers=weighted; set last, all, chosen or a number, or head=probe."
        )
    if head.hidden_sizes or head.dropout:
        raise SetupError(f"{probe} fits one linear layer; set head.hidden_sizes=[] and head.dropout=0, or head=probe.")
    if trainer.precision not in (Precision.auto, Precision.fp32):
        raise SetupError(
            f"trainer.precision={trainer.precision.value} has no effect with {probe}, which computes in fp32; leave it "
            "out."
        )
    if trainer.crop_seconds is not None:
        raise SetupError(f"{probe} reads whole clips; set trainer.crop_seconds=null, or trainer=probe.")
    if config.augment != AugmentConfig(name=config.augment.name):
        raise SetupError(f"{probe} reads each clip once, so it cannot learn from changed clips; set augment=nothing.")


def check_lora(trainer: TrainerConfig) -> None:
    """Raise SetupError if a setting of LoRA is out of its range or does not fit another."""
    untouched = TrainerConfig()
    if trainer.lora_rank < 0:
        raise SetupError(f"trainer.lora_rank is a number from 0 up, not {trainer.lora_rank}.")
    if trainer.lora_rank == 0:
        for key in ("lora_alpha", "lora_dropout", "lora_targets"):
            if getattr(trainer, key) != getattr(untouched, key):
                raise SetupError(
                    f"trainer.{key} has no effect with trainer.lora_rank=0, which makes no adapters; leave it out, or "
                    "set trainer=lora."
                )
        return
    if not 0.0 < trainer.lora_alpha < float("inf"):
        raise SetupError(f"trainer.lora_alpha is a number above 0, not {trainer.lora_alpha}.")
    if not 0.0 <= trainer.lora_dropout < 1.0:
        raise SetupError(f"trainer.lora_dropout is at least 0 and below 1, not {trainer.lora_dropout}.")
    if not isinstance(trainer.freeze, int):
        raise SetupError(
            f"With trainer.lora_rank={trainer.lora_rank} only adapters learn in the backbone, so trainer.freeze is the "
            f"number of the lowest layers without adapters, such as 0, not {trainer.freeze}."
        )


def check_entries(settings: Config | EvaluateConfig | PrepareConfig, corpora: list[str]) -> None:
    """Raise SetupError for an unknown corpus, part, emotion or column in a dictionary, and for an infinite number.

    Args:
        settings: those of train, evaluate or prepare.
        corpora: names of the known corpora.
    """
    dataset = settings.dataset
    check_folders(settings)
    check_finite(dataset, "dataset")
    check_words(dataset, settings.labels)
    if not isinstance(settings, PrepareConfig):
        known = {*corpora, dataset.name, *dataset.members, *(settings.eval.corpora or [])}
        for name in settings.eval.roots:
            if name not in known:
                raise SetupError(f"eval.roots: there is no corpus '{name}'; {did_you_mean(name, known)}")
    for part in dataset.expected:
        if part not in PARTS:
            raise SetupError(f"dataset.expected: there is no part '{part}'; {did_you_mean(part, PARTS)}")


def check_folders(settings: Config | EvaluateConfig | PrepareConfig) -> None:
    """Raise SetupError for an empty folder, as an unset variable leaves it: it would be the current one."""
    folders = {"dataset.root": settings.dataset.root}
    folders |= {f"dataset.roots.{name}": root for name, root in settings.dataset.roots.items()}
    if isinstance(settings, PrepareConfig):
        folders["recogniser.out"] = settings.recogniser.out
    else:
        folders |= {f"eval.roots.{name}": root for name, root in settings.eval.roots.items()}
        folders["out"] = settings.out
    if isinstance(settings, EvaluateConfig):
        folders["run"] = settings.run
    for key, folder in folders.items():
        if folder == "":
            raise SetupError(f"{key} is empty; give a folder (the current one is '.'), or leave it out.")


def check_words(dataset: DatasetConfig, labels: LabelsConfig) -> None:
    """Raise SetupError for an unknown emotion in the label map or in a class, and for an unknown column.

    A reader that the user wrote may have columns of any name.
    """
    for label, emotion in dataset.label_map.items():
        if emotion is not None and emotion not in EMOTIONS:
            raise SetupError(
                no_emotion(f"dataset.label_map maps '{label}' of '{dataset.name}' to '{emotion}'", emotion)
            )
    for name, emotions in (labels.classes or {}).items():
        for emotion in emotions:
            if emotion not in EMOTIONS:
                raise SetupError(no_emotion(f"labels.classes puts '{emotion}' into '{name}'", emotion))
    for column in dataset.columns if dataset.reader in GENERAL_READERS else ():
        if column not in (*USED_COLUMNS, *ATTRIBUTES, *dataset.attributes):
            raise SetupError(unknown_column(column))


def check_eval(settings: EvalConfig) -> None:
    """Raise SetupError if a value of the `eval` group is out of its range."""
    if settings.batch_size < 1:
        raise SetupError(f"eval.batch_size is at least 1, not {settings.batch_size}.")
    if settings.split not in ("train", "dev", "test"):
        raise SetupError(f"eval.split is train, dev or test, not '{settings.split}'.")
    if settings.corpora == []:
        raise SetupError("eval.corpora is empty; name one or more corpora, or give null for the training corpus alone.")
    if settings.corpora is not None and len(set(settings.corpora)) < len(settings.corpora):
        raise SetupError(f"eval.corpora names a corpus twice: {', '.join(settings.corpora)}.")


def check_cache(settings: CacheConfig) -> None:
    """Raise SetupError if a value of the `cache` group is out of its range."""
    if not 0.0 <= settings.max_gib < math.inf:
        raise SetupError(f"cache.max_gib is a number from 0 up, not {settings.max_gib}.")
