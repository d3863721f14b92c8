"""Draw the figures of ratings: predictions against references, the plane of valence and arousal, shares of votes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from melt_ser.evaluation.evaluation_sets import SHARE
from melt_ser.evaluation.metrics import Floats
from melt_ser.evaluation.results import RatingScore
from melt_ser.runs.figures import GREY, PALETTE, new_figure, save_figure
from melt_ser.runs.predictions import REFERENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 10  # of the shares of votes
PLANE = ("valence", "arousal")
CELLS = 40  # hexagons along an axis


def attributes_figure(rows: list[RatingScore], predictions: pd.DataFrame, title: str, path: Path) -> None:
    """Draw a panel for each attribute, prediction against reference, and the plane of valence and arousal.

    rows: those of the attributes. predictions: of the same test set.
    """
    scales = {row.of: row.scale for row in rows if row.scale}
    has_plane = set(PLANE) <= scales.keys()
    figure = new_figure(3.1 * (len(scales) + has_plane) + 0.4, 3.6)
    panels = figure.subplots(1, len(scales) + has_plane, squeeze=False)[0]
    for axes, row in zip(panels, [row for row in rows if row.scale], strict=False):
        _scatter(axes, row, predictions)
    if has_plane:
        _plane(panels[-1], predictions)
    figure.suptitle(title, fontsize=11, fontweight="bold", parse_math=False)
    save_figure(figure, path)


def _scatter(axes: Axes, row: RatingScore, predictions: pd.DataFrame) -> None:
    assert row.scale is not None
    reference, answer = _numbers(predictions, row.of + REFERENCE), _numbers(predictions, row.of)
    low, high = row.scale
    known = ~np.isnan(reference)
    axes.hexbin(reference[known], answer[known], gridsize=CELLS, mincnt=1, bins="log", cmap="Blues", linewidths=0.2)
    axes.plot([low, high], [low, high], "--", color=GREY, linewidth=1)
    ccc = row.values.get("ccc")
    axes.set_title(f"{row.of}, CCC {'–' if ccc is None else f'{ccc:.3f}'}", fontsize=10, parse_math=False)
    axes.set_xlabel("reference")
    axes.set_ylabel("prediction")
    axes.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.spines[["top", "right"]].set_visible(False)


def _plane(axes: Axes, predictions: pd.DataFrame) -> None:
    """Draw references and predictions in one plane."""
    x, y = PLANE
    for label, end, colour in (("prediction", "", PALETTE[0]), ("reference", REFERENCE, PALETTE[1])):
        places = _numbers(predictions, x + end), _numbers(predictions, y + end)
        axes.plot(*places, "o", color=colour, label=label, markersize=3, alpha=0.4)
    axes.set_title("the plane", fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(frameon=False, fontsize=8, loc="best")
    axes.spines[["top", "right"]].set_visible(False)


def shares_figure(row: RatingScore, predictions: pd.DataFrame, title: str, path: Path) -> None:
    """Draw the mean share of the votes for each class over its predicted share, in bins."""
    classes = [column.removeprefix(SHARE) for column in map(str, predictions) if column.startswith(SHARE)]
    figure = new_figure(6.2, 4.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
    for number, name in enumerate(classes):
        predicted, voted = _numbers(predictions, name), _numbers(predictions, SHARE + name)
        bins = np.minimum((predicted * BINS).astype(int), BINS - 1)
        counts = np.bincount(bins, minlength=BINS)
        filled = counts > 0
        means = [np.bincount(bins, values, BINS)[filled] / counts[filled] for values in (predicted, voted)]
        axes.plot(*means, "o-", color=PALETTE[number % len(PALETTE)], markersize=4, linewidth=1, label=name)
    kl = row.values.get("kl")
    axes.set_title(f"{title}\nKL {'–' if kl is None else f'{kl:.3f}'}", fontsize=10, parse_math=False)
    axes.set_xlabel("predicted share")
    axes.set_ylabel("share of the votes")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def _numbers(predictions: pd.DataFrame, column: str) -> Floats:
    """Return a column as numbers; an empty cell is NaN."""
    values: Floats = pd.to_numeric(predictions[column], errors="coerce").to_numpy(dtype=np.float64)
    return values
