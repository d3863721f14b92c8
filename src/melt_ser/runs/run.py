"""Run a configuration up to its `result.json`: corpora, folds, training, evaluation."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pandas as pd
from omegaconf import DictConfig

from melt_ser.cli.checks import check
from melt_ser.cli.compose import typed
from melt_ser.cli.failures import FAILED, noting_failure
from melt_ser.cli.sweep import command, sweeping
from melt_ser.config import BackboneConfig, Config, DatasetConfig
from melt_ser.core import files, processes
from melt_ser.core.console import finish, say, show
from melt_ser.core.errors import InputError
from melt_ser.core.locks import exclusive_lock
from melt_ser.core.package import STUDENTS
from melt_ser.core.vocabulary import WITHOUT_WEIGHTS
from melt_ser.evaluation.results import Evaluation, Inputs, RatingScore, Result, write_result
from melt_ser.models.checkpoint_files import is_cached, weights_digest
from melt_ser.models.families import check_family
from melt_ser.runs.folder import (
    INPUTS_FILE,
    RESULT_FILE,
    goes_on,
    note_job,
    previous_folder,
    read_inputs,
    read_result,
    run_folder,
    set_aside,
    write_settings,
)
from melt_ser.runs.make_result import FoldOutcome, make_result
from melt_ser.runs.model_card import write_card
from melt_ser.runs.plan import RunPlan, evaluation_sets, make_plan
from melt_ser.runs.rating_table import rating_tables
from melt_ser.runs.run_figures import draw_figures
from melt_ser.runs.step_seconds import use_found_step_seconds
from melt_ser.runs.table import evaluation_table
from melt_ser.runs.tracking import Tracking, check_packages, tracking
from melt_ser.runs.warnings import single_fold, warnings_before
from melt_ser.training.main_process import main_process_first

if TYPE_CHECKING:
    from melt_ser.models.classifier import SpeechClassifier


def run(composed: DictConfig) -> Path:
    """Train and evaluate a composed configuration, or skip a finished run; return the path of `result.json`."""
    path, _, _ = run_or_skip(composed)
    return path


def run_or_skip(composed: DictConfig) -> tuple[Path, bool, dict[str, float]]:
    """Do as `run` does; also return whether everything was finished before, and the UA (a share) on each corpus.

    A failure is noted in the run folder.
    """
    config = typed(composed, Config)
    check(config)
    check_family(config.backbone.family)
    check_packages(config.logger)
    with noting_failure(run_folder(config), command(), Config):
        return _run(config)


def _run(config: Config) -> tuple[Path, bool, dict[str, float]]:
    warning = processes.warn_of_a_lone_process()
    if warning:
        say(f"note: {warning}")
    with main_process_first(config.device):  # the main process verifies the audio, the others find its results
        plan = make_plan(config)
        path = plan.folder / RESULT_FILE
        if config.force or not path.is_file():
            _ = plan.augmentation  # a missing folder is told before the training
    with exclusive_lock(plan.folder, waits=sweeping()):  # jobs of a sweep may score one run on different corpora
        if processes.is_main_process():
            (plan.folder / FAILED).unlink(missing_ok=True)
        is_finished = path.is_file() and goes_on(plan.folder, config.force)
        told = [] if is_finished else warnings_before(plan)  # before hours of training, not after them
        for warning in told:
            say(f"note: {warning}")
        with tracking(config, plan.folder) as tracked:
            result, scored = _complete(plan) if is_finished else (_train_and_score(plan, tracked), None)
            if result is not None and processes.is_main_process():
                draw_figures(plan.folder, result, config.eval.figures, scored)
                write_card(plan.folder, result)
                shutil.rmtree(previous_folder(plan.folder), ignore_errors=True)
                tracked.result(result)
    if result is not None:
        if result.evals:
            show(evaluation_table(result.evals))
        for table in rating_tables(result.ratings):
            show(table)
        shown = set(told) - set(single_fold(plan))  # the sentence about a single fold stands next to its numbers too
        for warning in result.warnings:
            if warning not in shown:
                say(f"note: {warning}")
        say(f"plots: {plan.folder / 'figures'}")
    finish(path)
    if plan.unscored:
        reasons = " ".join(plan.unscored.values())
        raise InputError(
            f"The run is finished, but {', '.join(plan.unscored)} could not be scored; the same command adds the "
            f"missing scores. {reasons}"
        )
    closed = [] if result is None else result.closed_evals()  # no result: another process has it
    return path, scored == set(), {row.corpus: ua for row in closed if (ua := row.value("ua")) is not None}


def _complete(plan: RunPlan) -> tuple[Result, set[str]]:
    """Score a finished run on the corpora that it lacks; return the result, and the names of these corpora."""
    from melt_ser.runs.rescore import complete

    result = finished(plan)
    before: list[Evaluation | RatingScore] = [*result.evals, *result.ratings]
    scored = {row.corpus for row in before}
    plan.unscored = {name: reason for name, reason in plan.unscored.items() if name not in scored}
    result = complete(plan, result)
    now: list[Evaluation | RatingScore] = [*result.evals, *result.ratings]
    return result, {row.corpus for row in now if row not in before}


def finished(plan: RunPlan) -> Result:
    """Return the result of the finished run of a plan; InputError if its corpus or weights have changed since."""
    result = read_result(plan.folder)
    backbone = plan.config.backbone
    has_weights = backbone.family not in WITHOUT_WEIGHTS
    encoders = [encoder for encoder in (backbone, backbone.text_encoder) if encoder is not None]
    # A finished run downloads nothing.
    at_hand = has_weights and all(encoder.checkpoint is None or is_cached(encoder) for encoder in encoders)
    weights = weights_digest(backbone) if at_hand else result.train.weights
    _refuse_changed_inputs(plan, weights, result.train, "was finished")
    return result


def _refuse_changed_inputs(
    plan: RunPlan, weights: str | None, before: Inputs, event: str, sounds: str | None = None
) -> None:
    changed = [f"Corpus '{plan.corpus.name}' has"] if before.digest != plan.corpus.digest else []
    if before.weights != weights:
        measured = plan.config.backbone.family in WITHOUT_WEIGHTS
        backbone = plan.config.backbone
        text = "" if backbone.text is None else f" or the text encoder {backbone.text}"
        changed += ["opensmile has" if measured else f"The checkpoint {backbone.checkpoint}{text} has"]
    if before.sounds is not None and sounds is not None and before.sounds != sounds:
        changed.append("The recordings in augment.noise_folder or augment.room_folder have")
    for subject in changed:
        raise InputError(
            f"{subject} changed since the run in {plan.folder} {event}; "
            f"set force=true to run again, or another out=<folder>."
        )


def _open_folder(plan: RunPlan) -> None:
    """Make the run folder and describe the run in it; InputError if it was started with other inputs."""
    config, folder, sounds = plan.config, plan.folder, plan.augmentation.digest
    weights = weights_digest(config.backbone)
    if not goes_on(folder, config.force):
        set_aside(folder)
        note_job(folder)
    files.remove_leftovers(folder)
    started = folder / INPUTS_FILE
    inputs = Inputs(corpus=plan.corpus.name, digest=plan.corpus.digest, weights=weights, sounds=sounds)
    if started.is_file():
        before = read_inputs(folder)
        _refuse_changed_inputs(plan, weights, before, "was begun", sounds)
        inputs.step_seconds = before.step_seconds
    files.write_json(started, msgspec.to_builtins(inputs))
    write_settings(folder, config)
    assignment = pd.concat([split.assignment() for split in plan.splits], ignore_index=True)
    files.write_csv(folder / "splits.csv", assignment)


def _say_if_small(backbone: BackboneConfig, dataset: DatasetConfig) -> None:
    """Say that a backbone is for trying things out, if its weights are random or a student's; so is a demo corpus."""
    if backbone.is_random:
        kind = "has random weights"
    elif (backbone.checkpoint or "").startswith(STUDENTS):
        kind = "is a small student of a larger encoder"
    else:
        return
    own = ", and your data with dataset=<name> dataset.root=<folder>" if dataset.synthetic else ""
    say(
        f"The backbone '{backbone.name}' {kind}, for trying things out; choose a published one with backbone=wav2vec2, "
        f"hubert, wavlm or data2vec{own}."
    )


