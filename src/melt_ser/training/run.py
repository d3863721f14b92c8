"""A run from its configuration to its `result.json`: corpora, folds, training, evaluation."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from omegaconf import DictConfig

from melt_ser import files
from melt_ser.checks import check
from melt_ser.config import Config
from melt_ser.console import say, show, verification_bar
from melt_ser.corpora.corpus import Corpus, corpus_root, load_corpus
from melt_ser.corpora.splits import Parts, group_warnings, make_parts
from melt_ser.errors import InputError
from melt_ser.evaluation.provenance import git_state, versions
from melt_ser.evaluation.results import Row, evaluation_rows, pool, prediction_table
from melt_ser.evaluation.targets import Target, make_target
from melt_ser.labels import LabelSpace
from melt_ser.launch import command, load_dataset, typed
from melt_ser.reporting.figures import training_curve_figure
from melt_ser.reporting.tables import evaluation_table
from melt_ser.runs import SCHEMA_VERSION, plain, read_result, run_folder


@dataclass
class Fold:
    """One trained model: its parts, where it lives, how it went."""

    parts: Parts
    folder: Path
    best_epoch: int
    dev_ua: float
    seconds: float


@dataclass
class Study:
    """What a run works on, known before any model is loaded."""

    config: Config
    folder: Path
    corpus: Corpus
    space: LabelSpace
    classes: list[str]
    parts: list[Parts]
    others: list[Corpus]  # further corpora to score
    scores_itself: bool  # whether the training corpus is among eval.corpora

    @property
    def one_model(self) -> bool:
        return len(self.parts) == 1


def run(composed: DictConfig) -> Path:
    """Train and evaluate as the configuration says, or skip what is done; returns the path of `result.json`."""
    config = typed(composed, Config)
    check(config)
    study = prepare_study(config)
    path = study.folder / "result.json"
    if path.is_file() and not config.force:
        from melt_ser.evaluation.rescore import complete  # only what a grown eval.corpora lacks

        result = complete(study)
    else:
        result = _train_and_score(study, typed_command=command())
        files.write_json(path, result)
    show(evaluation_table([{**row, "dropped": sum(row["dropped"].values())} for row in result["evals"]]))
    for warning in result["warnings"]:
        say(f"note: {warning}")
    say(f"plots: {study.folder / 'figures'}")
    print(f"result: {path}", flush=True)
    return path


def prepare_study(config: Config) -> Study:
    """Read and split the corpora; every name and folder is checked before anything slow."""
    names = config.eval.corpora if config.eval.corpora is not None else [config.dataset.name]
    other_configs = []
    for name in names:
        if name != config.dataset.name:
            other = load_dataset(name)
            other.root = config.eval.roots.get(name, other.root)
            corpus_root(other)
            other_configs.append(other)
    corpus = load_corpus(config.dataset, progress=verification_bar)
    space = label_space(config, corpus)
    usable, _ = corpus.usable(space)
    classes = [name for name in space.classes if name in set(usable["class"])]
    if len(classes) < 2:
        raise InputError(
            f"Corpus '{corpus.name}' has {len(classes)} of the classes of label space '{space.name}' "
            f"({', '.join(space.classes)}); training needs two or more."
        )
    parts = make_parts(usable, config.dataset)
    others = [load_corpus(other, progress=verification_bar) for other in other_configs]
    folder = run_folder(config)
    return Study(config, folder, corpus, space, classes, parts, others, config.dataset.name in names)


def label_space(config: Config, corpus: Corpus) -> LabelSpace:
    """The label space of the run; `native` is what the training corpus has."""
    if config.labels.classes is None:
        return LabelSpace.native(corpus.table["emotion"])
    return LabelSpace(config.labels.name, config.labels.classes)


def fold_targets(study: Study, parts: Parts) -> list[Target]:
    """What one fold's model is scored on; refuses recordings that it was trained on."""
    settings = study.config.eval
    trained = set(parts.train["source"]) | set(parts.dev["source"])
    targets = []
    if study.scores_itself:
        targets.append(make_target(study.corpus, study.space, study.classes, settings, trained, parts.test))
    targets += [make_target(other, study.space, study.classes, settings, trained) for other in study.others]
    return targets


