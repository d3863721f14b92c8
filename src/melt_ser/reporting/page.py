"""Write the report as one self-contained page: style, script and charts are in it.

Its only script is `report.js`. The page's policy names the hash of that script, so no text of a corpus or a setting can
run as a script.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from melt_ser.core.errors import InputError
from melt_ser.evaluation.metrics import p_text, percent, table_metrics
from melt_ser.evaluation.results import training_of
from melt_ser.reporting import label_sources, published_ratings, rated_pairs, together
from melt_ser.reporting.blocks import share
from melt_ser.reporting.contents import ReportData
from melt_ser.reporting.forest import forest, styles
from melt_ser.reporting.markdown import NAMES
from melt_ser.reporting.overview import SystemScore, figure, next_to, over, points
from melt_ser.reporting.pages import render, script
from melt_ser.reporting.rated import HEAD, ONE_RATER, ONE_RATER_MEANING, tables
from melt_ser.reporting.run_details import run_details
from melt_ser.reporting.scores import above_chance, interval_shown
from melt_ser.reporting.systems import method_of
from melt_ser.reporting.utterances import Corpora
from melt_ser.runs.table import interval_legend, merged, shown

FILTERS = {"backbone": "Backbone", "train": "Trained on", "corpus": "Tested on", "answer_set": "Answer set"}
TEXTS = ("system", "tested on", "first", "second", "scored against")  # columns of label sources that are no numbers
SCORE_COLUMNS = ("system", "trained on", "tested on", "split", "fold", "answer set", "mean of", "n", "chance")
MOST_ROWS = 3000  # rows of the overview; a browser sorts and filters so many at once
MOST_DETAILED = 200  # runs with their details in the page, the best of each test corpus first
MOST_BLOCKS = 24  # small tables of a matrix
MOST_SYSTEMS = 100  # rows of a small table
MOST_BEST = 6  # sentences at the top
MOST_PANELS = 60  # test sets of the plot
MOST_INTERVALS = 30  # intervals of a test set
MOST_LISTED = 200  # entries of any other list


def page(contents: ReportData, folder: Path | None) -> str:
    """Return the page; `folder` will hold it, and addresses of audio are relative to it (None: absolute)."""
    text, digest = script("report.js")
    names = {score.key: score.system for score in contents.system_scores}
    rows = _overview_rows(contents, names)
    detailed, unread = _detailed(contents, names, folder)
    numbers = {details["number"] for details in detailed}  # the rows with a link to details
    methods = styles(list(contents.methods.values()))
    style_of = {row.key: methods[contents.methods[method_of(row.key)]] for row in contents.systems}
    main = [one for one in contents.test_sets if one.main]
    shown_sets = [*main, *(one for one in contents.test_sets if not one.main)][:MOST_PANELS]
    return render(
        "report.html",
        contents=contents,
        rows=rows[:MOST_ROWS],
        rows_left_out=max(len(rows) - MOST_ROWS, 0),
        choices={key: (label, sorted({row[key] for row in rows})) for key, label in FILTERS.items()},
        main=main,
        plot=forest(shown_sets, style_of, contents.published, MOST_INTERVALS),
        score_columns=[(name, name in ("n", "chance")) for name in SCORE_COLUMNS]
        + [(metric.label, True) for metric in table_metrics().values()],
        score_rows=[_score_row(score) for score in contents.system_scores[:MOST_LISTED]],
        styles={"methods": methods, "systems": style_of},
        share=share,
        interval_shown=interval_shown,
        above_chance=above_chance,
        detailed=detailed,
        numbers=numbers,
        undetailed=[run for number, run in enumerate(contents.runs) if number not in numbers],
        unread=unread,
        limits={"listed": MOST_LISTED, "blocks": MOST_BLOCKS, "best": MOST_BEST, "systems": MOST_SYSTEMS},
        script=text,
        script_hash=digest,
        metrics=table_metrics(),
        shown=shown,
        figure=figure,
        interval_legend=interval_legend([row for run in contents.runs for row in run.whole_evals()], ["ua"]),
        names=NAMES,
        next_to=next_to,
        percent=percent,
        p_text=p_text,
        label_sources=label_sources,
        rated_tables=tables(contents.rated),
        rated_texts=len(HEAD),
        one_rater_columns=[(name, name == "utterances") for name in ONE_RATER],
        one_rater_meaning=ONE_RATER_MEANING,
        rated_pairs=rated_pairs,
        rated_pair_columns=[(name, name in rated_pairs.NUMBERS) for name in rated_pairs.COLUMNS],
        published_ratings=published_ratings,
        label_source_columns=[(name, name not in TEXTS) for name in label_sources.COLUMNS],
        together=together,
        together_columns=[(name, name not in together.TEXTS) for name in together.COLUMNS],
        training_of=training_of,
        points=points,
    )


def _overview_rows(contents: ReportData, names: dict[str, str]) -> list[dict[str, Any]]:
    """Return a row for each run, test corpus and answer set, without single folds; the best of a corpus first.

    names: of the systems, by `Run.system`.
    """
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


def _score_row(score: SystemScore) -> list[Any]:
    row = score.rows[0]
    told = [score.system, score.train, score.corpus, row.split, score.fold, score.answer_set, over(score), score.n]
    return [*told, percent(score.chance), *(figure(score, name) for name in table_metrics())]


def _detailed(
    contents: ReportData, names: dict[str, str], folder: Path | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the details of MOST_DETAILED runs, the best of each test set, and the errors of unreadable runs."""
    places: dict[Path, int] = {}
    for test_set in contents.test_sets:
        scored = [pair for cell in test_set.cells for pair in zip(cell.score.runs, cell.score.rows, strict=True)]
        for place, (run, _) in enumerate(sorted(scored, key=lambda pair: -pair[1].known_value("ua"))):
            places[run.folder] = min(place, places.get(run.folder, place))
    chosen = set(sorted(places, key=lambda path: places[path])[:MOST_DETAILED])
    corpora, detailed, unread = Corpora(), [], []
    for number, run in enumerate(contents.runs):
        if run.folder not in chosen:
            continue
        try:
            details = run_details(run, corpora, folder)
            detailed.append({"number": number, "run": run, "system": names[run.system], **details})
        except InputError as error:
            unread.append(str(error))
    return detailed, unread
