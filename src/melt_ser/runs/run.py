"""A run from its configuration to its `result.json`: corpora, folds, training, evaluation."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from omegaconf import DictConfig

from melt_ser.cli.checks import check
from melt_ser.cli.compose import typed
from melt_ser.cli.failures import FAILED, noting_failure
from melt_ser.cli.sweep import command, sweeping
from melt_ser.config import Config
from melt_ser.core import files, processes
from melt_ser.core.console import finish, say, show
from melt_ser.core.errors import InputError
from melt_ser.core.locks import exclusive_lock
from melt_ser.models.checkpoint_files import is_cached, weights_digest
from melt_ser.runs.folder import (
    INPUTS,
    INPUTS_FILE,
    RERUN_HINT,
    RESULT_FILE,
    previous_folder,
    read_result,
    run_folder,
    set_aside,
)
from melt_ser.runs.identity import plain
from melt_ser.runs.plan import RunPlan, evaluation_sets, make_plan
from melt_ser.runs.result import FoldOutcome, make_result
from melt_ser.runs.score import prediction_table
from melt_ser.runs.table import evaluation_table
from melt_ser.training.main_process import main_process_first


def run(composed: DictConfig) -> Path:
    """Train and evaluate as the configuration says, or skip what is done; returns the path of `result.json`."""
    path, _ = run_or_skip(composed)
    return path


def run_or_skip(composed: DictConfig) -> tuple[Path, bool]:
    """What `run` does, and whether all of it was done already; a failure is noted in the run folder."""
    config = typed(composed, Config)
    check(config)
    with noting_failure(run_folder(config), command(), Config):
        return _run(config)


def _run(config: Config) -> tuple[Path, bool]:
    warning = processes.warn_of_a_lone_process()
    if warning:
        say(f"note: {warning}")
    with main_process_first(config.device):  # it verifies the audio, the others find that done
        study = make_plan(config)
    path = study.folder / RESULT_FILE
    result: dict[str, Any] | None
    with exclusive_lock(study.folder, waits=sweeping()):  # jobs of a sweep may score one run on different corpora
        if processes.is_main_process():
            (study.folder / FAILED).unlink(missing_ok=True)
        skipped = False
        if path.is_file() and not config.force:
            from melt_ser.runs.rescore import complete  # only what a grown eval.corpora lacks

            before = finished(study)
            scored = {row["corpus"] for row in before["evals"]}
            study.unscored = {name: reason for name, reason in study.unscored.items() if name not in scored}
            number = len(before["evals"])
            result = complete(study, before)
            skipped = len(result["evals"]) == number
        else:
            result = _train_and_score(study)
        if processes.is_main_process():
            shutil.rmtree(previous_folder(study.folder), ignore_errors=True)
    if result is not None:
        show(evaluation_table(result["evals"]))
        for warning in result["warnings"]:
            say(f"note: {warning}")
        say(f"plots: {study.folder / 'figures'}")
    finish(path)
    if study.unscored:
        reasons = " ".join(study.unscored.values())
        raise InputError(
            f"The run is finished, but {', '.join(study.unscored)} could not be scored; the same command adds what is "
            f"missing. {reasons}"
        )
    return path, skipped


def finished(study: RunPlan) -> dict[str, Any]:
    """The result of this study's finished run; refuses one whose corpus or weights have changed since."""
    result = read_result(study.folder)
    backbone = study.config.backbone
    at_hand = backbone.checkpoint is None or is_cached(backbone)  # nothing is downloaded for what is finished
    weights = weights_digest(backbone) if at_hand else result["train"]["weights"]
    _refuse_changed_inputs(study, weights, result["train"], "was finished")
    return result


def _refuse_changed_inputs(study: RunPlan, weights: str | None, before: dict[str, Any], what: str) -> None:
    changed = [f"Corpus '{study.corpus.name}' has"] if before["digest"] != study.corpus.digest else []
    changed += [f"The checkpoint {study.config.backbone.checkpoint} has"] if before["weights"] != weights else []
    for subject in changed:
        raise InputError(
            f"{subject} changed since the run in {study.folder} {what}; "
            f"set force=true to run again, or another out=<folder>."
        )


def _open_folder(study: RunPlan) -> None:
    """Make the run folder and say in it what the run is; refuses to go on with other inputs than it began with."""
    config, folder = study.config, study.folder
    weights = weights_digest(config.backbone)
    if config.force:
        set_aside(folder)
    files.remove_leftovers(folder)
    begun = folder / INPUTS_FILE
    if begun.is_file():
        _refuse_changed_inputs(study, weights, files.read_shaped(begun, INPUTS, RERUN_HINT), "was begun")
    files.write_json(begun, {"corpus": study.corpus.name, "digest": study.corpus.digest, "weights": weights})
    files.write_text(folder / "config.yaml", yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True))
    assignment = pd.concat([parts.assignment() for parts in study.parts], ignore_index=True)
    files.write_csv(folder / "splits.csv", assignment)


def _train_and_score(study: RunPlan) -> dict[str, Any] | None:
    """Every process trains and predicts; the main one scores and writes, and only it gets the result."""
    config = study.config
    if config.backbone.checkpoint is None:
        say(
            f"backbone={config.backbone.name} has random weights, for trying things out; choose a pretrained one with "
            f"backbone=wav2vec2, hubert, wavlm or data2vec, and your data with dataset=<name> dataset.root=<folder>."
        )

    from melt_ser.data.audio_cache import open_audio_cache
    from melt_ser.runs.fold import ReadBackbone, calibrate_on_dev, configured_backbone, load_or_train, predict_targets
    from melt_ser.training.device import make_accelerator

    accelerator = make_accelerator(config.device, config.trainer.precision)
    if accelerator.is_main_process:
        _open_folder(study)
    accelerator.wait_for_everyone()
    cache = open_audio_cache(study.corpus.name, study.corpus.table, config.cache)
    read_backbone: ReadBackbone = functools.partial(configured_backbone, config)
    if config.trainer.freeze == "everything":
        read_backbone = functools.cache(read_backbone)  # the same in every fold
    folds: list[FoldOutcome] = []
    for parts in study.parts:
        inputs, trained = load_or_train(study, parts, cache, read_backbone)
        calibration = calibrate_on_dev(inputs)
        targets = evaluation_sets(study, parts)
        tables = [
            prediction_table(target, probabilities, study.classes)
            for target, probabilities in predict_targets(inputs, targets)
        ]
        folds.append(FoldOutcome(parts, trained, calibration, targets, tables))
    if not accelerator.is_main_process:
        return None
    result = make_result(study, folds, command(), accelerator)
    files.write_json(study.folder / RESULT_FILE, result)
    return result
