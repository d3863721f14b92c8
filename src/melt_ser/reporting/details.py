"""What the page shows of one run: curves, and for each test corpus confusion, calibration, slices, errors."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.reporting.collect import Evaluation, Run
from melt_ser.reporting.confident_errors import mistakes
from melt_ser.reporting.pages import confusion_lines
from melt_ser.reporting.recordings import Corpora
from melt_ser.runs.figures import CURVE_COLUMNS
from melt_ser.runs.table import merged

MOST_CURVES = 12  # folds whose training curve is drawn
MOST_VALUES = 12  # of a kind of slice

Details = dict[str, Any]


def run_details(run: Run, corpora: Corpora, page_folder: Path | None) -> Details:
    """The values that the template `run.html` shows."""
    full = Run(run.folder, run.details())
    result = full.result
    return {
        "result": result,
        "command": run.command,
        "folder": str(run.folder),
        "rows": merged(full.evals),
        "curves": [_curve(run, fold) for fold in result["train"]["folds"][:MOST_CURVES]],
        "curves_left_out": max(len(result["train"]["folds"]) - MOST_CURVES, 0),
        "evaluations": [
            _evaluation(run, row, protocol, corpora, page_folder) for row, protocol in merged(full.whole_evals())
        ],
    }


def _evaluation(run: Run, row: Evaluation, protocol: str, corpora: Corpora, page_folder: Path | None) -> Details:
    recordings = corpora.of(run, row["corpus"])
    try:
        wrong, problem = mistakes(run, row, recordings, page_folder), None
    except InputError as error:
        wrong, problem = [], str(error)
    return {
        "row": row,
        "protocol": protocol,
        "confusion": confusion_lines(row["classes"], row["confusion"]),
        "calibration": row.get("calibration"),
        "slices": None if row.get("slices") is None else _slices(row["slices"]),
        "mistakes": wrong,
        "problem": problem,
        "at_hand": recordings is not None,
    }


def _slices(slices: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]], int]]:
    """By kind: its largest values, and how many more there are."""
    found = []
    for kind, group in groupby(slices, key=lambda one: str(one["by"])):
        values = list(group)
        found.append((kind, values[:MOST_VALUES], max(len(values) - MOST_VALUES, 0)))
    return found


def _curve(run: Run, fold: dict[str, Any]) -> Details:
    """A fold's losses and dev UA by epoch; `epochs` is None where its metrics.csv cannot be read."""
    path = run.folder / fold["folder"] / "metrics.csv"
    epochs: list[dict[str, float]] | None
    try:
        table = pd.read_csv(path)[list(CURVE_COLUMNS)].astype(float)
        epochs = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    except (OSError, ValueError, KeyError):
        epochs = None
    percent = [100 * epoch["dev_ua"] for epoch in epochs or ()]
    best = fold.get("best_epoch")
    return {"fold": fold["fold"], "epochs": epochs or None, "percent": percent, "best_epoch": best, "path": str(path)}
