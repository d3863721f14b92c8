"""Write the results as LaTeX tables (booktabs) for a two-column paper, which includes the file with `\\input`."""

from __future__ import annotations

import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from melt_ser.core.counting import counted
from melt_ser.core.errors import one_line
from melt_ser.evaluation.metrics import percent, table_metrics
from melt_ser.reporting.contents import ReportData
from melt_ser.reporting.latex_table import Figure, Row, Table, breakable, laid_out, superscript
from melt_ser.reporting.latex_text import OTHER_SCRIPT, needs_lualatex
from melt_ser.reporting.matrix import Cell, Matrix, ScoredSet
from melt_ser.reporting.overview import SystemScore, figure, over
from melt_ser.reporting.ranking import Ranking
from melt_ser.reporting.rated import HEAD as HEAD_OF_RATED
from melt_ser.reporting.rated import tables as rated_tables
from melt_ser.reporting.scores import corpus_names, interval
from melt_ser.runs.table import interval_legend

HEAD = r"""% Tables of `melt-ser report` for a two-column paper: \input this file after \usepackage{booktabs}.
% pdfLaTeX and LuaLaTeX compile it. A table fits a column (table) or the page (table*) of Interspeech, ICASSP and IEEE.
"""
LONG_HEAD = r"""% Tables of `melt-ser report`: \input this file after \usepackage{booktabs,longtable}, in \onecolumn.
"""
SCRIPT_HEAD = r"""% pdfLaTeX shows some characters as code points; LuaLaTeX shows the characters, if this font has them:
% \usepackage{fontspec}\newfontfamily\otherscriptfont{Noto Sans CJK SC}
"""
MARKS = r"$^\dagger$ ($^\ddagger$): below this best at $p<0.05$ ($p<0.01$)."
ANSWER_SETS = {
    "closed": ", answers among the classes of the corpus (closed)",
    "open": ", answers among all classes of the system (open)",
    "closed = open": "",
}
LETTERS = [*string.ascii_lowercase, *(f"{first}{second}" for first in "abcdefgh" for second in string.ascii_lowercase)]
MOST_NOTES = 3  # of the comparisons that could not be made
MOST_WARNINGS = 10  # in the comment
MOST_FLOATS = 30  # tables that LaTeX keeps waiting for a place; it stops at about 50


def latex(contents: ReportData, longtable: bool = False) -> str:
    """Return a table for the matrix of each answer set, one of the ranks, and one of all metrics on each test set.

    Each is divided into tables that fit a page, or with `longtable` runs over several pages.
    """
    tables = [_matrix(matrix) for matrix in contents.matrices if matrix.rows]
    tables += [_ranking(contents.ranking)] if contents.ranking and contents.ranking.rows else []
    tests = [(matrix, key) for matrix in contents.matrices for key in matrix.columns]
    tables += [_results(*test, f"tab:results-{number}") for number, test in enumerate(tests, 1)]
    tables += [_rated(*rated, f"tab:rated-{number}") for number, rated in enumerate(rated_tables(contents.rated), 1)]
    parts = [part for table in tables for part in laid_out(table, longtable)]
    for number in range(MOST_FLOATS, len(parts), MOST_FLOATS):
        parts[number] = "\\clearpage\n" + parts[number]
    text = "\n\n".join(parts) + "\n"
    warnings = [
        f"% Warning ({counted(len(runs), 'run')}): {one_line(sentence)}\n"
        for sentence, runs in contents.warnings.items()
    ]
    if len(warnings) > MOST_WARNINGS:
        warnings[MOST_WARNINGS:] = [
            f"% In the HTML report: {counted(len(warnings) - MOST_WARNINGS, 'more warning')}.\n"
        ]
    other_script = SCRIPT_HEAD + OTHER_SCRIPT if needs_lualatex(text) else ""
    return "".join([LONG_HEAD if longtable else HEAD, *warnings, other_script, "\n", text])


def _matrix(matrix: Matrix) -> Table:
    """Return the table of UA: a column for each test corpus, and a letter on cells that are over another part of it."""
    columns = _columns(matrix)
    usual = [tests[0] for tests in columns.values()]
    letters = dict(zip((test for tests in columns.values() for test in tests[1:]), LETTERS, strict=False))
    rows: list[Row] = []
    for (system, train), row in matrix.rows.items():
        cells = [_largest(row, tests) for tests in columns.values()]
        rows.append(([system, train], [test and _cell(row[test], letters.get(test, "")) for test in cells]))
    units = [_units(matrix, test) for test in usual]
    table = Table(
        f"tab:ua-{matrix.answer_set.split()[0]}",
        rf"Unweighted accuracy (UA, \%) by system and test corpus{ANSWER_SETS[matrix.answer_set]}.",
        ["System", "Trained on"],
        list(columns),
        rows,
        [
            ("Chance", [Figure(_chance_of(matrix, test)) for test in usual]),
            ("Utterances", [Figure(f"{test.n:,}") for test in usual]),
            ("Interval over", [Figure(unit) if unit else None for unit in units]),
        ],
    )
    if not any(units):
        del table.last[-1]
    constants = table.constants()
    table.grouped = len(table.names) > 1
    others = [_other_test(matrix, test, letter) for test, letter in letters.items()]
    table.notes = [*_named(constants), *others, *_meaning(matrix.cells, ["ua"], bool(letters)), *_compared(matrix)]
    return table


