"""Run folders: where a run lives, what identifies it, and its result.

    <out>/<backbone>/<dataset>/<run id>/
        config.yaml  inputs.json  splits.csv  metrics.csv  model/  predictions/<corpus>.csv  figures/  result.json
        folds/<k>/   (fold=all) the same for each fold
    <out>/<backbone>/<dataset>/<run id>.previous/   the finished run, while force=true runs it again

The run id hashes the resolved configuration without infrastructure and without `eval`, so that the same
settings reach the same folder however they were typed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from melt_ser.config import Config
from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import InputError, SetupError
from melt_ser.runs.identity import identity

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
