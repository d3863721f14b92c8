"""What a small report says, part by part, as text for a terminal or as Markdown."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from melt_ser.core.errors import one_line
from melt_ser.evaluation.metrics import percent
from melt_ser.reporting.markdown import escaped, table


@dataclass(frozen=True)
class Section:
    """A title, sentences, and a table whose columns after the first are of numbers."""

    title: str
    sentences: Sequence[str] = ()
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=list)


def as_markdown(sections: Sequence[Section]) -> str:
    """Every section under a heading; what corpora say is escaped."""
    return "\n".join(_markdown_lines(sections)) + "\n"


def _markdown_lines(sections: Sequence[Section]) -> Iterator[str]:
    for number, section in enumerate(sections):
        yield f"{'##' if number else '#'} {escaped(section.title)}\n"
        for sentence in section.sentences:
            yield f"{escaped(sentence)}\n"
        if section.rows:
            yield from table(section.heads, section.rows)
            yield ""


def as_text(sections: Sequence[Section]) -> str:
    """Every section with its table as a terminal shows it, 100 columns wide."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    stream = io.StringIO()
    console = Console(file=stream, width=100, markup=False, emoji=False, highlight=False, no_color=True)
    for section in sections:
        console.print(one_line(section.title).upper())
        for sentence in section.sentences:
            console.print(one_line(sentence))
        if section.rows:
            shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
            for number, head in enumerate(section.heads):
                shown.add_column(one_line(head), justify="right" if number else "left", overflow="fold")
            for row in section.rows:
                shown.add_row(*map(one_line, row))
            console.print(shown)
        console.print()
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def percent_with_interval(entry: dict[str, Any], name: str) -> str:
    """`entry[name]` in per cent with its 95 % interval; – where it is not defined."""
    if entry[name] is None:
        return "–"
    low, high = entry[f"{name}_ci95"]
    return f"{percent(entry[name])} [{percent(low)}, {percent(high)}]"


def value_with_interval(entry: dict[str, Any], name: str) -> str:
    """`entry[name]`, of which 1 is the most, with its 95 % interval; – where it is not defined."""
    if entry[name] is None:
        return "–"
    low, high = entry[f"{name}_ci95"]
    return f"{entry[name]:.3f} [{low:.3f}, {high:.3f}]"
