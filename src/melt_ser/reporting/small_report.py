"""A small report of titles, sentences and tables: text for a terminal, Markdown or JSON.

Verbs import this module for their options, so rich, pandas and numpy are imported inside the functions.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from melt_ser.cli.verb import given_path
from melt_ser.core.console import say
from melt_ser.core.errors import SetupError, one_line

FORMATS = ("text", "md", "json")
WIDTH, WIDEST = 100, 10_000  # columns of text, and of a table whose words need more than WIDTH
NO_INTERVAL = (
    "[–]: there is no interval if speakers are fewer than four, if all resamples give the same value, or if it would "
    "be the whole scale."
)
SUFFIXES = {".md": "md", ".json": "json", ".txt": "text", "": "text"}


@dataclass(frozen=True)
class Section:
    """A title, sentences, and a table; every column except the first holds numbers."""

    title: str
    sentences: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=list)


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options `--format` and `--out`."""
    parser.add_argument("--format", choices=FORMATS, help="(default: by the suffix of --out, else text)")
    parser.add_argument("--out", type=given_path, help="file to write (default: standard output)")


def write(options: argparse.Namespace, sections: Sequence[Section], values: Any) -> None:
    """Write the sections, or `values` as JSON, by the options of `add_output_options`.

    Raises SetupError for an unknown suffix of `--out`, OutputError if the file cannot be written.
    """
    from melt_ser.core import files

    form = options.format or _format_of(options.out)
    if form == "json":
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        text = as_markdown(sections) if form == "md" else as_text(sections)
    if options.out is None:
        sys.stdout.write(text)
    else:
        files.write_text(options.out, text)
        say(f"written: {options.out}")


def _format_of(out: Path | None) -> str:
    suffix = out.suffix.lower() if out else ""
    if suffix not in SUFFIXES:
        raise SetupError(f"--out {out} ends in none of .txt, .md and .json; choose one of these, or give --format.")
    return SUFFIXES[suffix]


def as_markdown(sections: Sequence[Section]) -> str:
    """Return the sections as Markdown, each under a heading; all text is escaped."""
    return "\n".join(_markdown_lines(sections)) + "\n"


def _markdown_lines(sections: Sequence[Section]) -> Iterator[str]:
    from melt_ser.core.markdown import escaped, table

    for number, section in enumerate(sections):
        yield f"{'##' if number else '#'} {escaped(section.title)}\n"
        for sentence in section.sentences:
            yield f"{escaped(sentence)}\n"
        if section.rows:
            yield from table(section.columns, section.rows)
            yield ""


def as_text(sections: Sequence[Section]) -> str:
    """Return the sections as text for a terminal, 100 columns wide; a table is wider if its words need it."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    stream = io.StringIO()
    console = Console(file=stream, width=WIDTH, markup=False, emoji=False, highlight=False, no_color=True)
    for section in sections:
        console.print(one_line(section.title).upper())
        for sentence in section.sentences:
            console.print(one_line(sentence))
        if section.rows:
            shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
            for number, column in enumerate(section.columns):
                shown.add_column(one_line(column), justify="right" if number else "left", overflow="fold")
            for row in section.rows:
                shown.add_row(*map(one_line, row))
            unbounded = console.options.update(width=WIDEST)
            console.width = max(WIDTH, Measurement.get(console, unbounded, shown).minimum)
            console.print(shown)
            console.width = WIDTH
        console.print()
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def percent_with_interval(entry: dict[str, Any], name: str) -> str:
    """Return `entry[name]` in per cent with its 95 % interval, or "–" if it is not defined."""
    from melt_ser.evaluation.metrics import percent

    if entry[name] is None:
        return "–"
    bounds = entry[f"{name}_ci95"]
    interval = f"{percent(bounds[0])}, {percent(bounds[1])}" if bounds else "–"
    return f"{percent(entry[name])} [{interval}]"


def value_with_interval(entry: dict[str, Any], name: str) -> str:
    """Return `entry[name]`, a value of at most 1, with its 95 % interval, or "–" if it is not defined."""
    if entry[name] is None:
        return "–"
    bounds = entry[f"{name}_ci95"]
    interval = f"{bounds[0]:.3f}, {bounds[1]:.3f}" if bounds else "–"
    return f"{entry[name]:.3f} [{interval}]"


def missing_intervals(rows: Iterable[Any]) -> list[str]:
    """Return a sentence on missing intervals if a row has a value without its 95 % interval (`<name>_ci95`)."""
    lacking = (
        getattr(row, name.removesuffix("_ci95")) is not None and getattr(row, name) is None
        for row in rows
        for name in row.__struct_fields__
        if name.endswith("_ci95")
    )
    return [NO_INTERVAL] if any(lacking) else []
