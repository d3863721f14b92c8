"""`python -m melt_ser.report RUNS… [--format md|csv|latex|html] [--out FILE]`: runs as tables, figures and a page."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from melt_ser.cli.failures import FAILED
from melt_ser.cli.verb import given_path, run
from melt_ser.core import files
from melt_ser.core.console import Progress, say
from melt_ser.core.counting import counted
from melt_ser.core.errors import SetupError
from melt_ser.core.places import is_stream
from melt_ser.reporting.collect import CollectedRuns, collect

FORMATS = ("md", "csv", "latex", "html")
REFUSED = ("run that was refused at the start", "runs that were refused at the start")
SUFFIXES = {".md": "md", ".csv": "csv", ".tex": "latex", ".html": "html"}


def main(arguments: list[str] | None = None) -> int:
    """Report every finished run below the folders; return 1 if a run folder could not be read (the rest is done)."""
    parser = argparse.ArgumentParser(
        prog="melt-ser report", description="Collect runs into tables, figures and a page."
    )
    parser.add_argument("runs", type=given_path, nargs="+", help="folders that are searched for runs")
    parser.add_argument("--format", choices=FORMATS, help="(default: by the suffix of --out; md)")
    parser.add_argument("--out", type=given_path, help="file to write (default: standard output)")
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="CORPUS=PATH",
        help="a result file or folder of nkululeko or EmoBox on a test corpus, next to ours (md, html); repeatable",
    )
    parser.add_argument(
        "--longtable", action="store_true", help="LaTeX: tables that run over several pages, for a paper of one column"
    )
    parser.add_argument(
        "--clear-failed", action="store_true", help="delete the failed.json of failed and refused runs after the report"
    )
    return run(lambda: report(parser.parse_args(arguments)))


def report(options: argparse.Namespace) -> int:
    form = options.format or _format_of(options.out)
    if options.longtable and form != "latex":
        raise SetupError(f"--longtable is for LaTeX, and this report is {form}; give --format latex or leave it out.")
    if options.beside and form not in ("md", "html"):
        raise SetupError(f"--beside is for md and html, and this report is {form}; give --format md or leave it out.")
    found = collect(options.runs)
    if not options.clear_failed:
        _check_finished(found, options.runs)
    if found.runs:
        write(found, form, options.out, options.longtable, options.beside)
    for what, notes in (("not read", found.unreadable), ("left out", found.copies)):
        for note in notes:
            say(f"{what}: {note.folder}: {note.reason}")
    if options.clear_failed:
        clear_failed(found)
    elif found.refused:
        first = found.refused[0]
        say(
            f"left out: {counted(len(found.refused), *REFUSED)} (the first: {first.folder}: {first.reason}); "
            "--clear-failed deletes every failed.json"
        )
    return 1 if found.unreadable else 0


def clear_failed(found: CollectedRuns) -> None:
    """Delete the notes of failed and refused runs, and the folders that then are empty."""
    for note in [*found.failed, *found.refused]:
        with files.telling_failed_writes(note.folder):
            (note.folder / FAILED).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a failed run may have files that its next attempt goes on from
            note.folder.rmdir()
    failed, refused = counted(len(found.failed), "failed run"), counted(len(found.refused), "refused attempt")
    say(f"deleted: the notes of {failed} and {refused}")


def _format_of(out: Path | None) -> str:
    if out is None:
        return "md"
    if out.suffix.lower() not in SUFFIXES:
        raise SetupError(f"{out} ends in none of {', '.join(SUFFIXES)}; end it so, or give --format.")
    return SUFFIXES[out.suffix.lower()]


def write(
    found: CollectedRuns, form: str, out: Path | None, longtable: bool = False, beside: Sequence[str] = ()
) -> None:
    """Write the report on the runs that were found to a file, or to standard output; `beside`: see `read_beside`."""
    with Progress(f"describing {counted(len(found.runs), 'run')}"):
        text = _text(found, form, out, longtable, beside)
    if out is None:
        sys.stdout.write(text)
    else:
        files.write_text(out, text)
        say(f"{counted(len(found.runs), 'run')}: {out}")


def _check_finished(found: CollectedRuns, folders: list[Path]) -> None:
    """Raise SetupError, with the number of other runs, if no run below the folders is finished."""
    if not found.runs:
        where = ", ".join(map(str, folders))
        others = {
            "unfinished": found.unfinished,
            "failed": found.failed,
            "refused": found.refused,
            "not readable": found.unreadable,
        }
        counts = "".join(
            f"; {len(notes)} {what} (the first: {notes[0].folder}: {notes[0].reason})"
            for what, notes in others.items()
            if notes
        )
        raise SetupError(f"There is no finished run in {where}{counts or '; give the out=<folder> of train'}.")


def _text(found: CollectedRuns, form: str, out: Path | None, longtable: bool, beside: Sequence[str]) -> str:
    if form == "csv":
        from melt_ser.reporting.overview import overview

        return files.csv_text(overview(found.runs))

    from melt_ser.reporting.beside import read_beside
    from melt_ser.reporting.contents import make_report_data

    contents = make_report_data(found, read_beside(beside, found))
    if form == "md":
        from melt_ser.reporting.markdown import markdown

        return markdown(contents)
    if form == "latex":
        from melt_ser.reporting.latex import latex
        from melt_ser.reporting.latex_text import needs_lualatex

        text = latex(contents, longtable)
        if names := needs_lualatex(text):
            shown = ", ".join(names)
            say(f"note: pdfLaTeX shows {shown} as code points; compile with LuaLaTeX and a font that has them.")
        return text
    from melt_ser.reporting.page import page

    return page(contents, None if out is None or is_stream(out) else out.parent)


if __name__ == "__main__":
    sys.exit(main())
