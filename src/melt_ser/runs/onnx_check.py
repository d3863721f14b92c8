"""Check an ONNX file against torch: the same clips, one by one and in padded batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.decode import read_audio
from melt_ser.audio.sound import Waveform
from melt_ser.config import DatasetConfig
from melt_ser.core.console import progress, say
from melt_ser.core.errors import InputError, MeltSerError
from melt_ser.corpora.load import read_release
from melt_ser.evaluation.labelling import LONGEST_SECONDS, Model
from melt_ser.evaluation.metrics import confusion_matrix, unweighted_accuracy
from melt_ser.runs.finished_run import Run
from melt_ser.runs.run_onnx import OnnxModel

BATCH = 8
NOISE_SECONDS = (0.02, 6.0)  # from clips that are shorter than a frame to those of a usual corpus
MOST_SAMPLES = round(LONGEST_SECONDS * SAMPLE_RATE)


@dataclass(frozen=True)
class Clips:
    """Waveforms at 16 kHz to check a file on, and their classes; `classes` is None for noise."""

    waveforms: list[Waveform]
    classes: list[str] | None
    source: str


@dataclass(frozen=True)
class Check:
    """The findings of a check.

    difference: the largest difference of a probability, of clips alone and in batches.
    agreement: the share of clips with the same label.
    ua: unweighted accuracy of torch and of the file; None for noise.
    """

    clips: int
    source: str
    difference: float
    agreement: float
    ua: tuple[float, float] | None


def check(path: Path, model: Model, clips: Clips) -> Check:
    """Compare the answers of an ONNX file with those of the model that it was made of.

    Raises InputError if the model refuses every clip.
    """
    onnx_model = OnnxModel(str(path))
    kept, expected = [], []
    for number, waveform in enumerate(progress(clips.waveforms, len(clips.waveforms), "checking")):
        try:
            (row,) = model.label_waveform(waveform)
        except InputError:  # a clip that `predict` refuses, such as silence
            continue
        kept.append(number)
        expected.append([row[name] for name in model.classes])
    if not kept:
        raise InputError("The model refuses every clip that the ONNX file was to be checked on.")
    wanted, waveforms = np.array(expected), [clips.waveforms[number] for number in kept]
    alone = np.concatenate([onnx_model.probabilities([waveform]) for waveform in waveforms])
    starts = range(0, len(waveforms), BATCH)
    together = np.concatenate([onnx_model.probabilities(waveforms[start : start + BATCH]) for start in starts])
    ua = None
    if clips.classes is not None:
        reference = [clips.classes[number] for number in kept]
        ua = _ua(reference, wanted, model.classes), _ua(reference, alone, model.classes)
    difference = float(np.abs(np.stack([alone, together]) - wanted).max())  # NaN if one of them is
    agreement = float((alone.argmax(axis=1) == wanted.argmax(axis=1)).mean())
    return Check(len(kept), clips.source, difference, agreement, ua)


def clips_of(folder: Path, fold: int | None, number: int) -> Clips:
    """Return this number of clips, evenly from the test part of a run; noise if they are not at hand."""
    try:
        return _from_corpus(Run(folder), fold, number)
    except MeltSerError as error:
        say(f"note: the clips of the run are not at hand, so the file is checked on noise. {error}")
        return _noise(number)


def _from_corpus(run: Run, fold: int | None, number: int) -> Clips:
    name = run.result.train.corpus
    try:
        config = msgspec.convert(run.result.config["dataset"], DatasetConfig)
    except msgspec.ValidationError as error:  # of another version of melt_ser
        raise InputError(f"The settings of '{name}' in {run.folder} cannot be read ({error}).") from None
    root, release = read_release(config)
    predictions = run.predictions(name, fold).drop_duplicates("utterance")
    rows = predictions[["utterance", "reference"]].merge(release.table, on="utterance")
    if rows.empty:
        raise InputError(f"The corpus '{name}' at {root} has none of the run's test clips.")
    chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, number).round().astype(int))]
    segments = zip(chosen["audio"].astype(str), chosen["start"].astype(float), chosen["end"].astype(float), strict=True)
    waveforms = []
    for audio, start, end in segments:
        first, last = (None if np.isnan(time) else time for time in (start, end))
        waveforms.append(read_audio(root / audio, first, last)[:MOST_SAMPLES])
    return Clips(waveforms, chosen["reference"].tolist(), f"clips of {name}")


def _noise(number: int) -> Clips:
    generator = np.random.default_rng(0)
    lengths = (generator.uniform(*NOISE_SECONDS, number) * SAMPLE_RATE).astype(int)
    waveforms = [generator.normal(0.0, 0.1, length).astype(np.float32) for length in lengths]
    return Clips(waveforms, None, "clips of noise")


def _ua(reference: list[str], probabilities: np.ndarray, classes: list[str]) -> float:
    answers = [classes[best] for best in probabilities.argmax(axis=1)]
    return float(unweighted_accuracy(confusion_matrix(reference, answers, classes)))
