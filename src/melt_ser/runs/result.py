"""From trained folds and their predictions to the content of `result.json`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from melt_ser.core import files
from melt_ser.corpora.fold_split import FoldSplit, group_warnings, shared_audio_warnings
from melt_ser.evaluation.calibration import DevCalibration
from melt_ser.evaluation.evaluation_sets import EvaluationSet
from melt_ser.runs.figures import training_curve_figure
from melt_ser.runs.folder import INPUTS, INPUTS_FILE, NUMBER, RERUN_HINT, SCHEMA_VERSION
from melt_ser.runs.identity import plain
from melt_ser.runs.plan import RunPlan
from melt_ser.runs.provenance import device_name, git_state, versions
from melt_ser.runs.score import Row, evaluation_rows, pool, unscored_entries

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass
class FoldTraining:
    """How the training of one fold went; read back where an interrupted run had finished it."""

    best_epoch: int
    dev_ua: float
    seconds: float


def read_training(path: Path) -> FoldTraining:
    """What `fold.json` says; InputError where it is damaged."""
    shape = {"best_epoch": int, "dev_ua": NUMBER, "seconds": NUMBER}
    value = files.read_shaped(path, shape, "delete it to train that fold again")
    return FoldTraining(value["best_epoch"], value["dev_ua"], value["seconds"])


@dataclass
class FoldOutcome:
    """One fold: its parts, its training, how sure its model is on dev, and what that answered for each target."""

    parts: FoldSplit
    trained: FoldTraining
    calibration: DevCalibration
    targets: list[EvaluationSet]
    predictions: list[pd.DataFrame]


def make_result(
    study: RunPlan, folds: list[FoldOutcome], typed_command: str, accelerator: Accelerator
) -> dict[str, Any]:
    """Score the predictions, write them and the figures, and give the result."""
    rows: list[Row] = []
    curves = [pd.read_csv(study.fold_folder(fold.parts) / "metrics.csv") for fold in folds]
    for fold in folds:
        for target, table in zip(fold.targets, fold.predictions, strict=True):
            number, temperature = fold.parts.fold, fold.calibration.temperature
            rows += evaluation_rows(
                study.folder, target, table, study.classes, number, temperature, not study.one_model
            )
    training_curve_figure(curves, study.folder / "figures" / "training_curve.png")
    padding = [float(curve["padding"].mean()) for curve in curves]
    if not study.one_model:
        rows = _pooled_rows(study, folds) + rows
    return {
        "schema_version": SCHEMA_VERSION,
        "run": {
            "id": study.folder.name,
            "experiment": study.config.experiment_name,
            "command": typed_command,
            "git": git_state(),
            "versions": versions(),
            "device": device_name(accelerator.device),
            "processes": accelerator.num_processes,
            "precision": accelerator.mixed_precision.replace("no", "fp32"),
            "seed": study.config.seed,
            "seconds": round(sum(fold.trained.seconds for fold in folds), 3),
        },
        "config": plain(study.config),
        "train": {**_train_entry(study, folds), "padding": round(sum(padding) / len(padding), 4)},
        "evals": rows,
        "unscored": unscored_entries(study.unscored),
        "warnings": _warnings(study, rows),
    }


def _pooled_rows(study: RunPlan, folds: list[FoldOutcome]) -> list[Row]:
    """For each corpus, the rows over all folds' predictions together (`fold: "all"`)."""
    numbers = [fold.parts.fold or 0 for fold in folds]
    temperatures: list[float | None] = [fold.calibration.temperature for fold in folds]
    rows: list[Row] = []
    for position in range(len(folds[0].targets)):
        targets = [fold.targets[position] for fold in folds]
        tables = [fold.predictions[position] for fold in folds]
        target, predictions, of_row = pool(targets, tables, numbers, temperatures)
        rows += evaluation_rows(study.folder, target, predictions, study.classes, "all", of_row)
    return rows


def _train_entry(study: RunPlan, folds: list[FoldOutcome]) -> dict[str, Any]:
    usable, left_out = study.corpus.usable(study.space)
    one = folds[0] if study.one_model else None
    return {
        **files.read_shaped(study.folder / INPUTS_FILE, INPUTS, RERUN_HINT),
        "n": len(one.parts.train) if one else len(usable),
        "classes": study.classes,
        "best_epoch": one.trained.best_epoch if one else None,
        "dev_ua": sum(fold.trained.dev_ua for fold in folds) / len(folds),
        "rules": study.corpus.rules,
        "dropped": {**left_out, **study.corpus.dropped["reason"].str.split(":").str[0].value_counts().to_dict()},
        "folds": [
            {
                "fold": fold.parts.fold,
                "folder": study.fold_folder(fold.parts).relative_to(study.folder).as_posix(),
                "n": len(fold.parts.train),
                "n_dev": len(fold.parts.dev),
                "n_test": len(fold.parts.test),
                "best_epoch": fold.trained.best_epoch,
                "dev_ua": fold.trained.dev_ua,
                "dev_ece": fold.calibration.ece,
                "temperature": fold.calibration.temperature,
                "seconds": round(fold.trained.seconds, 3),
            }
            for fold in folds
        ],
    }


def _warnings(study: RunPlan, rows: list[Row]) -> list[str]:
    usable, _ = study.corpus.usable(study.space)
    sentences = [*study.corpus.notes, *group_warnings(usable, study.config.dataset)]
    for other in study.others:
        if other.config.synthetic:
            sentences += group_warnings(other.table, other.config)
    sentences += dict.fromkeys(note for parts in study.parts for note in parts.notes)
    for parts in study.parts:
        sentences += shared_audio_warnings(study.corpus.name, parts)
        where = "" if parts.fold is None else f" of fold {parts.fold}"
        missing = [name for name in study.classes if name not in set(parts.train["class"])]
        if missing:
            sentences.append(f"The training part{where} has no {', '.join(missing)}; the model cannot answer it.")
        untested = [name for name in study.classes if name not in set(parts.test["class"])]
        if untested and study.scores_itself:
            sentences.append(f"The test part{where} has no {', '.join(untested)}; its UA is over the other classes.")
    if study.config.backbone.checkpoint is None:
        sentences.append(
            f"The backbone '{study.config.backbone.name}' starts from random weights: it is for trying things out, "
            f"and its numbers say nothing about pretrained models."
        )
    sentences += [
        f"{row['corpus']}: {warning}" for row in rows for warning in row["warnings"] if row["protocol"] == "closed"
    ]
    overlaps = {row["corpus"]: row["overlap"] for row in rows if row["overlap"]}
    sentences += [f"{count} recordings of '{name}' were trained on." for name, count in overlaps.items()]
    return sentences
