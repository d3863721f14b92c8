"""Draw the figures of a run as PNG files: the confusion matrix and the training curve.

matplotlib is imported inside the functions, and only its objects are used (no pyplot), so that importing this module
is cheap and drawing leaves no state behind.
"""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.core.files import replacing_file
from melt_ser.evaluation.metrics import METRICS
from melt_ser.evaluation.results import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150
# Two colours of Okabe & Ito's palette, told apart by every common form of colour vision.
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#6B6B6B"
CURVE_COLUMNS = ("epoch", "train_loss", "dev_loss", "dev_ua")


def confusion_figure(row: Evaluation, title: str, path: Path) -> None:
    """Draw the confusion matrix of a result row into the PNG `path`.

    A cell is coloured by its share of the row (the row's diagonal is the recall) and shows that share and the count,
    which has one decimal in a mean over several models.
    A class without reference utterances keeps its column, since answers can be wrong; its row says that it has none.
    """
    classes, counts = row.classes, np.asarray(row.confusion)
    width = 3.4 + 0.82 * max(len(classes), 3)
    figure = _new_figure(width, 2.6 + 0.66 * max(len(classes), 2))
    axes = figure.subplots()
    _draw_confusion(axes, classes, counts)
    figure.suptitle(_wrapped(title, width, points=12), fontsize=12, fontweight="bold", parse_math=False)
    axes.set_title(_summary(row), fontsize=9.5, color=GREY, pad=9)
    _save(figure, path)


def training_curve_figure(folds: list[pd.DataFrame], path: Path) -> None:
    """Draw losses and dev UA over epochs into the PNG `path`, with the epoch of the best dev UA marked.

    Each fold has a row for each epoch and the columns epoch, train_loss, dev_loss, dev_ua (fraction in 0..1), as in a
    run's `metrics.csv`. Of equally good epochs, the first is marked. Several folds are thin lines without a mark.
    Raises InputError for a missing column or no row.
    """
    for fold in folds:
        missing = [column for column in CURVE_COLUMNS if column not in fold.columns]
        if missing or fold.empty:
            raise InputError(
                f"A training curve needs the columns {', '.join(CURVE_COLUMNS)} and at least one epoch; "
                f"missing: {', '.join(missing) or 'epochs'}."
            )
    figure = _new_figure(6.4, 5.2)
    loss_axes, ua_axes = figure.subplots(2, 1, sharex=True)
    percents = [fold.assign(percent=100 * fold["dev_ua"]) for fold in folds]
    _draw_curves(loss_axes, folds, "train_loss", "training", BLUE, "o-")
    _draw_curves(loss_axes, folds, "dev_loss", "dev", VERMILLION, "s--")
    loss_axes.set_ylabel("loss")
    title = "Training curve" if len(folds) == 1 else f"Training curves of {len(folds)} folds"
    loss_axes.set_title(title, fontsize=12, fontweight="bold")
    _draw_curves(ua_axes, percents, "percent", "dev UA", VERMILLION, "s--")
    ua_axes.set_ylabel("dev UA (%)")
    ua_axes.set_xlabel("epoch")
    if len(folds) == 1:
        _mark_best(loss_axes, ua_axes, folds[0])
    for axes in (loss_axes, ua_axes):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    _whole_epoch_ticks(ua_axes, pd.concat(folds)["epoch"])
    _save(figure, path)


def _draw_confusion(axes: Axes, classes: list[str], counts: npt.NDArray[Any]) -> None:
    from matplotlib import colormaps

    support, decimals = counts.sum(axis=1), ".1f" if counts.dtype.kind == "f" else "d"
    shares = counts / np.maximum(support, 1)[:, None]
    colours = colormaps["Blues"](0.92 * shares)
    colours[support == 0] = (0.93, 0.93, 0.93, 1.0)
    axes.imshow(colours, aspect="auto")
    for row, column in np.ndindex(*counts.shape):
        if support[row]:
            text = f"{100 * shares[row, column]:.0f} %\n{counts[row, column]:{decimals}}"
            colour = _readable_on(colours[row, column])
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour, linespacing=1.25)
    for row in np.flatnonzero(support == 0):
        middle = (len(classes) - 1) / 2
        box = {"facecolor": colours[row, 0], "edgecolor": "none"}  # hides the grid lines behind the text
        axes.text(middle, float(row), "no reference utterance", ha="center", va="center", fontsize=9, bbox=box)
    positions = range(len(classes))
    crowded = max(map(len, classes)) > 12
    plain = {"parse_math": False}  # a "$" in a class is a dollar
    axes.set_xticks(positions, classes, rotation=35 if crowded else 0, ha="right" if crowded else "center", **plain)
    if crowded:
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
    axes.set_yticks(positions, [f"{name} ({total:.0f})" for name, total in zip(classes, support, strict=True)], **plain)
    axes.set_xticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("prediction")
    axes.set_ylabel("reference (utterances)")


def _draw_curves(axes: Axes, folds: list[pd.DataFrame], column: str, label: str, colour: str, style: str) -> None:
    points = sum(map(len, folds))
    for number, fold in enumerate(folds):
        axes.plot(
            fold["epoch"],
            fold[column],
            style,
            color=colour,
            label=label if number == 0 else None,
            markersize=4 if points <= 50 else 0,  # more would run into one thick line
            linewidth=1.5 if len(folds) == 1 else 0.7,
        )


def _mark_best(loss_axes: Axes, ua_axes: Axes, epochs: pd.DataFrame) -> None:
    dev_ua = epochs["dev_ua"].to_numpy(dtype=np.float64)
    if np.isnan(dev_ua).all():
        return
    best = int(np.nanargmax(dev_ua))
    epoch, percent = int(epochs["epoch"].iloc[best]), 100 * dev_ua[best]
    for axes in (loss_axes, ua_axes):
        axes.axvline(epoch, color=GREY, linewidth=1, linestyle=":")
    label = f"best: epoch {epoch},\n{percent:.1f} %"
    ua_axes.plot(epoch, percent, "*", color="black", markersize=12, linestyle="none", label=label)


def _whole_epoch_ticks(axes: Axes, epochs: pd.Series) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(float(epochs.min()) - 0.5, float(epochs.max()) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))


def _summary(row: Evaluation) -> str:
    with_interval = {name: metric for name, metric in METRICS.items() if metric.shows_interval}
    scores = ", ".join(f"{metric.label} {_percent(row, name)}" for name, metric in with_interval.items())
    return f"{scores}\nn = {row.n}, 95 % intervals over {row.ci_unit}s"


def _percent(row: Evaluation, name: str) -> str:
    low, high = row.interval(name) or (math.nan, math.nan)
    return f"{100 * (row.value(name) or 0.0):.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _readable_on(colour: npt.NDArray[Any]) -> str:
    """Return black or white, the one with more contrast on `colour` (by the relative luminance of WCAG 2.2)."""
    linear = np.where(colour[:3] <= 0.04045, colour[:3] / 12.92, ((colour[:3] + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"


def _wrapped(text: str, inches: float, points: float) -> str:
    """Wrap text to a figure of this width: a character is about 0.6 of the font size wide."""
    return textwrap.fill(text, width=int(inches * 72 / (0.6 * points)))


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    with replacing_file(path) as temporary:
        figure.savefig(temporary, format="png")
