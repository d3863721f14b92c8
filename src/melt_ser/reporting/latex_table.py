"""Lay out a table for a two-column paper: its size decides whether it fills a column, a page, or several tables.

Widths are estimated from the text in `\\footnotesize`, never too small, and nothing is scaled. A long name takes
several lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from melt_ser.reporting.latex_text import broken, escaped, points_wide

COLUMN, PAGE = 220.0, 450.0  # points; those of `article` on A4, narrower than Interspeech, ICASSP and IEEE
ONE_COLUMN = 340.0  # points of a page of `article` in one column, for longtable
GAP = 6.0  # points between two columns: twice \tabcolsep
WIDEST_TEXTS = (110.0, 90.0, 70.0, 55.0, 42.0, 30.0)  # points of a line of text: the first with which a table fits
NARROW = 70.0  # points of the narrowest line of text that makes a table fit a column rather than a page
WIDEST_HEAD = 62.0  # points of a line of a head over figures
MOST_LINES = 42  # lines of a table that leave room for caption and notes on a page
SHORT = 25  # lines of a table that needs no page of its own
SMALL = 0.95  # width of \scriptsize to \footnotesize: Computer Modern's small sizes are wide

MINUS = re.compile(r"-(?=\d)")  # of a number: LaTeX sets a hyphen for it


class Figure(NamedTuple):
    """A figure such as `62.1 [55.0, 69.0]`, its interval set smaller; `mark` is † or ‡, `letter` points to a note."""

    text: str
    mark: str = ""
    bold: bool = False
    letter: str = ""

    @property
    def wide(self) -> float:
        value, bounds = self._parts()
        return points_wide(value + self.mark + self.letter, self.bold) + (
            SMALL * points_wide(f" {bounds}") if bounds else 0
        )

    def latex(self) -> str:
        value, bounds = self._parts()
        text = escaped(value) + escaped(self.mark) + superscript(self.letter)
        return (rf"\textbf{{{text}}}" if self.bold else text) + (
            rf" {{\scriptsize {escaped(bounds)}}}" if bounds else ""
        )

    def _parts(self) -> tuple[str, str]:
        value, bracket, rest = MINUS.sub("−", self.text).partition(" [")
        return value, f"[{rest}" if bracket else ""


Row = tuple[list[str], list[Figure | None]]  # texts and figures


@dataclass
class Table:
    """Rows of names and figures, before they are laid out; a row of `last` stands below a line of its own."""

    label: str
    caption: str  # LaTeX, and so are the notes
    names: list[str]  # heads of the columns with text
    heads: list[str]  # heads of the columns with figures
    rows: list[Row]
    last: list[tuple[str, list[Figure | None]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    grouped: bool = False  # whether a name in the first column stands only once if the next rows share it
    widest_text: float = WIDEST_TEXTS[0]

    def constants(self) -> list[tuple[str, str]]:
        """Take out the columns of text, after the first, with one text in all rows; return their heads and texts."""
        texts = [{names[number] for names, _ in self.rows} for number in range(len(self.names))]
        kept = [number for number, found in enumerate(texts) if number == 0 or len(found) > 1]
        taken = [(self.names[number], min(found)) for number, found in enumerate(texts) if number not in kept]
        self.names = [self.names[number] for number in kept]
        self.rows = [([names[number] for number in kept], figures) for names, figures in self.rows]
        return taken


def laid_out(table: Table, longtable: bool) -> list[str]:
    """Return the LaTeX of a table, divided by columns and then by rows until each part fits a page."""
    page = ONE_COLUMN if longtable else PAGE
    fitted = replace(table, widest_text=_widest_text(table, page))
    parts = [part for wide in _by_columns(fitted, page) for part in ([wide] if longtable else _by_rows(wide))]
    return [_latex(part, number, len(parts), longtable) for number, part in enumerate(parts, 1)]


def _widest_text(table: Table, page: float) -> float:
    """Return the first of WIDEST_TEXTS with which all fits a column, or a page, or texts take half of the page."""
    figures = sum(_figure_widths(table)) + GAP * len(table.heads)
    for room, narrowest in ((COLUMN - figures, NARROW), (page - figures, 0), (page / 2, 0)):
        for widest in WIDEST_TEXTS:
            texts = sum(_text_widths(replace(table, widest_text=widest))) + GAP * (len(table.names) - 1)
            if widest >= narrowest and texts <= room:
                return widest
    return WIDEST_TEXTS[-1]


def _text_widths(table: Table) -> list[float]:
    columns = [[head, *(names[number] for names, _ in table.rows)] for number, head in enumerate(table.names)]
    columns[0] += [name for name, _ in table.last]
    return [min(table.widest_text, max(map(points_wide, dict.fromkeys(texts)))) for texts in columns]


def _figure_widths(table: Table) -> list[float]:
    lines = [max(points_wide(line) for line in broken(head, WIDEST_HEAD)) for head in table.heads]
    rows = [figures for _, figures in [*table.rows, *table.last]]
    columns = [[row[number] for row in rows] for number in range(len(lines))]
    return [
        max([head, *(figure.wide for figure in column if figure)]) for head, column in zip(lines, columns, strict=True)
    ]


def _by_columns(table: Table, page: float) -> Iterator[Table]:
    """Divide the columns of figures, so that each part fits a page; a row without a figure is left out of a part."""
    room = page - sum(_text_widths(table)) - GAP * (len(table.names) - 1)
    groups: list[list[int]] = [[]]
    left = room
    for number, width in enumerate(_figure_widths(table)):
        if groups[-1] and width + GAP > left:
            groups.append([])
            left = room
        groups[-1].append(number)
        left -= width + GAP
    for group in groups:
        rows = [(names, [figures[number] for number in group]) for names, figures in table.rows]
        yield replace(
            table,
            heads=[table.heads[number] for number in group],
            rows=[(names, figures) for names, figures in rows if any(figures)],
            last=[(name, [figures[number] for number in group]) for name, figures in table.last],
        )


def _by_rows(table: Table) -> Iterator[Table]:
    part: list[Row] = []
    lines = 0
    for row in table.rows:
        height = _lines(table, row)
        if part and lines + height > MOST_LINES:
            yield replace(table, rows=part)
            part, lines = [], 0
        part.append(row)
        lines += height
    yield replace(table, rows=part)


def _lines(table: Table, row: Row) -> int:
    return max(len(broken(name, table.widest_text)) for name in row[0])


def _latex(table: Table, number: int, parts: int, longtable: bool) -> str:
    widths = [*_text_widths(table), *_figure_widths(table)]
    star = "*" if sum(widths) + GAP * (len(widths) - 1) > COLUMN else ""
    place = "tp" if sum(_lines(table, row) for row in table.rows) > SHORT else "t"
    caption = table.caption + (f" Part {number} of {parts}." if parts > 1 else "")
    label = table.label + (f"-{number}" if number > 1 else "")
    alignment = f"@{{}}{'l' * len(table.names)}{'r' * len(table.heads)}@{{}}"
    heads = [_stacked(name, table.widest_text, "l", "b") for name in table.names]
    heads += [_stacked(head, WIDEST_HEAD, "r", "b") for head in table.heads]
    body = [
        *_rows(table),
        *([r"\midrule"] if table.last else []),
        *(_row([escaped(name), *[""] * (len(table.names) - 1)], figures) for name, figures in table.last),
    ]
    notes = rf"\parbox{{\linewidth}}{{\raggedright\scriptsize {' '.join(table.notes)}}}" if table.notes else ""
    if longtable:
        return "\n".join(
            [
                r"\begingroup\footnotesize\setlength{\tabcolsep}{3pt}",
                rf"\begin{{longtable}}{{{alignment}}}",
                rf"\caption{{{caption}}}\label{{{label}}}\\",
                *[r"\toprule", " & ".join(heads) + r" \\", r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot"],
                *body,
                r"\end{longtable}",
                rf"\noindent{notes}\par" if notes else "",
                r"\endgroup",
            ]
        )
    return "\n".join(
        [
            rf"\begin{{table{star}}}[{place}]",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}\setlength{\belowcaptionskip}{3pt}",
            rf"\caption{{{caption}}}\label{{{label}}}",
            rf"\begin{{tabular}}{{{alignment}}}",
            *[r"\toprule", " & ".join(heads) + r" \\", r"\midrule", *body, r"\bottomrule"],
            r"\end{tabular}",
            *([r"\par\smallskip", notes] if notes else []),
            rf"\end{{table{star}}}",
        ]
    )


def _rows(table: Table) -> Iterator[str]:
    before = None
    for names, figures in table.rows:
        first = names[0]
        if table.grouped and first == before:
            first = ""
        elif table.grouped and before is not None:
            yield r"\addlinespace[2pt]"
        before = names[0]
        yield _row([_stacked(name, table.widest_text, "l", "t") for name in (first, *names[1:])], figures)


def _row(names: list[str], figures: list[Figure | None]) -> str:
    return " & ".join([*names, *("--" if figure is None else figure.latex() for figure in figures)]) + r" \\"


def _stacked(text: str, width: float, side: str, level: str) -> str:
    """Return text in as many lines as it needs."""
    lines = [escaped(line) for line in broken(text, width)]
    if len(lines) == 1:
        return lines[0]
    rows = r" \\ ".join(lines)
    return rf"\begin{{tabular}}[{level}]{{@{{}}{side}@{{}}}}{rows}\end{{tabular}}"


def superscript(letter: str) -> str:
    return rf"\textsuperscript{{{letter}}}" if letter else ""


def breakable(text: object) -> str:
    """Return escaped text for a caption or a note, in which a long word may break."""
    words = str(text).split(" ")
    return " ".join(r"\allowbreak{}".join(map(escaped, broken(word, WIDEST_TEXTS[0]))) for word in words)
