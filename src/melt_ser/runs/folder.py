"""Run folders: where a run lives, what identifies it, and its result.

    <out>/<backbone>/<dataset>/<run id>/
        config.yaml  inputs.json  splits.csv  metrics.csv  model/  predictions/<corpus>.csv  figures/  result.json
        folds/<k>/   (fold=all) the same for each fold
    <out>/<backbone>/<dataset>/<run id>.previous/   the finished run, while force=true runs it again

The run id hashes the resolved configuration without infrastructure and without `eval`, so that the same
settings reach the same folder however they were typed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from enum import Enum
from pathlib import Path
from typing import Any

from melt_ser.config import Config
from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import InputError, SetupError

SCHEMA_VERSION = 1
RESULT_FILE, INPUTS_FILE = "result.json", "inputs.json"  # of a finished run, and of one that has begun
PREVIOUS = ".previous"
NUMBER = int | float
INTERVAL = (NUMBER, NUMBER)
# What is read back of a result, and of the mark of a run that has begun.
EVALUATION = {"corpus": str, "split": str, "fold": int | str | None, "protocol": str, "n": int, "dropped": dict}
EVALUATION |= {"classes": [str], "ua": NUMBER, "wa": NUMBER, "macro_f1": NUMBER}
EVALUATION |= {"ua_ci95": INTERVAL, "wa_ci95": INTERVAL}
INPUTS = {"corpus": str, "digest": str, "weights": str | None}
RESULT = {
    "config": {"labels": {"classes": dict | None}},
    "train": {**INPUTS, "classes": [str], "folds": [{"fold": int | None, "folder": str}]},
    "evals": [EVALUATION],
    "warnings": [str],
}
RERUN_HINT = "run again with force=true"
# What does not change a run's numbers. A group's name is left out too: its values say what it is.
INFRASTRUCTURE = {
    "": {"out", "device", "force", "eval", "cache", "experiment_name"},
    "backbone": {"learning_rate", "freeze"},  # they act through the trainer group, which takes them over
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
            kept[group] = {key: value for key, value in config[group].items() if key not in keys}
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


def run_folder(config: Config) -> Path:
    """The folder of a run."""
    for name in (config.backbone.name, config.dataset.name):
        if not name or Path(name).name != name or name.startswith("."):
            raise SetupError(f"The name '{name}' cannot name a folder; use letters, digits, '-' and '_'.")
    return Path(config.out) / config.backbone.name / config.dataset.name / identity(config)


def previous_folder(folder: Path) -> Path:
    """Where the finished run stays while `force=true` runs it again."""
    return folder.with_name(folder.name + PREVIOUS)


def set_aside(folder: Path) -> None:
    """Take a run out of its folder: a finished one is kept aside, until the new one has its result too."""
    if not (folder / RESULT_FILE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        return
    previous = previous_folder(folder)
    shutil.rmtree(previous, ignore_errors=True)  # what it stood in for is finished
    with files.telling_failed_writes(previous):
        os.replace(folder, previous)
    say(f"the finished run is kept in {previous} until the new one is finished")


def read_result(folder: Path) -> dict[str, Any]:
    """The result of a finished run; SetupError where there is none, InputError where it is not sound."""
    path, previous = folder / RESULT_FILE, previous_folder(folder)
    if not path.is_file():
        before = f"; the one before it is in {previous}" if previous.is_dir() else ""
        raise SetupError(f"There is no finished run in {folder}: it has no result.json{before}.")
    version = files.read_shaped(path, {"schema_version": int}, RERUN_HINT)["schema_version"]
    if version != SCHEMA_VERSION:
        raise InputError(f"{path} is not a result of schema version {SCHEMA_VERSION}; {RERUN_HINT}.")
    result: dict[str, Any] = files.read_shaped(path, RESULT, RERUN_HINT)
    return result


def model_folders(folder: Path, result: dict[str, Any]) -> list[tuple[int | None, Path]]:
    """The models of a finished run with their fold's number (None: the release's own split)."""
    return [(entry["fold"], folder / entry["folder"] / "model") for entry in result["train"]["folds"]]
