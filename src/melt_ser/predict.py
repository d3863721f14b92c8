"""`python -m melt_ser.predict RUN AUDIO… [--format table|csv|json]`: label audio files and folders."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melt_ser.console import print_anything
from melt_ser.errors import MeltSerError, SetupError, one_line
from melt_ser.files import csv_quoting

if TYPE_CHECKING:
    from melt_ser.models.classifier import SpeechClassifier

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".webm", ".mkv", ".avi", ".wma"}
Row = dict[str, Any]  # file, label, one probability a class; or file, error


def main(arguments: list[str] | None = None) -> int:
    """Label every file; a bad one is a row with its reason and exit code 1, and the rest is done all the same."""
    parser = argparse.ArgumentParser(prog="melt-ser predict", description="Label audio files and folders.")
    parser.add_argument("run", type=Path, help="folder of a finished run (or of one of its models)")
    parser.add_argument("audio", type=Path, nargs="+", help="audio files, or folders that are searched for them")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    options = parser.parse_args(arguments)
    print_anything()
    try:
        model = _load(options.run, options.device)
        rows = [_label(model, path) for path in _files(options.audio)]
    except MeltSerError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    _print(rows, model.classes, options.format)
    failed = sum("error" in row for row in rows)
    if failed:
        print(f"{failed} of {len(rows)} files could not be labelled.", file=sys.stderr)
    return 1 if failed else 0


def _load(run: Path, device: str) -> SpeechClassifier:
    from melt_ser.models.export import load_model
    from melt_ser.runs import model_folders, read_result
    from melt_ser.training.device import make_accelerator

    folder = run
    if not (run / "config.json").is_file():
        models = model_folders(run, read_result(run))
        if len(models) > 1:
            raise SetupError(f"{run} has {len(models)} folds; choose one model, such as {models[0][1]}.")
        folder = models[0][1]
    return load_model(folder, make_accelerator(device).device).eval()


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if os.path.isdir(path):  # unlike pathlib's it is false for a name that is too long
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file())
            yield from found or [path]
        else:
            yield path


def _label(model: SpeechClassifier, path: Path) -> Row:
    import torch

    from melt_ser.audio.decode import read_audio
    from melt_ser.evaluation.inference import exact_products
    from melt_ser.memory import memory_advice
    from melt_ser.models.waveform import pad_together, prepare_waveform

    if os.path.isdir(path):
        return {"file": str(path), "error": f"The folder {path} holds no audio files."}
    device = next(model.parameters()).device
    try:
        waveform = prepare_waveform(torch.from_numpy(read_audio(path)), model.backbone.do_normalize)
        audio, lengths = pad_together([waveform])
        with torch.no_grad(), exact_products(), memory_advice("cut the recording into shorter files"):
            probabilities = model(audio.to(device), lengths.to(device)).float().softmax(dim=-1)[0].tolist()
    except MeltSerError as error:
        return {"file": str(path), "error": str(error)}
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    return {"file": str(path), "label": model.classes[best], **dict(zip(model.classes, probabilities, strict=True))}


def _print(rows: list[Row], classes: list[str], form: str) -> None:
    if form == "json":
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif form == "csv":
        columns = ["file", "label", *classes, "error"]
        quoting = csv_quoting(row["file"] for row in rows)
        writer = csv.DictWriter(sys.stdout, columns, restval="", lineterminator="\n", quoting=quoting)
        writer.writeheader()
        writer.writerows(rows)
    else:
        from rich.table import Column, Table

        from melt_ser.console import show

        table = Table(Column("file", overflow="fold"), "label", "probability", box=None)
        for row in rows:
            if "error" in row:
                table.add_row(one_line(row["file"]), "–", one_line(row["error"]))
            else:
                table.add_row(one_line(row["file"]), row["label"], f"{row[row['label']]:.3f}")
        show(table)


if __name__ == "__main__":
    sys.exit(main())
