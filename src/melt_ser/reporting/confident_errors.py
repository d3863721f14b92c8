"""The wrong answers that a run was most sure of, with their audio if the corpus is at hand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from melt_ser.evaluation.calibration import normalised
from melt_ser.evaluation.results import Evaluation
from melt_ser.evaluation.scoring import answers_among
from melt_ser.reporting.collect import Run
from melt_ser.reporting.predictions import read_predictions
from melt_ser.reporting.recordings import Recordings

SHOWN = 10


@dataclass
class ConfidentError:
    """One wrong answer and its confidence (0..1); `audio` is an address, None if the audio is not at hand."""

    utterance: str
    reference: str
    answer: str
    confidence: float
    speaker: str
    text: str
    audio: str | None


def confident_errors(
    run: Run, row: Evaluation, recordings: Recordings | None, page_folder: Path | None
) -> list[ConfidentError]:
    """Return the SHOWN most confident wrong answers of a row, the most confident first.

    Addresses of audio are relative to the folder of the page, or absolute if that is not known.
    """
    table = read_predictions(run, row)
    confidence = normalised(table[row.classes].to_numpy(dtype="float64")).max(axis=1)
    table = table.assign(answer=answers_among(table, row.classes), confidence=confidence)
    wrong = table[table["answer"] != table["reference"]].sort_values("confidence", ascending=False, kind="stable")
    columns = wrong.head(SHOWN)[["utterance", "reference", "answer", "confidence"]]
    errors = []
    for utterance, reference, answer, sure in columns.itertuples(index=False, name=None):
        clip = recordings.clip(utterance) if recordings else None
        speaker, text, audio = "", "", None
        if recordings is not None and clip is not None:
            speaker, text = clip.speaker, clip.text
            audio = _address(recordings.root / clip.audio, clip.start, clip.end, page_folder)
        errors.append(ConfidentError(utterance, reference, answer, float(sure), speaker, text, audio))
    return errors


def _address(path: Path, start: float, end: float, page_folder: Path | None) -> str | None:
    if not path.is_file():
        return None
    absolute = path.resolve()
    address = absolute.as_uri()
    if page_folder is not None and absolute.drive == page_folder.resolve().drive:
        address = quote(Path(os.path.relpath(absolute, page_folder.resolve())).as_posix())
    times = ["" if pd.isna(seconds) else f"{seconds:.3f}" for seconds in (start, end)]
    return f"{address}#t={','.join(times).rstrip(',')}" if any(times) else address
