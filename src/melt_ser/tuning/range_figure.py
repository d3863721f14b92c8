"""Draw a range test of learning rates: the loss of each step against its rate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from melt_ser.runs.figures import GREY, PALETTE, new_figure, save_figure, tidy
from melt_ser.training.rate_range import Part


def range_figure(
    curves: Mapping[Part, pd.DataFrame],
    suggestions: Mapping[Part, float | None],
    configured: Mapping[Part, float],
    path: Path,
) -> None:
    """Draw the curve of each part of the model into `path`; its suffix is the format.

    Args:
        curves: by part: rate, loss and smoothed loss of each step.
        suggestions: by part: the suggested rate, None without one.
        configured: by part: the rate of the settings.
        path: the file.
    """
    figure = new_figure(1.0 + 4.9 * len(curves), 4.2)
    for axes, (part, curve) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        axes.plot(curve["rate"], curve["loss"], ".", color=GREY, markersize=3, alpha=0.6, label="loss of a step")
        axes.plot(curve["rate"], curve["smoothed_loss"], color=PALETTE[0], linewidth=2, label="smoothed")
        suggestion = suggestions[part]
        if suggestion is not None:
            axes.axvline(suggestion, color=PALETTE[1], linestyle="--", label=f"suggested: {suggestion:g}")
        axes.axvline(configured[part], color="black", linestyle=":", label=f"set: {configured[part]:g}")
        axes.set_xscale("log")
        low, high = curve["smoothed_loss"].min(), curve["smoothed_loss"].iloc[0]
        axes.set_ylim(max(low - 0.6 * (high - low + 0.1), 0.0), high + 1.2 * (high - low + 0.1))  # not the divergence
        axes.set_title(f"{part}", fontsize=11)
        axes.set_xlabel(f"trainer.{part}_learning_rate")
        axes.set_ylabel("loss")
        tidy(axes)
        axes.legend(frameon=False, fontsize=9)
    figure.suptitle("Range test of the learning rates", fontsize=12, fontweight="bold")
    save_figure(figure, path)
