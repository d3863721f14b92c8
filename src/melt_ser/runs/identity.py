"""The identity of a run: a hash of the settings that its numbers depend on."""

from __future__ import annotations

import dataclasses
import json
from enum import Enum
from typing import Any

from melt_ser.config import Config
from melt_ser.core import files

# What does not change a run's numbers. A group's name is left out too: its values say what it is.
INFRASTRUCTURE = {
    "": {"out", "device", "force", "eval", "cache", "experiment_name"},
    "backbone": {
        "learning_rate",  # this and freeze act through the trainer group, which takes them over
        "freeze",
        "kernels",  # they agree up to rounding, and draw other dropout: as devices do
    },
    "dataset": {
        "root",
        "emobox",
        "protocol",  # group and folds say what it is
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
        "left_out",  # members says who is left
    },
    "labels": {"name"},
    "head": {"name"},
    "augment": {"name"},
    "trainer": {"name", "workers", "tensorboard"},
}


# Settings that hash under an older name, so that renaming one leaves finished runs finished (docs/migration.md).
HASHED_AS = {
    "trainer": {
        "gradient_accumulation": "accumulation",
        "head_learning_rate": "learning_rate",
        "max_grad_norm": "clip_norm",
    }
}


def plain(value: Any) -> Any:
    """Dataclasses, enums and their containers as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def without_infrastructure(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of a plain configuration, as a result keeps it, that its numbers depend on."""
    kept = {key: value for key, value in config.items() if key not in INFRASTRUCTURE[""]}
    for group, keys in INFRASTRUCTURE.items():
        if group:
            names = HASHED_AS.get(group, {})
            kept[group] = {names.get(key, key): value for key, value in config[group].items() if key not in keys}
    members = kept["dataset"].get("member_settings", {})  # of a union of corpora
    unneeded = INFRASTRUCTURE["dataset"]
    kept["dataset"]["member_settings"] = {
        name: {key: value for key, value in member.items() if key not in unneeded} for name, member in members.items()
    }
    return kept


def identity(config: Config) -> str:
    """The run id: the seed for the eye and a hash of everything that the numbers depend on."""
    settings = without_infrastructure(plain(config))
    if settings["labels"]["classes"] is not None:
        settings["labels"]["classes"] = list(settings["labels"]["classes"].items())  # their order numbers the outputs
    canonical = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return f"seed{config.seed}-{files.sha256(canonical)[:12]}"
