"""Write the report as one self-contained page: style, script and charts are in it.

Its only script is `report.js`. The page's policy names the hash of that script, so no text of a corpus or a setting can
run as a script.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from melt_ser.core.errors import InputError
from melt_ser.evaluation.metrics import percent, table_metrics
from melt_ser.evaluation.results import EvaluationSummary
from melt_ser.reporting.collect import Run
from melt_ser.reporting.contents import ReportData
from melt_ser.reporting.overview import figure, next_to, over, points
from melt_ser.reporting.pages import render, script
from melt_ser.reporting.run_details import run_details
from melt_ser.reporting.systems import system_names
from melt_ser.reporting.utterances import Corpora
from melt_ser.runs.table import interval_legend, merged, shown

FILTERS = {"backbone": "Backbone", "train": "Trained on", "corpus": "Tested on", "answer_set": "Answer set"}
MOST_ROWS = 3000  # rows of the overview; a browser sorts and filters so many at once
MOST_DETAILED = 200  # runs with their details in the page, the best of each test corpus first
MOST_SYSTEMS = 100  # rows of a matrix
MOST_INTERVALS = 30  # intervals of a test corpus
MOST_LISTED = 200  # entries of any other list


def page(contents: ReportData, folder: Path | None) -> str:
    """Return the page; `folder` will hold it, and addresses of audio are relative to it (None: absolute)."""
    text, digest = script("report.js")
    rows = _overview_rows(contents)
    intervals = _intervals(contents)
    detailed, unread = _detailed(contents, intervals, folder)
    numbers = {details["number"] for details in detailed}  # the rows with a link to details
    return render(
        "report.html",
        contents=contents,
        rows=rows[:MOST_ROWS],
        rows_left_out=max(len(rows) - MOST_ROWS, 0),
        choices={key: (label, sorted({row[key] for row in rows})) for key, label in FILTERS.items()},
        intervals=intervals,
        detailed=detailed,
        numbers=numbers,
        undetailed=[run for number, run in enumerate(contents.runs) if number not in numbers],
        unread=unread,
        limits={"systems": MOST_SYSTEMS, "listed": MOST_LISTED, "intervals": MOST_INTERVALS},
        script=text,
        script_hash=digest,
        metrics=table_metrics(),
        shown=shown,
        figure=figure,
        interval_legend=interval_legend([row for run in contents.runs for row in run.whole_evals()]),
        next_to=next_to,
        over=over,
        percent=percent,
        points=points,
    )


def _overview_rows(contents: ReportData) -> list[dict[str, Any]]:
    """Return a row for each run, test corpus and answer set, without single folds; the best of a corpus first."""
    names = system_names(contents.runs)
    rows = []
    for number, run in enumerate(contents.runs):
        for row, answer_set in merged(run.whole_evals()):
            rows.append(
                {
                    "number": number,
                    "run": run,
                    "system": names[run.system],
                    "backbone": run.backbone,
                    "train": run.result.train.corpus,
                    "corpus": row.corpus,
                    "answer_set": answer_set,
                    "dropped": sum(row.dropped.values()),
                    "row": row,
                }
            )
    return sorted(rows, key=lambda entry: (entry["corpus"], -entry["row"].known_value("ua")))


def _intervals(contents: ReportData) -> dict[str, list[tuple[str, Run, EvaluationSummary]]]:
    """Return the systems, runs and rows of each test set, the best row first (answer set closed)."""
    matrix = contents.matrices[0]
    by_test_set: dict[str, list[tuple[str, Run, EvaluationSummary]]] = {}
    for key, name in matrix.columns.items():
        scores = [cells[key].score for cells in matrix.rows.values() if key in cells]
        runs = [(score.system, run, row) for score in scores for run, row in zip(score.runs, score.rows, strict=True)]
        by_test_set[f"{name} (n = {key.n})"] = sorted(runs, key=lambda entry: -entry[2].known_value("ua"))
    return by_test_set


def _detailed(
    contents: ReportData, intervals: dict[str, list[tuple[str, Run, EvaluationSummary]]], folder: Path | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the details of MOST_DETAILED runs, the best of each test set, and the errors of unreadable runs."""
    places: dict[Path, int] = {}
    for group in intervals.values():
        for place, (_, run, _) in enumerate(group):
            places[run.folder] = min(place, places.get(run.folder, place))
    chosen = set(sorted(places, key=lambda path: places[path])[:MOST_DETAILED])
    corpora, detailed, unread = Corpora(), [], []
    for number, run in enumerate(contents.runs):
        if run.folder not in chosen:
            continue
        try:
            detailed.append({"number": number, "run": run, **run_details(run, corpora, folder)})
        except InputError as error:
            unread.append(str(error))
    return detailed, unread
