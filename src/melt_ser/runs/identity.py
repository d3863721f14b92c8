"""Compute the identity of a run: a hash of the settings that its results depend on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from enum import Enum
from typing import Any

from melt_ser.config import RENAMED, Config
from melt_ser.core import files

Settings = dict[str, Any]

INFRASTRUCTURE = {
    "": {"out", "device", "force", "eval", "cache", "logger", "experiment_name"},
    "backbone": {
        "learning_rate",  # this, freeze and state are defaults of other groups, whose values are hashed
        "freeze",
        "state",
        "pretraining",  # this and the licence describe the checkpoint
        "licence",
        "kernels",  # like devices, they differ only in rounding and in the dropout that they draw
    },
    "dataset": {
        "root",
        "emobox",
        "checkout",
        "protocol",  # group and folds are hashed instead
        "protocols",
        "allow_speaker_overlap",
        "licence",
        "access",
        "download",
        "sampling_rate",
        "speakers",
        "expected",
        "expected_labels",
        "facts",
        "roots",
        "left_out",  # already removed from members, which is hashed
    },
    "labels": {"name"},
    "head": {"name"},
    "objective": {"name"},
    "augment": {"name"},
    "trainer": {"name", "workers", "tensorboard"},  # tensorboard: in results from before the group logger
}
"""Settings that do not change a run's results, by group ("" for the keys outside any group).

The names of YAML files are among them, because the values in the files are hashed.
"""

AS_BEFORE: dict[str, dict[str, Any]] = {
    "backbone": {"init": "pretrained", "layers": None, "pad_to_window": False, "text": None, "text_revision": None},
    "dataset": {
        "rater_vote": None,
        "dev_group": None,
        "words": None,
        "target": None,
        "attributes": {},
        "votes": {},
        "raters": None,
    },
    "head": {"last_state": "before_norm", "standardise": False},
    "objective": {
        "class_loss": "cross_entropy",
        "attribute_loss": "concordance",
        "class_weight": 1.0,
        "attribute_weight": 1.0,
        "learned_weights": False,
        "smoothing": "uniform",
        "focal_gamma": 2.0,
        "adjustment": 1.0,
        "scaling": 0.15,
        "prior_correction": 0.0,
    },
    "augment": {
        "noise_folder": None,
        "pitch_probability": 0.0,
        "pitch_semitones": 2.0,
        "room_probability": 0.0,
        "room_folder": None,
        "band_limit_probability": 0.0,
        "band_limit_hertz": [300.0, 3400.0],
        "codec_probability": 0.0,
        "codecs": ["mp3", "opus", "g711"],
        "codec_kilobits": [12.0, 48.0],
        "mixup_probability": 0.0,
        "mixup_alpha": 0.4,
    },
    "trainer": {
        "crop_places": None,
        "cuda_graphs": False,
        "step_seconds": None,
        "refit": False,
        "average": 0.0,
        "layer_decay": 1.0,
        "lora_rank": 0,
        "lora_alpha": 16.0,
        "lora_dropout": 0.0,
        "lora_targets": [],
        "method": "gradient",
        "inverse_regularisation": [1e-4, 1e-3, 1e-2, 1e-1, 1.0],
    },
}
"""New settings, {group: {key: value}}, that are not hashed while they have this value.

The value means "as before the setting existed", so that finished runs stay finished.
"""

COMPUTATIONS: dict[str, tuple[int, Callable[[Settings], bool]]] = {
    "balanced_loss": (2, lambda settings: settings["trainer"]["balance"] == "loss"),
    "padding": (2, lambda settings: settings["trainer"]["pad_to_crop"]),
    "refit": (
        2,
        lambda settings: settings["trainer"].get("refit") is True and settings["trainer"]["schedule"] != "constant",
    ),
    "drawn_split": (2, lambda settings: draws_a_part(settings["dataset"])),  # raise it if parts move
}
"""Each computation whose numbers have changed: its version, and whether a run with these settings uses it.

docs/migration.md says what each version changed.
"""


def plain(value: Any) -> Any:
    """Return dataclasses, enums and their containers as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def settings_of(config: Config) -> Settings:
    """Return a configuration as plain JSON values, as a result stores it.

    Its group `computation` has the version of each of `COMPUTATIONS` that the run uses. It is missing if there is none.
    """
    settings: Settings = plain(config)
    versions = {name: version for name, (version, is_used) in COMPUTATIONS.items() if is_used(settings)}
    return settings | ({"computation": versions} if versions else {})


def without_infrastructure(config: Settings) -> Settings:
    """Return the settings that the run's results depend on, from a plain configuration as a result stores it.

    The keys have today's names: a configuration of an older version gives the same settings.
    """
    settings = _relevant("", config)
    for group in INFRASTRUCTURE:
        if group and group in config:
            settings[group] = _relevant(group, config[group])
    if not settings.get("objective"):  # as before the group existed
        settings.pop("objective", None)
    members = settings["dataset"].get("member_settings", {})
    settings["dataset"]["member_settings"] = {name: _relevant("dataset", member) for name, member in members.items()}
    return settings


def identity(config: Config) -> str:
    """Return the run id: the seed (for readers) and a hash of all settings that the results depend on.

    A renamed setting is hashed under its old name, so that finished runs stay finished. The versions of computations
    are hashed, so that a run never continues or replaces one with other numbers.
    """
    settings = without_infrastructure(settings_of(config))
    if settings["labels"]["classes"] is not None:
        settings["labels"]["classes"] = list(settings["labels"]["classes"].items())  # their order numbers the outputs
    old_names = {new: old for old, new in RENAMED.items()}
    hashed = {name: _renamed(name, group, old_names) for name, group in settings.items()}
    canonical = json.dumps(hashed, sort_keys=True, ensure_ascii=False)
    return f"seed{config.seed}-{files.sha256(canonical)[:12]}"


def draws_a_part(dataset: Settings) -> bool:
    """Return whether folds or dev are drawn; false only if the YAML of the corpus expects a dev part of its release."""
    if dataset["members"]:
        return any(draws_a_part(member) for member in dataset["member_settings"].values())
    return dataset["folds"] is not None or not dataset["expected"].get("dev")


def _relevant(group: str, settings: Settings) -> Settings:
    """Return the settings of one group that the results depend on, under today's names."""
    as_before = AS_BEFORE.get(group, {})
    return {
        key: value
        for key, value in _renamed(group, settings, RENAMED).items()
        if key not in INFRASTRUCTURE[group] and not (key in as_before and as_before[key] == value)
    }


def _renamed(group: str, settings: Any, names: dict[str, str]) -> Any:
    """Rename each `<group>.<key>` of `names` in a group of settings; return a value that is not a group unchanged."""
    if not isinstance(settings, dict):
        return settings
    return {names.get(f"{group}.{key}", str(key)).rpartition(".")[2]: value for key, value in settings.items()}
