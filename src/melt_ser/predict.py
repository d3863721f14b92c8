"""`python -m melt_ser.predict RUN AUDIO… [--window SECONDS] [--format table|csv|json]`: label files and folders."""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from pathlib import Path

from melt_ser.cli.verb import run
from melt_ser.core.console import say, show
from melt_ser.core.errors import one_line
from melt_ser.core.files import csv_quoting
from melt_ser.evaluation.labelling import LONGEST_SECONDS, SHORTEST_WINDOW, Row, audio_files


def main(arguments: list[str] | None = None) -> int:
    """Label every file; a bad file is a row with its reason, and makes the exit code 1."""
    parser = argparse.ArgumentParser(prog="melt-ser predict", description="Label audio files and folders.")
    parser.add_argument("run", type=Path, help="folder of a finished run (or of one of its models)")
    parser.add_argument("audio", type=Path, nargs="+", help="audio files, or folders that are searched for them")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument(
        "--window",
        type=_seconds,
        metavar="SECONDS",
        help=f"a row for each window of so many seconds, {SHORTEST_WINDOW} to {LONGEST_SECONDS:.0f} (default: a row "
        f"for each file; a file longer than {LONGEST_SECONDS:.0f} s gets the mean over its parts of that length)",
    )
    options = parser.parse_args(arguments)
    return run(lambda: predict(options))


def predict(options: argparse.Namespace) -> int:
    """Print the rows of every file, and return the exit code."""
    from melt_ser.runs.finished_run import load_model

    model = load_model(options.run, device=options.device)
    rows = [row for path in audio_files(options.audio) for row in model.label_file(path, options.window)]
    _print(rows, model.classes, options.format, options.window is not None)
    failed = sum("error" in row for row in rows)
    if failed:
        files = len({row["file"] for row in rows})
        say(f"{failed} of {files} files could not be labelled.")
    return 1 if failed else 0


def _seconds(text: str) -> float:
    """Parse the value of --window."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not SHORTEST_WINDOW <= seconds <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(
            f"is a number of seconds from {SHORTEST_WINDOW} to {LONGEST_SECONDS:.0f}, not {text!r}"
        )
    return seconds


def _print(rows: list[Row], classes: list[str], form: str, windows: bool) -> None:
    place = ["start", "end"] if windows else []
    if form == "json":
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif form == "csv":
        columns = ["file", *place, "label", *classes, "error"]
        quoting = csv_quoting(row["file"] for row in rows)
        writer = csv.DictWriter(sys.stdout, columns, restval="", lineterminator="\n", quoting=quoting)
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print_table(rows, place)


def _print_table(rows: list[Row], place: list[str]) -> None:
    """Print a row for each label with its probability alone; `place` are the columns of a window's seconds."""
    from rich.table import Column, Table

    table = Table(Column("file", overflow="fold"), *place, "label", "probability", box=None)
    for row in rows:
        if "error" in row:
            table.add_row(one_line(row["file"]), *["–"] * (1 + len(place)), one_line(row["error"]))
        else:
            seconds = [f"{row[name]:.2f}" for name in place]
            table.add_row(one_line(row["file"]), *seconds, row["label"], f"{row[row['label']]:.3f}")
    show(table)


if __name__ == "__main__":
    sys.exit(main())