def _train_and_score(study: Study, typed_command: str) -> dict[str, Any]:
    started = time.perf_counter()
    config, folder = study.config, study.folder
    for parts in study.parts:
        fold_targets(study, parts)  # an overlap or an empty test part is told before the training, not after
    if config.force:
        shutil.rmtree(folder, ignore_errors=True)
    _tell_tiny(config)

    from melt_ser.training.device import make_accelerator
    from melt_ser.training.model import load_or_train, predict_targets

    accelerator = make_accelerator(config.device, config.trainer.precision, config.trainer.accumulation)
    files.write_text(folder / "config.yaml", yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True))
    assignment = pd.concat([parts.assignment() for parts in study.parts], ignore_index=True)
    files.write_csv(folder / "splits.csv", assignment)

    folds: list[Fold] = []
    rows: list[Row] = []
    scored: list[tuple[list[Target], list[pd.DataFrame]]] = []
    for parts in study.parts:
        fold_folder = folder if study.one_model else folder / "folds" / str(parts.fold)
        model, fold = load_or_train(study, parts, fold_folder, accelerator)
        targets = fold_targets(study, parts)
        tables = [
            prediction_table(target, probabilities, study.classes)
            for target, probabilities in predict_targets(model, targets, config.eval.batch_size, accelerator)
        ]
        for target, table in zip(targets, tables, strict=True):
            rows += evaluation_rows(folder, target, table, study.classes, parts.fold, not study.one_model)
        folds.append(fold)
        scored.append((targets, tables))
        curve = "training_curve" if study.one_model else f"training_curve_fold{parts.fold}"
        training_curve_figure(pd.read_csv(fold_folder / "metrics.csv"), folder / "figures" / f"{curve}.png")
    if not study.one_model:
        rows = pooled_rows(study, scored) + rows
    return {
        "schema_version": SCHEMA_VERSION,
        "run": {
            "id": folder.name,
            "experiment": config.experiment_name,
            "command": typed_command,
            "git": git_state(),
            "versions": versions(),
            "device": str(accelerator.device),
            "precision": accelerator.mixed_precision.replace("no", "fp32"),
            "seed": config.seed,
            "seconds": round(time.perf_counter() - started, 3),
        },
        "config": plain(config),
        "train": _train_entry(study, folds),
        "evals": rows,
        "warnings": _warnings(study, rows),
    }


def pooled_rows(study: Study, scored: list[tuple[list[Target], list[pd.DataFrame]]]) -> list[Row]:
    """For each corpus, the rows over all folds' predictions together (`fold: "all"`)."""
    numbers = [parts.fold or 0 for parts in study.parts]
    rows: list[Row] = []
    for position in range(len(scored[0][0])):
        targets = [targets[position] for targets, _ in scored]
        target, predictions = pool(targets, [tables[position] for _, tables in scored], numbers)
        rows += evaluation_rows(study.folder, target, predictions, study.classes, "all")
    return rows


def _train_entry(study: Study, folds: list[Fold]) -> dict[str, Any]:
    usable, left_out = study.corpus.usable(study.space)
    one = folds[0] if study.one_model else None
    return {
        "corpus": study.corpus.name,
        "digest": study.corpus.digest,
        "n": len(one.parts.train) if one else len(usable),
        "classes": study.classes,
        "best_epoch": one.best_epoch if one else None,
        "dev_ua": sum(fold.dev_ua for fold in folds) / len(folds),
        "rules": study.corpus.rules,
        "dropped": {**left_out, **study.corpus.dropped["reason"].str.split(":").str[0].value_counts().to_dict()},
        "folds": [
            {
                "fold": fold.parts.fold,
                "folder": "." if study.one_model else f"folds/{fold.parts.fold}",
                "n": len(fold.parts.train),
                "n_dev": len(fold.parts.dev),
                "n_test": len(fold.parts.test),
                "best_epoch": fold.best_epoch,
                "dev_ua": fold.dev_ua,
                "seconds": round(fold.seconds, 3),
            }
            for fold in folds
        ],
    }


def _warnings(study: Study, rows: list[Row]) -> list[str]:
    usable, _ = study.corpus.usable(study.space)
    sentences = group_warnings(usable, study.config.dataset)
    for other in study.others:
        if other.config.synthetic:
            sentences += group_warnings(other.table, other.config)
    for parts in study.parts:
        missing = [name for name in study.classes if name not in set(parts.train["class"])]
        if missing:
            where = "" if parts.fold is None else f" of fold {parts.fold}"
            sentences.append(f"The training part{where} has no {', '.join(missing)}; the model cannot answer it.")
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


def _tell_tiny(config: Config) -> None:
    if config.backbone.checkpoint is None:
        say(
            f"backbone={config.backbone.name} has random weights, for trying things out; choose a pretrained one with "
            f"backbone=wav2vec2, hubert, wavlm or data2vec, and your data with dataset=<name> dataset.root=<folder>."
        )


def finished(study: Study) -> dict[str, Any]:
    """The result of this study's finished run; refuses one whose corpus has changed since."""
    result = read_result(study.folder)
    if result["train"]["digest"] != study.corpus.digest:
        raise InputError(
            f"Corpus '{study.corpus.name}' has changed since the run in {study.folder} was finished; "
            f"set force=true to run again, or another out=<folder>."
        )
    return result
