"""Write the results as LaTeX tables (booktabs) for a two-column paper, which includes the file with `\\input`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from melt_ser.core.errors import one_line
from melt_ser.evaluation.metrics import percent, table_metrics
from melt_ser.evaluation.results import EvaluationSummary
from melt_ser.reporting.contents import ReportData
from melt_ser.reporting.latex_table import Figure, Row, Table, breakable, laid_out
from melt_ser.reporting.latex_text import OTHER_SCRIPT, needs_lualatex
from melt_ser.reporting.matrix import Cell, Matrix
from melt_ser.reporting.overview import SystemScore, figure, over
from melt_ser.reporting.ranking import Ranking

HEAD = r"""% Tables of `melt-ser report` for a two-column paper: \input this file after \usepackage{booktabs}.
% pdfLaTeX and LuaLaTeX compile it. A table fits a column (table) or the page (table*) of Interspeech, ICASSP and IEEE.
"""
LONG_HEAD = r"""% Tables of `melt-ser report`: \input this file after \usepackage{booktabs,longtable}, in \onecolumn.
"""
SCRIPT_HEAD = r"""% pdfLaTeX shows some characters as code points, LuaLaTeX itself, if the font has them:
% \usepackage{fontspec}\newfontfamily\otherscriptfont{Noto Sans CJK SC}
"""
MARKS = (
    r"$^\dagger$ ($^\ddagger$): below the best of the column at $p<0.05$ ($p<0.01$), by a paired bootstrap with Holm's "
    "correction."
)
ANSWER_SETS = {
    "closed": ", answers among the classes of the corpus (closed)",
    "open": ", answers among all classes of the system (open)",
    "closed = open": "",
}
MOST_NOTES = 3  # of the comparisons that could not be made
MOST_WARNINGS = 10  # in the comment


def latex(contents: ReportData, longtable: bool = False) -> str:
    """Return a table for the matrix of each answer set, one of the ranks, and one of all results.

    Each is divided into tables that fit a page, or with `longtable` runs over several pages.
    """
    tables = [_matrix(matrix) for matrix in contents.matrices]
    tables += [_ranking(contents.ranking)] if contents.ranking and contents.ranking.rows else []
    tables += [_results(contents)]
    text = "\n\n".join(part for table in tables for part in laid_out(table, longtable)) + "\n"
    warnings = [f"% Warning ({len(runs)} runs): {one_line(sentence)}\n" for sentence, runs in contents.warnings.items()]
    if len(warnings) > MOST_WARNINGS:
        warnings[MOST_WARNINGS:] = [f"% The page has {len(warnings) - MOST_WARNINGS} more warnings.\n"]
    other_script = SCRIPT_HEAD + OTHER_SCRIPT if needs_lualatex(text) else ""
    return "".join([LONG_HEAD if longtable else HEAD, *warnings, other_script, "\n", text])


def _matrix(matrix: Matrix) -> Table:
    cells = {key: [row[key] for row in matrix.rows.values() if key in row] for key in matrix.columns}
    table = Table(
        f"tab:ua-{matrix.answer_set.split()[0]}",
        rf"Unweighted accuracy (UA, \%) by system and test corpus{ANSWER_SETS[matrix.answer_set]}.",
        ["System", "Trained on"],
        list(matrix.columns.values()),
        [
            ([system, train], [_cell(row.get(key)) for key in matrix.columns])
            for (system, train), row in matrix.rows.items()
        ],
        [
            ("Chance", [Figure(percent(_chance(column[0].score.rows[0]))) for column in cells.values()]),
            ("Utterances", [Figure(f"{key.n:,}") for key in matrix.columns]),
        ],
    )
    scores = [(matrix.columns[key], cell.score) for key, column in cells.items() for cell in column]
    table.notes = [
        *_named(table.constants()),
        *_meaning_of_figures(scores),
        *(["Bold: the best of a column."] if any(cell.best for cell in matrix.cells) else []),
        *([MARKS] if any(cell.mark for cell in matrix.cells) else []),
        *map(breakable, matrix.notes[:MOST_NOTES]),
        *([f"{len(matrix.notes) - MOST_NOTES} more were not compared."] if len(matrix.notes) > MOST_NOTES else []),
    ]
    return table


def _cell(cell: Cell | None) -> Figure | None:
    return None if cell is None else Figure(figure(cell.score, "ua"), cell.mark, cell.best)


def _chance(row: EvaluationSummary) -> float:
    return 1 / len(row.classes)


def _ranking(ranking: Ranking) -> Table:
    rows: list[Row] = [
        ([row.method, row.letters], [Figure(f"{row.mean_rank:.2f}"), Figure(percent(row.ua))]) for row in ranking.rows
    ]
    return Table(
        "tab:ranks",
        "Ranks of the methods by UA over test corpora.",
        ["Method", "Alike"],
        ["Mean rank", "Mean UA (%)"],
        rows,
        notes=list(map(breakable, ranking.sentences)),
    )


def _results(contents: ReportData) -> Table:
    metrics = table_metrics()
    main = next(iter(metrics))  # only this metric has its interval; otherwise the table would be too wide
    scores = contents.system_scores
    rows: list[Row] = [
        (
            [score.corpus, score.fold, score.answer_set, score.system, score.train, over(score), _unit(score) or "--"],
            [
                Figure(f"{score.rows[0].n:,}"),
                Figure(percent(_chance(score.rows[0]))),
                *(Figure(figure(score, name, interval=name == main)) for name in metrics),
            ],
        )
        for score in scores
    ]
    table = Table(
        "tab:results",
        r"All results (\%) by test corpus.",
        ["Tested on", "Fold", "Answers", "System", "Trained on", "Mean of", "Interval over"],
        ["Utterances", "Chance", *(metric.label for metric in metrics.values())],
        rows,
    )
    table.notes = [*_named(table.constants()), *_meaning_of_figures([(score.corpus, score) for score in scores])]
    return table


def _named(constants: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a note for each column that has one text in all rows."""
    yield from (f"{head}: {breakable(text)}." for head, text in constants if text)


def _meaning_of_figures(scores: list[tuple[str, SystemScore]]) -> Iterator[str]:
    """Yield what brackets are intervals over, by the name of a test set, and what deviations are over."""
    tests: dict[str, dict[str, None]] = defaultdict(dict)
    for name, score in scores:
        if unit := _unit(score):
            tests[unit][name] = None
    phrases = [f"{unit} ({', '.join(names)})" for unit, names in tests.items()]
    if phrases:
        yield rf"{{[}}low, high{{]}}: 95\,\% interval over {breakable(' and over '.join(phrases))}."
    deviations = dict.fromkeys(over(score) for _, score in scores if over(score))
    if deviations:
        yield rf"$\pm$: standard deviation over {' or '.join(deviations)}."
    yield "Chance: the UA of guessing, 1 / number of classes."


def _unit(score: SystemScore) -> str:
    """Return the units that the interval of a score is over; "" if it has none."""
    return f"{score.rows[0].ci_unit}s" if "[" in figure(score, "ua") else ""
