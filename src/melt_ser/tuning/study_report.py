"""The report of a search: study.csv, a table of the best ten, figures, the YAML of the best, and how to read it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial, TrialState
from rich.box import SIMPLE_HEAD
from rich.table import Table

from melt_ser.core import files
from melt_ser.core.console import finish, say, show
from melt_ser.core.counting import counted
from melt_ser.core.errors import InputError
from melt_ser.corpora.fold_split import FoldSplit, number_known
from melt_ser.evaluation.dev_metric import METRIC_LABELS, score_text
from melt_ser.runs.plan import RunPlan
from melt_ser.tuning.best import write_best
from melt_ser.tuning.figures import search_figure
from melt_ser.tuning.search import texts_of
from melt_ser.tuning.study import REASON, SETTINGS, Study, was_stopped

SHOWN = 10
WHOLE_NAME = 20  # characters
STATES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.RUNNING: "running"}


def report(study: Study, plan: RunPlan, overrides: Sequence[str]) -> None:
    """Write and show the report of a study.

    Raises InputError if no trial is finished, or at the end if trials have failed.
    """
    path = study.folder / "study.csv"
    with study.exclusively():  # if two commands end together, the later one writes all trials
        table = trials_table(study)
        files.write_csv(path, table)
        finished = [trial for trial in study.trials if trial.state is TrialState.COMPLETE]
        failed = table[table["state"] == "failed"]
        reason = f"; the first: {failed['reason'].iloc[0]}" if len(failed) else ""
        if not finished:
            raise InputError(f"No trial of {study.folder} is finished{reason}; the same command goes on.")
        best = study.study.best_trial
        assert best.value is not None
        show(best_table(table, list(study.space.settings), study.metric))
        figure = study.folder / f"search.{plan.config.eval.figures.value}"
        search_figure(study, figure)
        settings = best.user_attrs[SETTINGS]
        told = f"Trial {best.number} of {len(table)}: {study.score(best.value)}."
        command = write_best(study.folder, overrides, settings, told)
    for sentence in cautions(plan, best.value, int(table["state"].isin(["finished", "pruned"]).sum())):
        say(f"note: {sentence}")
    say(f"plots: {figure}")
    say(f"best: trial {best.number}, {study.score(best.value)}: {' '.join(texts_of(settings))}")
    say(f"run it: {command}")
    finish(path)
    if len(failed):
        raise InputError(f"{len(failed)} of {len(table)} trials failed{reason} ({path} has all).")


def trials_table(study: Study) -> pd.DataFrame:
    """Return a row for each trial in its order: state, dev score, epochs, seconds, settings, reason.

    The column of the score has the name of the metric: dev_ua (0 to 1), dev_ccc, dev_-kl, dev_ua+ccc.
    """
    rows = []
    score = f"dev_{study.metric}"
    for trial in study.trials:
        row: dict[str, Any] = {"trial": trial.number, "state": _state_of(trial), score: trial.value}
        epochs = trial.user_attrs.get("best_epochs", [])
        row["best_epoch"] = " ".join(str(epoch) for epoch in epochs if epoch is not None)
        row["seconds"] = trial.user_attrs.get("seconds", math.nan)
        settings = trial.user_attrs.get(SETTINGS, {})
        row |= {key: settings.get(key, "") for key in study.space.settings}
        row["reason"] = trial.user_attrs.get(REASON, "")
        rows.append(row)
    columns = ["trial", "state", score, "best_epoch", "seconds", *study.space.settings, "reason"]
    return pd.DataFrame(rows, columns=columns)


def _state_of(trial: FrozenTrial) -> str:
    if trial.state in STATES:
        return STATES[trial.state]
    return "stopped" if was_stopped(trial) else "failed"


def best_table(trials: pd.DataFrame, keys: list[str], metric: str) -> Table:
    """Return the finished trials with the highest dev score, at most ten, for the terminal."""
    finished = trials[trials["state"] == "finished"]
    counts = ", ".join(f"{count} {state}" for state, count in trials["state"].value_counts().items())
    label = f"dev {METRIC_LABELS[metric]}"
    table = Table(title=f"The best trials by {label} ({counts})", box=SIMPLE_HEAD, padding=0)
    for heading in ("trial", f"{label} (%)" if metric == "ua" else label, "epoch"):
        table.add_column(heading, justify="right", min_width=len(heading))
    for key in keys:
        longest = max(map(len, map(str, finished[key])), default=0)
        width = min(max(longest, 8), WHOLE_NAME)  # a name such as attentive_statistics stays in one line
        table.add_column(key.rpartition(".")[2].replace("_", " "), overflow="fold", min_width=width)
    for _, row in finished.sort_values(f"dev_{metric}", ascending=False, kind="stable").head(SHOWN).iterrows():
        score = score_text(metric, row[f"dev_{metric}"]).removesuffix(" %")
        table.add_row(str(row["trial"]), score, row["best_epoch"], *(row[key] for key in keys))
    return table


def cautions(plan: RunPlan, best: float, trials: int) -> list[str]:
    """Return sentences on how far the best dev score of a number of trials can be trusted."""
    utterances = sum(len(split.dev) for split in plan.splits)
    speakers = number_known(pd.concat([split.dev for split in plan.splits]), "speaker")
    parts = "one dev part" if plan.one_model else f"the dev parts of {len(plan.splits)} folds"
    voices = f" of {counted(speakers, 'speaker')}" if speakers else ""
    label = METRIC_LABELS[plan.dev_metric]
    sentences = [
        f"{counted(trials, 'trial was', 'trials were')} compared on {parts} ({utterances} utterances{voices}): the "
        f"best dev {label} is too high, since the best trial also had luck. {_luck(plan, best, trials)}Only the test "
        "part, read once, says how good the chosen settings are."
    ]
    if not plan.one_model:
        sentences.append(
            "The dev part of one fold is tested on in another, so a cross-validation with the chosen settings is not a "
            "clean test. For that, search within one fold (dataset.fold=1), or report another corpus."
        )
    return sentences


def _luck(plan: RunPlan, best: float, trials: int) -> str:
    """Return a sentence on the error of UA or CCC, and on the luck of the best; "" for other scores."""
    if plan.dev_metric not in ("ua", "ccc"):
        return ""  # the error of a divergence does not follow from its value
    is_ua = plan.dev_metric == "ua"
    errors = [(standard_error if is_ua else error_of_ccc)(split, best) for split in plan.splits]
    error = math.sqrt(sum(one**2 for one in errors)) / len(errors)

    def shown(value: float) -> str:
        return f"{100 * value:.1f} points" if is_ua else f"{value:.3f}"

    return (
        f"The standard error of such a {METRIC_LABELS[plan.dev_metric]} is about {shown(error)}, and among {trials} "
        f"settings that are equally good the best shows about {shown(error * best_of(trials))} too much by chance. "
    )


def error_of_ccc(split: FoldSplit, ccc: float) -> float:
    """Return the standard error of a CCC on the dev part of a split, if utterances are independent.

    It is that of a correlation of this height. A mean over attributes counts as one of them, since they go together.
    """
    return (1 - ccc**2) / math.sqrt(max(len(split.dev) - 2, 1))


def standard_error(split: FoldSplit, ua: float) -> float:
    """Return the standard error of a UA on the dev part of a split, if utterances are independent.

    Each class counts as if it had this recall. Two answers are added, one of them right, so that 100 % has an error.
    """
    counts = split.dev["class"].value_counts().to_numpy()
    recall = (ua * counts.sum() + 1) / (counts.sum() + 2)
    return float(math.sqrt(recall * (1 - recall) * (1 / counts).sum()) / len(counts))


def best_of(number: int) -> float:
    """Return the expected maximum of independent standard normal numbers (Blom's approximation).

    >>> round(best_of(1), 2), round(best_of(20), 2)
    (0.0, 1.87)
    """
    from scipy.special import ndtri

    return float(ndtri((number - 0.375) / (number + 0.25))) if number > 1 else 0.0
