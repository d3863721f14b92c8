"""What a model comes from: the checkpoint and the corpora that it learned from, each with its licence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from melt_ser.core.licences import objection
from melt_ser.core.package import STUDENTS, conf_folder
from melt_ser.evaluation.results import Result

Settings = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """A checkpoint or a corpus, with its licence in words ("": not known)."""

    kind: str  # checkpoint, text encoder or corpus
    name: str
    licence: str

    @property
    def objection(self) -> str | None:
        """Return why its licence does not plainly let the model be passed on; None if it does."""
        return objection(self.licence)


def origins(result: Result) -> list[Origin]:
    """Return each checkpoint, unless the weights are random or measured, and each training corpus of a run."""
    backbone, found = result.config["backbone"], []
    if starts_from_checkpoint(result):
        shipped = _shipped("backbone", backbone["name"])
        same = shipped.get("checkpoint") == backbone["checkpoint"]
        licence = backbone.get("licence") or (shipped.get("licence", "") if same else "")
        found.append(Origin("checkpoint", backbone["checkpoint"], licence))
    if backbone.get("text") is not None:
        shipped = _shipped("backbone", "text")
        licence = shipped["licence"] if shipped["checkpoint"] == backbone["text"] else ""
        found.append(Origin("text encoder", backbone["text"], licence))
    for name, corpus in training_corpora(result).items():
        shipped = _shipped("dataset", name)
        same = shipped.get("reader") == corpus.get("reader")
        found.append(Origin("corpus", name, corpus.get("licence") or (shipped.get("licence", "") if same else "")))
    return found


def training_corpora(result: Result) -> dict[str, Settings]:
    """Return the settings of the corpus that a run learned from, by name; those of each member for a union."""
    dataset = result.config["dataset"]
    members: dict[str, Settings] = dataset.get("member_settings") or {dataset["name"]: dataset}
    return members


def starts_from_checkpoint(result: Result) -> bool:
    """Return whether training started from learned weights; not from random ones, nor with measured features."""
    backbone = result.config["backbone"]
    return backbone.get("checkpoint") is not None and backbone.get("init", "pretrained") != "random"


def is_student(result: Result) -> bool:
    """Return whether the checkpoint is a small encoder of the package, whose card has to be passed on with it."""
    return starts_from_checkpoint(result) and result.config["backbone"]["checkpoint"].startswith(STUDENTS)


def _shipped(group: str, name: str) -> Settings:
    """Return the YAML of a choice in the package, for results that are older than the setting; {} if there is none."""
    path = Path(conf_folder()) / group / f"{name}.yaml"
    settings: Settings = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return settings
