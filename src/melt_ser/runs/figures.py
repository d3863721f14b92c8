"""Draw the confusion matrix and the training curves of a run; the suffix of the path is the format: png, svg, pdf.

matplotlib is imported inside the functions, and only its objects are used (no pyplot), so that importing this module
is cheap and drawing leaves no state behind.
"""

from __future__ import annotations

import textwrap
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.core.files import replacing_file
from melt_ser.evaluation.dev_metric import METRIC_LABELS
from melt_ser.evaluation.metrics import METRICS
from melt_ser.evaluation.results import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150
# Okabe & Ito's palette without yellow; people with any common form of colour vision can tell these colours apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^v<>Ph*"
MOST_MARKERS = 50  # epochs; more markers would run into one thick line
GREY = "#6B6B6B"
CELL = 0.82  # inches, so that the text of a confusion matrix can be read where a page shows it smaller


def curve_columns(metric: str) -> tuple[str, ...]:
    """Return the columns of a training curve; the last is the score on dev that chose the epoch.

    metric: the name of that score, of `dev_metric`.
    """
    return "epoch", "train_loss", "dev_loss", "dev_ua" if metric == "ua" else "dev_value"


def confusion_figure(row: Evaluation, title: str, path: Path) -> None:
    """Draw the confusion matrix of a result row into `path`.

    A cell is coloured by its share of the row (the row's diagonal is the recall) and shows that share and the count,
    which has one decimal in a mean over several models.
    A class without reference utterances keeps its column, for wrong answers; its row says that it has none.
    """
    classes, counts = row.classes, np.asarray(row.confusion)
    width = 2.9 + CELL * max(len(classes), 3)
    figure = new_figure(width, 2.3 + 0.62 * max(len(classes), 2))
    axes = figure.subplots()
    _draw_confusion(axes, classes, counts)
    heading: dict[str, Any] = {
        "ha": "center",
        "va": "bottom",
        "xycoords": "axes fraction",
        "textcoords": "offset points",
    }
    axes.annotate(_summary(row), (0.5, 1), (0, 7), fontsize=10, color=GREY, **heading)
    bold: dict[str, Any] = {"fontsize": 12, "fontweight": "bold", "parse_math": False}
    axes.annotate(_wrapped(title, width - 1.5, points=12), (0.5, 1), (0, 38), **bold, **heading)
    save_figure(figure, path)


def training_curve_figure(folds: list[tuple[int | None, pd.DataFrame]], path: Path, metric: str = "ua") -> None:
    """Draw losses and the dev score over epochs into `path`, with the epoch of each fold's best score marked.

    Each fold has its number and a table with a row for each epoch and the columns of `curve_columns(metric)` (UA is a
    fraction in 0..1), as in a run's `metrics.csv`. Each fold has its own colour, a marker (up to 50 epochs; after ten
    folds the markers repeat), and a line in the legend. Of equally good epochs, the first is marked. Raises InputError
    for a missing column or no row.
    """
    for _, epochs in folds:
        missing = [column for column in curve_columns(metric) if column not in epochs.columns]
        if missing or epochs.empty:
            raise InputError(
                f"A training curve needs the columns {', '.join(curve_columns(metric))} and at least one epoch; "
                f"missing: {', '.join(missing) or 'epochs'}."
            )
    figure = new_figure(6.4, max(5.2, 2.7 + 0.3 * len(folds)))
    loss_axes, score_axes = figure.subplots(2, 1, sharex=True)
    factor, unit = (100, " %") if metric == "ua" else (1, "")
    for (number, epochs), colour, marker in zip(folds, _fold_colours(len(folds)), cycle(MARKERS), strict=False):
        style = {"color": colour, "marker": marker if len(epochs) <= MOST_MARKERS else "", "markersize": 4}
        loss_axes.plot(epochs["epoch"], epochs["train_loss"], "-", **style)
        loss_axes.plot(epochs["epoch"], epochs["dev_loss"], "--", **style)
        scores = factor * epochs[curve_columns(metric)[-1]]
        best = _best(epochs["epoch"], scores)
        score_axes.plot(epochs["epoch"], scores, "--", **style, label=_fold_label(number, best, unit))
        if best is not None:
            score_axes.plot(*best, "*", color=colour, markeredgecolor="black", markersize=11, linestyle="none")
    title = "Training curve" if len(folds) == 1 else f"Training curves of {len(folds)} folds"
    loss_axes.set_title(title, fontsize=12, fontweight="bold")
    loss_axes.set_ylabel("loss")
    score_axes.set_ylabel(f"dev {METRIC_LABELS[metric]}" + (" (%)" if unit else ""))
    score_axes.set_xlabel("epoch")
    for line, label in (("-", "training"), ("--", "dev")):
        loss_axes.plot([], [], line, color=GREY, label=label)
    for axes in (loss_axes, score_axes):
        tidy(axes)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    _whole_epoch_ticks(score_axes, pd.concat([epochs["epoch"] for _, epochs in folds]))
    save_figure(figure, path)


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
            axes.text(column, row, text, ha="center", va="center", fontsize=10.5, color=colour, linespacing=1.2)
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


