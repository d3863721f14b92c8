"""Write the results as LaTeX tables (booktabs) that a paper includes with `\\input`.

The text compiles with pdfLaTeX: a character that its fonts lack (in a Chinese corpus name) is shown as its code point.
"""

from __future__ import annotations

from collections.abc import Iterator

from melt_ser.core.errors import one_line
from melt_ser.evaluation.metrics import percent, table_metrics
from melt_ser.reporting.contents import ReportData
from melt_ser.reporting.matrix import Cell, Matrix
from melt_ser.reporting.overview import figure, over
from melt_ser.reporting.ranking import Ranking
from melt_ser.runs.table import interval_legend

WIDEST = 6  # the most test sets in one table
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "–": "--",
    "±": r"$\pm$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "ˢ": r"$^s$",
    "ᵘ": r"$^u$",
    "¹": r"$^1$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
PREAMBLE = r"% \usepackage[T1]{fontenc} \usepackage[utf8]{inputenc} \usepackage{textcomp,booktabs,longtable}" + "\n"


def latex(contents: ReportData) -> str:
    """Return a table for the matrix of each answer set, one of the ranks, and one of all results."""
    blocks = [block for matrix in contents.matrices for block in _matrix_tables(matrix)]
    blocks += [_ranking(contents.ranking)] if contents.ranking and contents.ranking.rows else []
    return PREAMBLE + "\n".join([*blocks, _results(contents)])


def escaped(text: object) -> str:
    """Return text, escaped for LaTeX.

    >>> print(escaped("50% of a_b"))
    50\\% of a\\_b
    """
    return "".join(SPECIAL.get(character) or _plain(character) for character in one_line(str(text)))


def _plain(character: str) -> str:
    if character.isascii() or (character.isalpha() and ord(character) < 0x180):
        return character
    return f"[U+{ord(character):04X}]"


def _matrix_tables(matrix: Matrix) -> Iterator[str]:
    columns = list(matrix.columns)
    for begin in range(0, len(columns), WIDEST):
        part = columns[begin : begin + WIDEST]
        names = ["System", "Trained on", *(escaped(matrix.columns[key]) for key in part)]
        rows = [
            [escaped(system), escaped(train), *(_cell(cells.get(key)) for key in part)]
            for (system, train), cells in matrix.rows.items()
            if any(key in cells for key in part)
        ]
        caption = (
            f"Unweighted accuracy (\\%), answer set {escaped(matrix.answer_set)}. Bold: best of a column; "
            r"$^\dagger$, $^\ddagger$: below it at $p<0.05$, $p<0.01$; $\pm$: standard deviation. "
            f"{escaped(matrix.chance)} {escaped(matrix.compared)}"
        )
        yield _longtable("ll" + "r" * len(part), names, rows, caption)


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    text = escaped(figure(cell.score, "ua", interval=False) + cell.mark)
    return f"\\textbf{{{text}}}" if cell.best else text


def _ranking(ranking: Ranking) -> str:
    rows = [
        [escaped(row.method), f"{row.mean_rank:.2f}", escaped(percent(row.ua)), row.letters] for row in ranking.rows
    ]
    columns = ["Method", "Mean rank", r"Mean UA (\%)", "Alike"]
    return _longtable("lrrl", columns, rows, escaped(" ".join(ranking.sentences)))


def _results(contents: ReportData) -> str:
    metrics = table_metrics()
    main = next(iter(metrics))  # only this metric has its interval; otherwise the table would be too wide
    columns = ["System", "Trained on", "Tested on", "Answer set", "Mean of", "$n$", "Chance"]
    columns += [escaped(metric.label) for metric in metrics.values()]
    rows = [
        [
            *map(escaped, (row.system, row.train, row.corpus, row.answer_set, over(row), row.rows[0].n)),
            percent(row.chance),
            *(escaped(figure(row, name, interval=name == main)) for name in metrics),
        ]
        for row in contents.system_scores
    ]
    legend = interval_legend([row for score in contents.system_scores for row in score.rows])
    caption = r"All results in \%: mean $\pm$ standard deviation of several runs, [95\,\% interval]. "
    caption += escaped(" ".join(legend))
    return _longtable("lllll" + "r" * (2 + len(metrics)), columns, rows, caption)


def _longtable(alignment: str, columns: list[str], rows: list[list[str]], caption: str) -> str:
    """Return a table that may run over several pages; its column names are repeated on each."""
    lines = [
        r"\begingroup\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\begin{{longtable}}{{@{{}}{alignment}@{{}}}}",
        rf"\caption{{{caption}}}\\",
        r"\toprule",
        " & ".join(columns) + r" \\",
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\end{longtable}",
        r"\endgroup",
    ]
    return "\n".join(lines) + "\n"
