"""`python -m melt_ser.predict RUN AUDIO… [--window SECONDS] [--format table|csv|json]`: label files and folders.

A recording of up to `LONGEST_SECONDS` is labelled as one utterance, as `evaluate` would. A longer one gets one label
too, from the mean of the probabilities of its parts of that length, weighted by their seconds; with `--window` every
recording gets a row for each window. Long recordings are read in blocks: hours need no more memory than minutes.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melt_ser.audio import AUDIO_SUFFIXES
from melt_ser.core.console import print_anything, say
from melt_ser.core.errors import MeltSerError, SetupError, one_line
from melt_ser.core.files import csv_quoting

if TYPE_CHECKING:
    from melt_ser.audio.decode import Waveform
    from melt_ser.models.classifier import SpeechClassifier

LONGEST_SECONDS = 60.0  # what is computed at once: the longest utterance that a corpus has (dataset.maximum_seconds)
Row = dict[str, Any]  # file, (start, end: seconds, of a window), label, one probability a class; or file, error


def main(arguments: list[str] | None = None) -> int:
    """Label every file; a bad one is a row with its reason and exit code 1, and the rest is done all the same."""
    parser = argparse.ArgumentParser(prog="melt-ser predict", description="Label audio files and folders.")
    parser.add_argument("run", type=Path, help="folder of a finished run (or of one of its models)")
    parser.add_argument("audio", type=Path, nargs="+", help="audio files, or folders that are searched for them")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument(
        "--window",
        type=_seconds,
        metavar="SECONDS",
        help=f"a row for each window of so many seconds, 0.1 to {LONGEST_SECONDS:.0f} (default: a row a file; a file "
        f"that is longer than {LONGEST_SECONDS:.0f} s gets the mean over its parts of {LONGEST_SECONDS:.0f} s)",
    )
    options = parser.parse_args(arguments)
    print_anything()
    try:
        model = _load(options.run, options.device)
        rows = [row for path in _files(options.audio) for row in _label(model, path, options.window)]
    except MeltSerError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    _print(rows, model.classes, options.format, options.window is not None)
    failed = sum("error" in row for row in rows)
    if failed:
        files = len({row["file"] for row in rows})
        print(f"{failed} of {files} files could not be labelled.", file=sys.stderr)
    return 1 if failed else 0


def _seconds(text: str) -> float:
    """A value of --window."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"is a number of seconds from 0.1 to {LONGEST_SECONDS:.0f}, not {text!r}")
    return seconds


def _load(run: Path, device: str) -> SpeechClassifier:
    from melt_ser.models.export import load_model
    from melt_ser.runs.folder import model_folders, read_result
    from melt_ser.training.device import make_accelerator

    folder = run
    if not (run / "config.json").is_file():
        models = model_folders(run, read_result(run))
        if len(models) > 1:
            raise SetupError(f"{run} has {len(models)} folds; choose one model, such as {models[0][1]}.")
        folder = models[0][1]
    return load_model(folder, make_accelerator(device).device).eval()


def _files(paths: list[Path]) -> Iterator[Path]:
    """The files themselves, and what has the suffix of audio within folders; links that lead nowhere too."""
    for path in paths:
        if os.path.isdir(path):  # unlike pathlib's it is false for a name that is too long
            files = [file for file in sorted(path.rglob("*")) if not file.is_dir()]
            found = [file for file in files if file.suffix.lower() in AUDIO_SUFFIXES and not file.name.startswith(".")]
            if found and len(found) < len(files):
                say(f"note: {len(files) - len(found)} files in {path} are passed over (hidden, or not named as audio).")
            yield from found or [path]
        else:
            yield path


def _label(model: SpeechClassifier, path: Path, window: float | None) -> Iterator[Row]:
    """The rows of a file: one, or one for each window of so many seconds."""
    from melt_ser.audio.decode import TooLong, read_audio

    if os.path.isdir(path):
        yield {"file": str(path), "error": f"The folder {path} holds no audio files."}
        return
    try:
        if window is not None:
            for first, last, probabilities in _windows(model, path, window):
                yield {"file": str(path), "start": first, "end": last, **_decide(model, probabilities)}
            return
        try:
            probabilities = _probabilities(model, read_audio(path, longest=LONGEST_SECONDS))
        except TooLong:
            parts = [(last - first, part) for first, last, part in _windows(model, path, LONGEST_SECONDS)]
            total = sum(seconds for seconds, _ in parts)
            probabilities = [sum(s * part[number] for s, part in parts) / total for number in range(len(model.classes))]
            print(
                f"note: {one_line(str(path))} has {total:.0f} s; its label is from the mean over {len(parts)} parts of "
                f"up to {LONGEST_SECONDS:.0f} s. --window 10 gives a row for each 10 s.",
                file=sys.stderr,
            )
        yield {"file": str(path), **_decide(model, probabilities)}
    except MeltSerError as error:
        yield {"file": str(path), "error": str(error)}


def _windows(model: SpeechClassifier, path: Path, seconds: float) -> Iterator[tuple[float, float, list[float]]]:
    """Start and end (seconds) of each window of a recording, one after the other, and its probabilities.

    The last one is as short as what is left.
    """
    from melt_ser.audio import SAMPLE_RATE
    from melt_ser.audio.decode import in_pieces, stream_audio

    first = 0
    for waveform in in_pieces(stream_audio(path), round(seconds * SAMPLE_RATE)):
        last = first + len(waveform)
        yield first / SAMPLE_RATE, last / SAMPLE_RATE, _probabilities(model, waveform)
        first = last


def _probabilities(model: SpeechClassifier, waveform: Waveform) -> list[float]:
    import torch

    from melt_ser.audio.waveform import pad_together, prepare_waveform
    from melt_ser.core.memory import memory_advice
    from melt_ser.evaluation.inference import exact_products

    device = next(model.parameters()).device
    audio, lengths = pad_together([prepare_waveform(torch.from_numpy(waveform), model.backbone.do_normalize)])
    with torch.no_grad(), exact_products(), memory_advice("use a shorter --window, such as --window 10"):
        probabilities: list[float] = model(audio.to(device), lengths).float().softmax(dim=-1)[0].tolist()
    return probabilities


def _decide(model: SpeechClassifier, probabilities: list[float]) -> Row:
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    return {"label": model.classes[best], **dict(zip(model.classes, probabilities, strict=True))}


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
        from rich.table import Column, Table

        from melt_ser.core.console import show

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
