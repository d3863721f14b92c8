"""Make the `Result` of a run from its trained folds, their predictions, and the versions that it ran with."""

from __future__ import annotations

import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pandas as pd

from melt_ser.core.package import __version__
from melt_ser.corpora.fold_split import FoldSplit
from melt_ser.corpora.sentences import script
from melt_ser.evaluation.calibration import DevCalibration
from melt_ser.evaluation.evaluation_sets import EvaluationSet
from melt_ser.evaluation.results import (
    SCHEMA_VERSION,
    FoldInfo,
    FoldTraining,
    Git,
    Result,
    RunInfo,
    TrainInfo,
)
from melt_ser.runs.answers import Answers
from melt_ser.runs.evaluations import Rows, answers_of, evaluation_rows, unscored_entries
from melt_ser.runs.folder import read_epochs, read_inputs
from melt_ser.runs.identity import settings_of
from melt_ser.runs.plan import RunPlan
from melt_ser.runs.warnings import warnings_before, warnings_of_model, warnings_of_scores

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

PACKAGES: tuple[str, ...] = ("torch", "torchaudio", "transformers", "accelerate", "peft", "hydra-core")
PACKAGES += ("numpy", "scipy", "scikit-learn", "pandas")


@dataclass
class FoldOutcome:
    """One fold: its split, its training, the calibration of its model on dev, and its answers for each set."""

    split: FoldSplit
    training: FoldTraining
    calibration: DevCalibration | None  # None: the final model has learned from dev (a refit)
    evaluation_sets: list[EvaluationSet]
    probabilities: list[np.ndarray] = field(default_factory=list)  # for each set, (utterances, classes)

    @property
    def temperature(self) -> float | None:
        return self.calibration.temperature if self.calibration else None


def make_result(plan: RunPlan, folds: list[FoldOutcome], command: str, accelerator: Accelerator) -> Result:
    """Score the answers, write them, and return the result.

    Args:
        plan: the run.
        folds: its folds, each with answers for the same corpora.
        command: the overrides on the command line.
        accelerator: has the device, the precision and the number of processes.
    """
    curves = [read_epochs(plan.fold_folder(fold.split)) for fold in folds if fold.training.best_epoch is not None]
    answers = _answers(plan, folds)
    rows = Rows.of(evaluation_rows(plan.folder, corpus, plan.outputs) for corpus in answers)
    result = Result(
        schema_version=SCHEMA_VERSION,
        run=RunInfo(
            id=plan.folder.name,
            experiment=plan.config.experiment_name,
            command=command,
            git=git_state(),
            versions=versions(),
            device=device_name(accelerator.device),
            processes=accelerator.num_processes,
            precision=accelerator.mixed_precision.replace("no", "fp32"),
            seed=plan.config.seed,
            seconds=round(sum(fold.training.seconds for fold in folds), 3),
        ),
        config=settings_of(plan.config),
        train=_train_info(plan, folds, [float(curve["padding"].mean()) for curve in curves]),
        evals=rows.evals,
        ratings=rows.ratings,
        one_rater=rows.one_rater,
        unscored=unscored_entries(plan.unscored),
        warnings=[*warnings_before(plan), *warnings_of_model(plan)],
    )
    result.warnings += warnings_of_scores(result)
    return result


def _answers(plan: RunPlan, folds: list[FoldOutcome]) -> Iterator[list[Answers]]:
    """Yield the answers of each fold's model for each corpus."""
    for position, _ in enumerate(folds[0].evaluation_sets):
        yield [
            answers_of(
                fold.split.fold,
                fold.evaluation_sets[position],
                fold.probabilities[position],
                plan.outputs,
                fold.temperature,
            )
            for fold in folds
        ]


def _train_info(plan: RunPlan, folds: list[FoldOutcome], padding: list[float]) -> TrainInfo:
    usable, left_out = plan.corpus.usable(plan.space)
    refused = Counter(reason.split(":")[0] for reason in plan.corpus.dropped["reason"])
    single = folds[0] if plan.one_model else None
    return TrainInfo(
        **msgspec.structs.asdict(read_inputs(plan.folder)),
        n=_trained_on(plan, single) if single else len(usable),
        classes=plan.classes,
        best_epoch=single.training.best_epoch if single else None,
        dev_ua=_mean_known([fold.training.dev_ua for fold in folds]),
        dev_metric=plan.dev_metric,
        dev_value=_mean_known([fold.training.score for fold in folds]),
        target=plan.corpus.target.value,
        scales={name: list(scale) for name, scale in plan.scales.items()},
        rules=plan.corpus.rules,
        dropped={**left_out, **dict(refused.most_common())},
        folds=[_fold_info(plan, fold) for fold in folds],
        padding=round(_mean(padding), 4) if padding else None,
        sentences=_trained_sentences(plan),
    )


def _trained_sentences(plan: RunPlan) -> list[str]:
    scripts = [script(pd.concat([split.train, split.dev])) for split in plan.splits]
    return sorted({sentence for sentences in scripts for sentence in sentences})


def _fold_info(plan: RunPlan, fold: FoldOutcome) -> FoldInfo:
    return FoldInfo(
        fold=fold.split.fold,
        folder=plan.fold_folder(fold.split).relative_to(plan.folder).as_posix(),
        n=_trained_on(plan, fold),
        n_dev=len(fold.split.dev),
        n_test=len(fold.split.test),
        refit=plan.refits(fold.split),
        best_epoch=fold.training.best_epoch,
        chosen=fold.training.chosen,
        dev_ua=fold.training.dev_ua,
        dev_value=fold.training.score,
        dev_ece=fold.calibration.ece if fold.calibration else None,
        temperature=fold.temperature,
        seconds=round(fold.training.seconds, 3),
    )


def _mean_known(values: list[float | None]) -> float | None:
    """Return the mean; None if the value of a fold is not known."""
    known = [value for value in values if value is not None]
    return _mean(known) if len(known) == len(values) else None


def _trained_on(plan: RunPlan, fold: FoldOutcome) -> int:
    """Return the number of utterances that the fold's final model has learned from."""
    return len(fold.split.train) + (len(fold.split.dev) if plan.refits(fold.split) else 0)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)


def versions() -> dict[str, str]:
    """Return the versions of Python, melt_ser, and the packages that its numbers depend on."""
    installed = {"python": platform.python_version(), "melt_ser": __version__}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def git_state() -> Git | None:
    """Return the state of the package's checkout; None for a wheel, or without git."""
    folder = Path(__file__).parents[3]
    if not (folder / ".git").exists():
        return None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return Git(commit, clean=_git(folder, "status", "--porcelain") == "")
    except (OSError, subprocess.CalledProcessError):
        return None


def device_name(device: torch.device) -> str:
    """Return the name of a device in a result: `cpu`, or `cuda (NVIDIA H100 80GB HBM3)`."""
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
