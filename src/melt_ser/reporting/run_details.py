"""The details of a run on the page: curves, and confusion, calibration, slices and errors of each test corpus."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.evaluation.calibration import normalised
from melt_ser.evaluation.dev_metric import METRIC_LABELS
from melt_ser.evaluation.results import Evaluation, FoldInfo, Slice
from melt_ser.evaluation.scoring import answers_among
from melt_ser.reporting.collect import Run
from melt_ser.reporting.pages import confusion_lines
from melt_ser.reporting.utterances import Corpora, Recordings, read_predictions
from melt_ser.runs.figures import curve_columns
from melt_ser.runs.table import fold_text, merged

MOST_CURVES = 12  # folds with a drawn training curve
MOST_VALUES = 12  # slices of a column
MOST_ERRORS = 10  # confident errors of a test corpus

Details = dict[str, Any]


def run_details(run: Run, corpora: Corpora, page_folder: Path | None) -> Details:
    """Return the values that the template `run.html` shows."""
    result = run.details()
    return {
        "result": result,
        "command": run.command,
        "folder": str(run.folder),
        "weights": run.weights,
        "rows": merged(result.evals),
        "curves": [] if result.is_published else [_curve(run, fold) for fold in result.train.folds[:MOST_CURVES]],
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
        "fold": fold_text(row),
        "confusion": confusion_lines(row.classes, row.confusion),
        "calibration": row.calibration,
        "slices": None if row.slices is None else _slices(row.slices),
        "errors": errors,
        "problem": problem,
        "at_hand": recordings is not None,
    }


def _slices(slices: list[Slice]) -> list[tuple[str, list[Slice], int]]:
    """Return for each column its largest slices, and the number of further ones."""
    columns = [(column, list(group)) for column, group in groupby(slices, key=lambda part: part.by)]
    return [(column, group[:MOST_VALUES], max(len(group) - MOST_VALUES, 0)) for column, group in columns]


def _curve(run: Run, fold: FoldInfo) -> Details:
    """Return a fold's losses and dev score by epoch; `epochs` is None if its metrics.csv cannot be read.

    A probe has no epochs; `chosen` has its settings.
    """
    path = run.folder / fold.folder / "metrics.csv"
    metric = run.result.train.dev_metric
    columns, is_share = curve_columns(metric), metric == "ua"
    epochs: list[dict[str, float]] | None
    try:
        table = pd.read_csv(path)[list(columns)].astype(float)
        epochs = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    except (OSError, ValueError, KeyError):
        epochs = None
    return {
        "fold": fold.fold,
        "epochs": epochs or None,
        "scores": [(100 if is_share else 1) * epoch[columns[-1]] for epoch in epochs or ()],
        "score": f"dev {METRIC_LABELS[metric]}",
        "is_share": is_share,
        "best_epoch": fold.best_epoch,
        "chosen": fold.chosen,
        "best": fold.dev_ua if is_share else fold.dev_value,
        "path": str(path),
    }


@dataclass
class ConfidentError:
    """One wrong answer and its confidence (0..1); `audio` is an address, None if the audio is not at hand."""

    utterance: str
    reference: str
    answer: str
    confidence: float
    speaker: str
    text: str
    audio: str | None


def confident_errors(
    run: Run, row: Evaluation, recordings: Recordings | None, page_folder: Path | None
) -> list[ConfidentError]:
    """Return the MOST_ERRORS most confident wrong answers of a row, the most confident first, for different utterances.

    Addresses of audio are relative to the folder of the page, or absolute if that folder is not known.
    """
    table = read_predictions(run, row)
    confidence = normalised(table[row.classes].to_numpy(dtype="float64")).max(axis=1)
    table = table.assign(answer=answers_among(table, row.classes), confidence=confidence)
    wrong = table[table["answer"] != table["reference"]].sort_values("confidence", ascending=False, kind="stable")
    columns = wrong.drop_duplicates("utterance").head(MOST_ERRORS)[["utterance", "reference", "answer", "confidence"]]
    errors = []
    for utterance, reference, answer, sure in columns.itertuples(index=False, name=None):
        clip = recordings.clip(utterance) if recordings else None
        speaker, text, audio = "", "", None
        if recordings is not None and clip is not None:
            speaker, text = clip.speaker, clip.text
            audio = _address(recordings.root / clip.audio, clip.start, clip.end, page_folder)
        errors.append(ConfidentError(utterance, reference, answer, float(sure), speaker, text, audio))
    return errors


def _address(path: Path, start: float, end: float, page_folder: Path | None) -> str | None:
    if not path.is_file():
        return None
    absolute = path.resolve()
    address = absolute.as_uri()
    if page_folder is not None and absolute.drive == page_folder.resolve().drive:
        address = quote(Path(os.path.relpath(absolute, page_folder.resolve())).as_posix())
    times = ["" if pd.isna(seconds) else f"{seconds:.3f}" for seconds in (start, end)]
    return f"{address}#t={','.join(times).rstrip(',')}" if any(times) else address