def _train_and_score(plan: RunPlan, tracked: Tracking) -> Result | None:
    """Train and predict in every process; the main process scores and writes, and only it gets the result."""
    config = plan.config
    if config.backbone.family not in WITHOUT_WEIGHTS:
        _say_if_small(config.backbone, config.dataset)

    from melt_ser.models.export import share_backbones  # imports torch; a missing corpus is reported without it
    from melt_ser.runs.fold import ReadBackbone, calibrate_on_dev, configured_backbone, load_or_train, predict_sets
    from melt_ser.runs.fold_inputs import open_cache
    from melt_ser.training.device import make_accelerator

    accelerator = make_accelerator(config.device, config.trainer.precision)
    use_found_step_seconds(plan, accelerator)
    if accelerator.is_main_process:
        _open_folder(plan)
        tracked.start()
    accelerator.wait_for_everyone()
    cache = open_cache(plan)
    read_backbone: ReadBackbone = functools.partial(configured_backbone, config)
    is_shared = config.trainer.freeze == "everything"  # the backbone is the same in every fold
    if is_shared:
        read_backbone = functools.cache(read_backbone)
    folds: list[FoldOutcome] = []
    models: list[SpeechClassifier] = []  # that have not been scored yet
    for split in plan.splits:
        inputs, training = load_or_train(plan, split, cache, read_backbone, tracked.epochs)
        folds.append(FoldOutcome(split, training, calibrate_on_dev(inputs), evaluation_sets(plan, split)))
        models = share_backbones([*models, inputs.model])
        if not is_shared or split is plan.splits[-1]:
            waiting = folds[-len(models) :]
            answers = predict_sets(inputs, models, [fold.evaluation_sets for fold in waiting])
            for fold, probabilities in zip(waiting, answers, strict=True):
                fold.probabilities = probabilities
            models = []
    if not accelerator.is_main_process:
        return None
    result = make_result(plan, folds, command(), accelerator)
    write_result(plan.folder / RESULT_FILE, result)
    return result