def _columns(matrix: Matrix) -> dict[str, list[ScoredSet]]:
    """Return the test sets of each corpus, by its name: first the one of most cells, of several the largest."""
    corpora: dict[tuple[str, str], list[ScoredSet]] = defaultdict(list)
    for test in matrix.columns:
        corpora[test.corpus, test.digest].append(test)
    names = corpus_names(corpora)
    shown = Counter(_largest(row, tests) for row in matrix.rows.values() for tests in corpora.values())
    return {names[corpus]: sorted(tests, key=lambda test: (-shown[test], -test.n)) for corpus, tests in corpora.items()}


def _largest(row: dict[ScoredSet, Cell], tests: list[ScoredSet]) -> ScoredSet | None:
    """Return the largest of a corpus's test sets that a system has, which its cell shows."""
    return max(set(tests) & set(row), key=lambda test: test.n, default=None)


def _other_test(matrix: Matrix, test: ScoredSet, letter: str) -> str:
    units = _units(matrix, test)
    told = f"{test.n:,} utterances, chance {_chance_of(matrix, test)}" + (f", interval over {units}" if units else "")
    return rf"{superscript(letter)}\,{breakable(matrix.columns[test])}: {told}."


def _cells(matrix: Matrix, test: ScoredSet) -> list[Cell]:
    return [row[test] for row in matrix.rows.values() if test in row]


def _units(matrix: Matrix, test: ScoredSet) -> str:
    """Return what the intervals on a test set are over; "" if there are none."""
    return " and ".join(dict.fromkeys(filter(None, (_unit(cell.score) for cell in _cells(matrix, test)))))


def _chance_of(matrix: Matrix, test: ScoredSet) -> str:
    return percent(_cells(matrix, test)[0].score.chance)


def _results(matrix: Matrix, test: ScoredSet, label: str) -> Table:
    """Return a table of all metrics on one test set, the best system first."""
    cells = sorted(_cells(matrix, test), key=lambda cell: -cell.score.summary.mean["ua"])
    row = cells[0].score.rows[0]
    size = f"{counted(test.n, 'utterance')} of {counted(len(row.classes), 'class', 'classes')}"
    table = Table(
        label,
        rf"All metrics (\%) on {breakable(matrix.columns[test])}{ANSWER_SETS[matrix.answer_set]}: "
        rf"{size}, chance of UA {percent(row.chance)}\,\%.",
        ["System", "Trained on", "±, interval over"],
        [metric.label for metric in table_metrics().values()],
        [
            (
                [cell.score.system, cell.score.train, ", ".join(filter(None, (over(cell.score), _unit(cell.score))))],
                [_cell(cell), *(Figure(figure(cell.score, name)) for name in table_metrics() if name != "ua")],
            )
            for cell in cells
        ],
    )
    table.notes = [*_named(table.constants()), *_meaning(cells, list(table_metrics())), breakable(matrix.compared)]
    return table


def _cell(cell: Cell, letter: str = "") -> Figure:
    return Figure(figure(cell.score, "ua"), cell.mark, cell.best, letter)


def _rated(title: str, meaning: str, columns: list[str], rows: list[list[str]], label: str) -> Table:
    """Return the table of attributes or of votes; the arguments are those of `rated.tables`."""
    texts = len(HEAD_OF_RATED)
    table = Table(
        label,
        f"{title}.",
        [name[:1].upper() + name[1:] for name in columns[:texts]],
        columns[texts:],
        [(row[:texts], [Figure(cell) for cell in row[texts:]]) for row in rows],
    )
    table.notes = [*_named(table.constants()), breakable(meaning)]
    return table


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


def _named(constants: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a note for each column that has one text in all rows."""
    yield from (f"{head}: {breakable(text)}." for head, text in constants if text)


def _meaning(cells: list[Cell], metrics: list[str], letters: bool = False) -> Iterator[str]:
    """Yield what the brackets, deviations and marks of these cells and metrics mean."""
    if any(_unit(cell.score) for cell in cells):
        yield r"{[}low, high{]}: 95\,\% interval."
    yield from map(breakable, interval_legend([row for cell in cells for row in cell.score.interval_rows], metrics))
    deviations = dict.fromkeys(over(cell.score) for cell in cells if over(cell.score))
    if deviations:
        yield rf"$\pm$: standard deviation over {' or '.join(deviations)}."
    if any(cell.best for cell in cells):
        yield "Bold: the best UA of a column" + (", among cells with the same letter or none." if letters else ".")
    if any(cell.mark for cell in cells):
        yield MARKS


def _compared(matrix: Matrix) -> Iterator[str]:
    yield from map(breakable, filter(None, [matrix.compared, *matrix.notes[:MOST_NOTES]]))
    if len(matrix.notes) > MOST_NOTES:
        yield f"{len(matrix.notes) - MOST_NOTES} more such notes are in the HTML report."


def _unit(score: SystemScore) -> str:
    """Return the units that the interval of a score is over; "" if it has none."""
    return f"{score.rows[0].ci_unit}s" if interval(score) else ""
