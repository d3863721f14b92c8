"""Draw a search: its history, the importance of settings, and each setting against the score on dev."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from melt_ser.core.counting import counted
from melt_ser.evaluation.dev_metric import METRIC_LABELS
from melt_ser.runs.figures import GREY, PALETTE, new_figure, save_figure, tidy
from melt_ser.tuning.space import Range
from melt_ser.tuning.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE = PALETTE[:2]
COLUMNS = 3  # of settings
FEW = 30  # finished trials, below which the importance of a setting is hardly known
TEXT: dict[str, Any] = {"parse_math": False}  # a "$" in a value is a dollar


def search_figure(study: Study, path: Path) -> None:
    """Draw a study with at least one finished trial into `path`; its suffix is the format."""
    keys = [key for key, values in study.space.settings.items() if values.size != 1]
    rows = math.ceil(len(keys) / COLUMNS)
    figure = new_figure(10.5, 3.6 + 2.9 * rows)
    parts: Any = figure.subfigures(2, 1, height_ratios=[3.6, max(2.9 * rows, 0.01)])
    above, below = parts
    history, importance = above.subplots(1, 2, width_ratios=[1.35, 1])
    _draw_history(history, study)
    shares = importances(study, keys)
    _draw_importances(importance, shares, study)
    if keys:
        _draw_settings(below.subplots(rows, COLUMNS, sharey=True, squeeze=False), study, shares, keys)
    figure.suptitle(study.folder.name, fontsize=12, fontweight="bold", **TEXT)
    save_figure(figure, path)


def importances(study: Study, keys: list[str]) -> dict[str, float]:
    """Return the share of each setting in the differences on dev (Optuna's PED-ANOVA); {} if it is not known."""
    values = {trial.value for trial in _of(study, TrialState.COMPLETE)}
    if len(values) < 2 or not keys:
        return {}
    return optuna.importance.get_param_importances(study.study, params=keys)


def _draw_history(axes: Axes, study: Study) -> None:
    finished, pruned = _of(study, TrialState.COMPLETE), _of(study, TrialState.PRUNED)
    numbers, values = [trial.number for trial in finished], np.array([_shown(trial.value, study) for trial in finished])
    axes.plot(numbers, values, "o", color=BLUE, markersize=5, label="finished")
    last = [_shown(list(trial.intermediate_values.values())[-1], study) for trial in pruned]
    if pruned:
        least = _least(values, study)
        told = "pruned, at its last epoch" + (" (at the edge: lower)" if min(last) < least else "")
        axes.plot([trial.number for trial in pruned], np.maximum(last, least), "x", color=GREY, label=told)
    best = np.maximum.accumulate(values)
    last_number = max(trial.number for trial in [*finished, *pruned])
    axes.step([*numbers, last_number], [*best, best[-1]], where="post", color=ORANGE, label="the best so far")
    axes.set_title("History", fontsize=11)
    axes.set_xlabel("trial")
    axes.set_ylabel(_label(study))
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))


def _draw_importances(axes: Axes, shares: dict[str, float], study: Study) -> None:
    finished, pruned = len(_of(study, TrialState.COMPLETE)), len(_of(study, TrialState.PRUNED))
    axes.set_title(f"What mattered ({counted(finished, 'finished trial')})", fontsize=11)
    if not shares:
        axes.text(0.5, 0.5, "not known yet", ha="center", color=GREY, transform=axes.transAxes)
        axes.set_axis_off()
        return
    names = sorted(shares, key=lambda key: shares[key])
    bars = axes.barh(range(len(names)), [100 * shares[name] for name in names], color=BLUE, height=0.6)
    axes.bar_label(bars, fmt="%.0f %%", padding=3, fontsize=9, color=GREY)
    axes.set_yticks(range(len(names)), names, fontsize=9, **TEXT)
    axes.set_xlim(0, 118 * max(shares.values()) + 1)
    cautions = ["a guess, from few trials"] if finished < FEW else []
    cautions += [f"{counted(pruned, 'pruned trial')} left out"] if pruned else []
    axes.set_xlabel("\n".join(["importance (%)", *filter(None, ["; ".join(cautions)])]))
    tidy(axes, grid="x")


def _draw_settings(axes: Any, study: Study, shares: dict[str, float], keys: list[str]) -> None:
    """Draw each setting into one of the axes, (rows, columns), the most important ones first."""
    ordered = sorted(keys, key=lambda key: -shares.get(key, 0.0))
    for place, one in enumerate(axes.flat):
        if place < len(ordered):
            _draw_setting(one, study, ordered[place])
        else:
            one.set_visible(False)
    for row in axes:
        row[0].set_ylabel(_label(study))


def _draw_setting(axes: Axes, study: Study, key: str) -> None:
    """Draw the dev score of each finished trial against its value of a setting; the best trial is a star."""
    values = study.space.settings[key]
    finished = _of(study, TrialState.COMPLETE)
    best = study.study.best_trial.number
    if isinstance(values, Range):
        places = [float(trial.params[key]) for trial in finished]
        low, high = values.low, values.high
        if values.log:
            axes.set_xscale("log")
            axes.set_xlim(low / (high / low) ** 0.04, high * (high / low) ** 0.04)
        else:
            axes.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    else:
        places = [float(values.ends.index(trial.params[key])) for trial in finished]
        labels = [text if len(text) <= 20 else f"{text[:19]}…" for text in values.ends]
        turned = sum(map(len, labels)) > 26
        axes.set_xticks(
            range(len(labels)), labels, rotation=25 if turned else 0, ha="right" if turned else "center", **TEXT
        )
        axes.set_xlim(-0.6, len(labels) - 0.4)
    for trial, place in zip(finished, places, strict=True):
        is_best = trial.number == best
        height, edge = _shown(trial.value, study), "black" if is_best else BLUE
        style = {"marker": "*", "color": ORANGE, "markersize": 13} if is_best else {"marker": "o", "color": BLUE}
        axes.plot(place, height, markeredgecolor=edge, alpha=1 if is_best else 0.5, **style)
    axes.set_title(key, fontsize=10, **TEXT)
    axes.tick_params(labelsize=9)
    axes.margins(y=0.1)
    tidy(axes)


def _of(study: Study, state: TrialState) -> list[FrozenTrial]:
    return [trial for trial in study.trials if trial.state is state]


def _label(study: Study) -> str:
    return f"dev {METRIC_LABELS[study.metric]}" + (" (%)" if study.metric == "ua" else "")


def _least(values: np.ndarray, study: Study) -> float:
    """Return the lowest height of a pruned trial: of several folds, those that it lacks count as the lowest score.

    That of UA is 0, which leaves the finished trials apart.
    """
    return -math.inf if study.metric == "ua" else min(values) - max(np.ptp(values), 0.1 * abs(min(values)))


def _shown(value: float | None, study: Study) -> float:
    """Return a dev score as the figure shows it: UA in per cent."""
    assert value is not None
    return 100 * value if study.metric == "ua" else value
