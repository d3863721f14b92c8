"""The details of one run on the page: curves, and for each test corpus confusion, calibration, slices, errors."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.evaluation.results import Evaluation, FoldInfo, Slice
from melt_ser.reporting.collect import Run
from melt_ser.reporting.confident_errors import confident_errors
from melt_ser.reporting.pages import confusion_lines
from melt_ser.reporting.recordings import Corpora
from melt_ser.runs.figures import CURVE_COLUMNS
from melt_ser.runs.table import merged

MOST_CURVES = 12  # folds with a drawn training curve
MOST_VALUES = 12  # slices of a column

Details = dict[str, Any]


def run_details(run: Run, corpora: Corpora, page_folder: Path | None) -> Details:
    """Return the values that the template `run.html` shows."""
    result = run.details()
    return {
        "result": result,
        "command": run.command,
        "folder": str(run.folder),
        "rows": merged(result.evals),
        "curves": [_curve(run, fold) for fold in result.train.folds[:MOST_CURVES]],
        "curves_left_out": max(len(result.train.folds) - MOST_CURVES, 0),
        "evaluations": [
            _evaluation(run, row, answer_set, corpora, page_folder) for row, answer_set in merged(result.whole_evals())
        ],
    }


def _evaluation(run: Run, row: Evaluation, answer_set: str, corpora: Corpora, page_folder: Path | None) -> Details:
    recordings = corpora.of(run, row.corpus)
    try:
        errors, problem = confident_errors(run, row, recordings, page_folder), None
    except InputError as error:
        errors, problem = [], str(error)
    return {
        "row": row,
        "answer_set": answer_set,
        "confusion": confusion_lines(row.classes, row.confusion),
        "calibration": row.calibration,
        "slices": None if row.slices is None else _slices(row.slices),
        "errors": errors,
        "problem": problem,
        "at_hand": recordings is not None,
    }


def _slices(slices: list[Slice]) -> list[tuple[str, list[Slice], int]]:
    """Return for each column its largest slices, and the number of further ones."""
    columns = [(column, list(group)) for column, group in groupby(slices, key=lambda one: one.by)]
    return [(column, group[:MOST_VALUES], max(len(group) - MOST_VALUES, 0)) for column, group in columns]


def _curve(run: Run, fold: FoldInfo) -> Details:
    """Return a fold's losses and dev UA by epoch; `epochs` is None if its metrics.csv cannot be read."""
    path = run.folder / fold.folder / "metrics.csv"
    epochs: list[dict[str, float]] | None
    try:
        table = pd.read_csv(path)[list(CURVE_COLUMNS)].astype(float)
        epochs = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    except (OSError, ValueError, KeyError):
        epochs = None
    return {
        "fold": fold.fold,
        "epochs": epochs or None,
        "percent": [100 * epoch["dev_ua"] for epoch in epochs or ()],
        "best_epoch": fold.best_epoch,
        "path": str(path),
    }
