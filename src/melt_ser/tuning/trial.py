"""One trial: train with its settings, and score dev. No test part is at hand, and no model is kept.

    <study folder>/trials/<run id>/  config.yaml  metrics.csv (or probe.*)  trial.json; with several folds in folds/<k>/

The run id is that of the run with the same settings. So equal settings are trained once, and a trial that was killed
goes on from its last checkpoint. The checkpoints are deleted when the trial ends.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from omegaconf import DictConfig

from melt_ser.cli.checks import check
from melt_ser.cli.compose import typed
from melt_ser.cli.sweep import sweeping
from melt_ser.config import Config
from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import MeltSerError, SetupError
from melt_ser.core.locks import exclusive_lock
from melt_ser.core.processes import several
from melt_ser.data.audio_cache import AudioCache
from melt_ser.evaluation.dev_metric import LOWEST
from melt_ser.models.backbone import Backbone
from melt_ser.models.families import check_family
from melt_ser.runs.figures import curve_columns
from melt_ser.runs.fold import ReadBackbone, configured_backbone, delete_checkpoints, train_model
from melt_ser.runs.fold_inputs import open_cache
from melt_ser.runs.folder import write_settings
from melt_ser.runs.identity import identity
from melt_ser.runs.plan import RunPlan, make_plan
from melt_ser.runs.step_seconds import use_found_step_seconds
from melt_ser.runs.tracking import chosen
from melt_ser.training.device import make_accelerator

TRIAL_FILE = "trial.json"  # the mark of a finished trial
STEPS_OF_A_FOLD = 10_000  # epoch e of the second fold is step 10,000 + e; the last step of a fold is its end


class Outcome(msgspec.Struct):
    """A finished trial: its score on dev, the best epoch of each fold (None: a probe), and its time.

    dev_ua, dev_value: the mean over folds of UA if it chose, and of another score that chose; otherwise None.
    """

    dev_ua: float | None
    best_epochs: list[int | None]
    seconds: float
    dev_value: float | None = None

    @property
    def value(self) -> float:
        """Return the score that chose."""
        value = self.dev_ua if self.dev_value is None else self.dev_value
        assert value is not None
        return value


class Pruned(Exception):
    """The trial is stopped, because it is worse than others were at the same epoch."""


ReportStep = Callable[[int, float], None]
"""Receive a step and the dev score up to it, of all folds together; raise `Pruned` to stop the trial."""


def checked(composed: DictConfig) -> Config:
    """Return the settings of the command; SetupError if they do not fit a search or a range test."""
    if sweeping():
        raise SetupError("tune takes one configuration, and this experiment is a sweep; add hydra.mode=RUN.")
    if several():
        raise SetupError("tune trains each trial in one process; start it without a launcher, or with --workers.")
    config = typed(composed, Config)
    check(config)
    if config.force:
        raise SetupError("force=true is for train; to begin a search again, choose another --study.")
    if chosen(config.logger):
        say("note: logger= is for train; trials go to the study, in its storage, study.csv and figures.")
    return config


def search_plan(config: Config) -> RunPlan:
    """Return the plan of a run for a search: no corpus is tested on, and every test part is empty."""
    plan = make_plan(untested(config))
    return replace(plan, splits=[replace(split, test=split.test.iloc[:0]) for split in plan.splits])


def untested(config: Config) -> Config:
    """Return a configuration without test corpora."""
    return replace(config, eval=replace(config.eval, corpora=[], reference=None))


class Trainer:
    """Train trials of one search; they share the corpus, its caches, and a frozen backbone."""

    def __init__(self, plan: RunPlan, folder: Path) -> None:
        """Prepare the trials of a plan without tests, in the folder of their study."""
        self.plan, self.folder = plan, folder
        self._frozen: tuple[str, Backbone] | None = None

    @functools.cached_property
    def cache(self) -> AudioCache | None:
        """Return the cache of decoded clips."""
        return open_cache(self.plan)

    def train(self, config: Config, report: ReportStep) -> Outcome:
        """Train with the settings of a trial, or read the outcome of a finished one; return its outcome.

        Raises Pruned if `report` does, and the errors of a training; the checkpoints are deleted then too.
        """
        folder = self.folder / "trials" / identity(config)
        with exclusive_lock(folder, waits=True):  # another worker may have drawn the same settings
            if (folder / TRIAL_FILE).is_file():
                outcome: Outcome = files.read_typed(folder / TRIAL_FILE, Outcome, "delete it to train that trial again")
                return outcome
            check_family(config.backbone.family)
            plan = replace(self.plan, config=untested(config), folder=folder)
            use_found_step_seconds(plan, make_accelerator(config.device, config.trainer.precision))
            write_settings(folder, plan.config)
            try:
                outcome = self._train_folds(plan, report)
            except (Pruned, MeltSerError):
                self._tidy(plan)
                raise
            files.write_json(folder / TRIAL_FILE, msgspec.to_builtins(outcome))
            self._tidy(plan)
            return outcome

    def _train_folds(self, plan: RunPlan, report: ReportStep) -> Outcome:
        started = time.perf_counter()
        best: list[float] = []  # dev scores of the finished folds
        best_epochs: list[int | None] = []
        for number, split in enumerate(plan.splits):
            title = "" if plan.one_model else f"fold {split.fold}"
            follow = functools.partial(self._report_epochs, report, best)
            read_backbone = self._reader(plan.config)
            _, training = train_model(plan, split, plan.fold_folder(split), title, self.cache, read_backbone, follow)
            assert training.score is not None
            best.append(training.score)
            best_epochs.append(training.best_epoch)
            if split is not plan.splits[-1]:
                report((number + 1) * STEPS_OF_A_FOLD - 1, self._so_far(best))
        value, seconds = self._so_far(best), time.perf_counter() - started
        if plan.dev_metric == "ua":
            return Outcome(value, best_epochs, seconds)
        return Outcome(None, best_epochs, seconds, value)

    def _so_far(self, best: Sequence[float]) -> float:
        """Return the mean score of the folds; one that is not trained yet counts as the lowest score."""
        waiting = len(self.plan.splits) - len(best)
        return (sum(best) + waiting * LOWEST[self.plan.dev_metric]) / len(self.plan.splits)

    def _report_epochs(
        self, report: ReportStep, finished: Sequence[float], _: Path, history: Sequence[Mapping[str, Any]]
    ) -> None:
        """Report each epoch of a fold: the mean of the best dev scores so far, over all folds.

        So the value rises from epoch to epoch, and the last one is that of the trial. The pruner compares it with
        other trials at the same epoch of the same fold.
        """
        name, best = curve_columns(self.plan.dev_metric)[-1], -math.inf
        for row in history:
            best = max(best, row[name])
            report(len(finished) * STEPS_OF_A_FOLD + int(row["epoch"]), self._so_far([*finished, best]))

    def _reader(self, config: Config) -> ReadBackbone:
        """Return a function that returns the backbone; a frozen one is read once for all trials with its settings."""
        if config.trainer.freeze != "everything":
            return functools.partial(configured_backbone, config)
        settings = repr((config.backbone, config.seed, config.trainer.gradient_checkpointing))
        if self._frozen is None or self._frozen[0] != settings:
            self._frozen = None  # one backbone at a time is in memory
            self._frozen = settings, configured_backbone(config)
        backbone = self._frozen[1]
        return lambda: backbone

    @staticmethod
    def _tidy(plan: RunPlan) -> None:
        for split in plan.splits:
            delete_checkpoints(plan.fold_folder(split))
