"""`python -m melt_ser.predict RUN AUDIO… [--out FILE]`: label files, folders, patterns and lists.

`--window`, `--turns` and `--voice-activity` give a row for each part of a recording.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from melt_ser.cli.verb import exit_code_of, given_path, run, whole_number
from melt_ser.config import ScorePrecision
from melt_ser.core import files
from melt_ser.core.console import finish, progress, say, say_last
from melt_ser.core.errors import SetupError
from melt_ser.core.places import is_stream, stream_to_open
from melt_ser.evaluation.audio_files import audio_files
from melt_ser.evaluation.label_journal import LabelJournal, journal_of
from melt_ser.evaluation.label_rows import FORMATS, Layout, RowWriter, row_writer
from melt_ser.evaluation.labelling import LONGEST_SECONDS, SHORTEST_WINDOW, Row

if TYPE_CHECKING:
    from melt_ser.evaluation.labelling import Model

LIST = "-"  # in the place of AUDIO: standard input has a path on each line


def main(arguments: list[str] | None = None) -> int:
    """Label every file; a bad file is a row with its reason, and makes the exit code 1."""
    parser = argparse.ArgumentParser(prog="melt-ser predict", description="Label audio files and folders.")
    parser.add_argument(
        "run",
        type=given_path,
        help="folder of a finished run (or of one of its models), or hub:<owner>/<name>, a model that push has shared",
    )
    parser.add_argument(
        "audio",
        nargs="+",
        help="audio files, folders that are searched for them, or patterns such as 'data/**/*.wav'; "
        f"{LIST} reads paths from standard input, one on each line (or separated by null characters)",
    )
    parser.add_argument("--fold", type=whole_number(0), help="the model of one fold (default: the mean of all)")
    parser.add_argument("--format", choices=FORMATS, help="on standard output (default: table)")
    parser.add_argument(
        "--out",
        type=given_path,
        metavar="FILE",
        help="a .csv, .json or .jsonl file instead of standard output; if it is interrupted, the same command goes on",
    )
    parser.add_argument(
        "--family",
        metavar="MODULE",
        help="import this module of your own: the backbone.family of the run, if it is not one of melt_ser",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument(
        "--precision",
        choices=[precision.value for precision in ScorePrecision],
        default="fp32",
        help="number format of the computation; tf32 and bf16 are faster on a GPU, and less exact (default: fp32)",
    )
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument(
        "--window",
        type=_seconds,
        metavar="SECONDS",
        help=f"a row for each window of so many seconds, {SHORTEST_WINDOW} to {LONGEST_SECONDS:.0f} (default: a row "
        f"for each file; a file longer than {LONGEST_SECONDS:.0f} s gets the mean over its parts of that length)",
    )
    parts.add_argument(
        "--turns",
        type=given_path,
        metavar="FILE",
        help="a row for each turn of a speaker: an .rttm, or a .csv or .tsv with the columns start, end (seconds) and "
        "speaker, and audio if it is about several recordings",
    )
    parts.add_argument(
        "--voice-activity",
        action="store_true",
        help="a row for each stretch of speech, found by silero-vad",
    )
    return run(lambda: _run(parser.parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    try:
        return predict(options)
    except KeyboardInterrupt as stop:
        if options.out is None or is_stream(options.out):
            raise
        say_last("stopped; the same command labels the remaining files.")
        return exit_code_of(stop)


class Parts(NamedTuple):
    """How recordings are cut into the parts that have a row each."""

    label: Callable[[Model, Path], Iterator[Row]]  # the rows of a recording
    place: tuple[str, ...]  # the columns of a row that place it in its recording
    settings: dict[str, Any]  # the things that decide the rows, besides the model; plain JSON values
    name: str = "files"  # of what a row is about; in a message


def predict(options: argparse.Namespace) -> int:
    """Write the rows of every file, and return the exit code."""
    from melt_ser.runs.finished_run import load_model

    form, out = _format(options), options.out
    paths = audio_files(_paths(options.audio))
    parts = _parts(options, paths)
    model = load_model(options.run, options.fold, options.device, options.family, options.precision)
    names = [str(path) for path in paths]
    layout = Layout(model.columns, parts.place, names, model.attributes)
    rows = _label(model, paths, parts)
    if out is None:
        done, failed, first = _write(row_writer(form, sys.stdout, layout), rows)
    elif is_stream(out):  # it cannot be continued
        with files.telling_failed_writes(out), _open(stream_to_open(out)) as stream:
            done, failed, first = _write(row_writer(form, stream, layout), rows)
    else:
        with journal_of(out, model, parts.settings) as journal:
            _complete(journal, model, paths, parts)
            with files.replacing_file(out) as temporary, _open(temporary) as stream:
                done, failed, first = _write(row_writer(form, stream, layout), journal.rows(names))
        finish(out)
    if failed:
        of = len(paths) if parts.name == "files" else done
        told = f"{failed} of {of} {parts.name} could not be labelled."
        if out is not None:  # otherwise the reasons have just been printed
            others = f" The other reasons are in {out}, under 'error'." if failed > 1 else ""
            told += f" The first: {first}{others}"
        say(told)
    return 1 if failed else 0


def _parts(options: argparse.Namespace, paths: list[Path]) -> Parts:
    """Return how the options cut recordings; a wrong file of turns or a missing package is told before any work."""
    if options.turns is not None:
        from melt_ser.evaluation.turn_labelling import label_turns
        from melt_ser.evaluation.turns import turns_of

        turns = turns_of(options.turns, paths)
        place = ("start", "end", "speaker")
        settings = {"turns": hashlib.sha256(options.turns.read_bytes()).hexdigest()}
        return Parts(lambda model, path: label_turns(model, path, turns[path], place), place, settings, "turns")
    if options.voice_activity:
        from melt_ser.audio.speech import check_detector
        from melt_ser.evaluation.turn_labelling import label_speech

        settings = {"voice activity": check_detector()}
        return Parts(label_speech, ("start", "end"), settings, "stretches of speech")
    window = options.window
    place_of_window = () if window is None else ("start", "end")
    return Parts(lambda model, path: model.label_file(path, window), place_of_window, {"window": window})


def _label(model: Model, paths: list[Path], parts: Parts) -> Iterator[Row]:
    for path in progress(paths, len(paths), "labelling"):
        yield from parts.label(model, path)


def _write(writer: RowWriter, rows: Iterable[Row]) -> tuple[int, int, str]:
    """Write each row as soon as it is ready.

    Return the number of rows, the number of those without a label, and the reason of the first of these.
    """
    done, reasons = 0, []
    for row in rows:
        writer.add(row)
        done += 1
        reasons += [row["error"]] if "error" in row else []
    writer.end()
    return done, len(reasons), reasons[0] if reasons else ""


def _complete(journal: LabelJournal, model: Model, paths: list[Path], parts: Parts) -> None:
    """Label the files that the journal lacks."""
    missing = [path for path in paths if str(path) not in journal.finished]
    if len(missing) < len(paths):
        say(f"{len(paths) - len(missing)} of {len(paths)} files have labels; labelling the rest.")
    for path in progress(missing, len(missing), "labelling"):
        journal.add(path, list(parts.label(model, path)))


def _open(place: Path | int) -> TextIO:
    return open(place, "w", encoding="utf-8", errors="surrogateescape", newline="")


def _format(options: argparse.Namespace) -> str:
    """Return the format of the rows, a key of FORMATS; the ending of --out decides for a file."""
    form: str | None = options.format
    if options.out is None:
        return form or "table"
    ending: str = options.out.suffix.lower().removeprefix(".")
    if is_stream(options.out):
        return form or "csv"
    if ending not in FORMATS or ending == "table":
        raise SetupError(f"--out {options.out} must end in .csv, .json or .jsonl, which is also the format.")
    if form not in (None, ending):
        raise SetupError(f"--out {options.out} is not of the format {form}; leave out --format.")
    return ending


def _paths(arguments: list[str]) -> list[Path]:
    """Return the named paths, with those of standard input in the place of "-"."""
    paths = []
    for argument in arguments:
        paths += _listed() if argument == LIST else [argument]
    if not paths:
        raise SetupError("Standard input names no file; give a path on each line.")
    return [Path(path) for path in paths]


def _listed() -> list[str]:
    """Read the paths on standard input, one on each line or separated by null characters."""
    content = sys.stdin.buffer.read()
    names = content.split(b"\0") if b"\0" in content else content.splitlines()
    return [os.fsdecode(name) for name in names if name.strip()]


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


if __name__ == "__main__":
    sys.exit(main())