def _fold_colours(number: int) -> list[Any]:
    """Return a colour for each fold: Okabe & Ito's palette if it has enough colours, otherwise turbo."""
    from matplotlib import colormaps

    return (
        list(PALETTE[:number]) if number <= len(PALETTE) else list(colormaps["turbo"](np.linspace(0.05, 0.95, number)))
    )


def _fold_label(number: int | None, best: tuple[int, float] | None, unit: str) -> str:
    told = "" if best is None else f"best: epoch {best[0]}, {best[1]:.{1 if unit else 3}f}{unit}"
    return told if number is None else f"fold {number}, {told}".removesuffix(", ")


def _best(epochs: pd.Series, scores: pd.Series) -> tuple[int, float] | None:
    """Return the epoch of the best score on dev, and that score; None if it is never known."""
    values = scores.to_numpy(dtype=np.float64)
    if np.isnan(values).all():
        return None
    best = int(np.nanargmax(values))
    return int(epochs.iloc[best]), float(values[best])


def _whole_epoch_ticks(axes: Axes, epochs: pd.Series) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(float(epochs.min()) - 0.5, float(epochs.max()) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))


def _summary(row: Evaluation) -> str:
    with_interval = {name: metric for name, metric in METRICS.items() if metric.shows_interval}
    scores = ", ".join(f"{metric.label} {_percent(row, name)}" for name, metric in with_interval.items())
    unit = f"; 95 % intervals over {row.ci_unit}s" if any(map(row.interval, with_interval)) else ""
    return f"{scores}\nchance of UA {100 * row.chance:.1f} %{unit}"


def _percent(row: Evaluation, name: str) -> str:
    bounds = row.interval(name)
    shown = f" [{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]" if bounds else ""
    return f"{100 * (row.value(name) or 0.0):.1f} %{shown}"


def _readable_on(colour: npt.NDArray[Any]) -> str:
    """Return black or white, the one with more contrast on `colour` (by the relative luminance of WCAG 2.2)."""
    linear = np.where(colour[:3] <= 0.04045, colour[:3] / 12.92, ((colour[:3] + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"


def _wrapped(text: str, inches: float, points: float) -> str:
    """Wrap text to a figure of this width: a character is about 0.6 of the font size wide."""
    return textwrap.fill(text, width=int(inches * 72 / (0.6 * points)))


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure in the style of the project; width and height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")


def tidy(axes: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """Draw a pale grid behind the data, and no frame above and on the right."""
    axes.grid(alpha=0.25, axis=grid)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure whole; the suffix of the path is the format."""
    from matplotlib import rc_context

    with replacing_file(path) as temporary, rc_context({"pdf.fonttype": 42}):  # TrueType: publishers refuse Type 3
        figure.savefig(temporary, format=path.suffix.removeprefix("."))
