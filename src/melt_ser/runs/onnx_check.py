"""Check an ONNX file against torch: the same clips, one by one and in padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from melt_ser.evaluation.rating_metrics import concordance, moments
from melt_ser.models.onnx_graph import PROBABILITIES
from melt_ser.runs.finished_run import Run
from melt_ser.runs.predictions import REFERENCE, numbers_in
from melt_ser.runs.run_onnx import OnnxModel

PLACE = ("audio", "start", "end")
BATCH = 8
NOISE_SECONDS = (0.02, 6.0)  # from clips that are shorter than a frame to those of a usual corpus
MOST_SAMPLES = round(LONGEST_SECONDS * SAMPLE_RATE)


@dataclass(frozen=True)
class Clips:
    """Waveforms at 16 kHz to check a file on, and their references.

    classes: None for noise, or without classes. attributes: by name, (clips,), NaN where not known; {} for noise.
    """

    waveforms: list[Waveform]
    classes: list[str] | None
    attributes: dict[str, np.ndarray]
    source: str


@dataclass(frozen=True)
class Check:
    """The findings of a check, of clips alone and in batches.

    difference: the largest difference of a probability; None without classes.
    agreement: the share of clips with the same label; None without classes.
    ua: unweighted accuracy of torch and of the file; None without classes, or for noise.
    of_scale: the largest difference of an attribute, as a share of its scale; None without attributes.
    ccc: the mean CCC over the attributes, of torch and of the file; None without attributes, or for noise.
    models: those whose mean answers.
    """

    clips: int
    source: str
    models: int = 1
    difference: float | None = None
    agreement: float | None = None
    ua: tuple[float, float] | None = None
    of_scale: float | None = None
    ccc: tuple[float, float] | None = None


def check(path: Path, model: Model, clips: Clips) -> Check:
    """Compare the answers of an ONNX file with those of the model that it was made of.

    Raises InputError if the model refuses every clip.
    """
    onnx_model = OnnxModel(str(path))
    kept, rows = [], []
    for number, waveform in enumerate(progress(clips.waveforms, len(clips.waveforms), "checking")):
        try:
            (row,) = model.label_waveform(waveform)
        except InputError:  # a clip that `predict` refuses, such as silence
            continue
        kept.append(number)
        rows.append(row)
    if not kept:
        raise InputError("The model refuses every clip that the ONNX file was to be checked on.")
    waveforms = [clips.waveforms[number] for number in kept]
    alone, together = _answers(onnx_model, waveforms, 1), _answers(onnx_model, waveforms, BATCH)
    found = Check(len(kept), clips.source, len(model.classifiers))
    if model.classes:
        wanted = np.array([[row[name] for name in model.classes] for row in rows])
        shares = alone[PROBABILITIES], together[PROBABILITIES]
        ua = None
        if clips.classes is not None:
            reference = [clips.classes[number] for number in kept]
            ua = _ua(reference, wanted, model.classes), _ua(reference, shares[0], model.classes)
        agreement = float((shares[0].argmax(axis=1) == wanted.argmax(axis=1)).mean())
        found = replace(found, difference=_largest(shares, wanted), agreement=agreement, ua=ua)
    if model.attributes:
        numbers = {name: np.array([row[name] for row in rows]) for name in model.attributes}
        of_scale = max(
            _largest((alone[name], together[name]), numbers[name]) / (high - low)
            for name, (low, high) in model.classifiers[0].outputs.scales.items()
        )
        references = {name: values[kept] for name, values in clips.attributes.items() if name in numbers}
        ccc = (_ccc(references, numbers), _ccc(references, alone)) if references else None
        found = replace(found, of_scale=of_scale, ccc=ccc)
    return found


def _answers(onnx_model: OnnxModel, waveforms: list[Waveform], size: int) -> dict[str, np.ndarray]:
    """Return the outputs for waveforms by name, computed in batches of this size."""
    batches = [onnx_model.answers(waveforms[start : start + size]) for start in range(0, len(waveforms), size)]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _largest(answers: Sequence[np.ndarray], wanted: np.ndarray) -> float:
    """Return the largest difference; NaN if an answer is NaN."""
    return float(np.abs(np.stack(answers) - wanted).max())


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
    known = [name for name in map(str, predictions) if name == "reference" or name.endswith(REFERENCE)]
    rows = predictions[["utterance", *known]].merge(release.table[["utterance", *PLACE]], on="utterance")
    if rows.empty:
        raise InputError(f"The corpus '{name}' at {root} has none of the run's test clips.")
    chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, number).round().astype(int))]
    segments = zip(chosen["audio"].astype(str), chosen["start"].astype(float), chosen["end"].astype(float), strict=True)
    waveforms = []
    for audio, start, end in segments:
        first, last = (None if np.isnan(time) else time for time in (start, end))
        waveforms.append(read_audio(root / audio, first, last)[:MOST_SAMPLES])
    classes = chosen["reference"].tolist() if "reference" in known else None
    numbers = {
        column.removesuffix(REFERENCE): numbers_in(chosen, [column])[:, 0] for column in known if column != "reference"
    }
    return Clips(waveforms, classes, numbers, f"clips of {name}")


def _noise(number: int) -> Clips:
    generator = np.random.default_rng(0)
    lengths = (generator.uniform(*NOISE_SECONDS, number) * SAMPLE_RATE).astype(int)
    waveforms = [generator.normal(0.0, 0.1, length).astype(np.float32) for length in lengths]
    return Clips(waveforms, None, {}, "clips of noise")


def _ccc(references: dict[str, np.ndarray], answers: dict[str, np.ndarray]) -> float:
    """Return the mean CCC over the attributes."""
    values = []
    for name, reference in references.items():
        known = ~np.isnan(reference)
        values.append(concordance(moments(reference[known], answers[name][known].astype(np.float64)).sum(axis=0)))
    return float(np.mean(values))


def _ua(reference: list[str], probabilities: np.ndarray, classes: list[str]) -> float:
    answers = [classes[best] for best in probabilities.argmax(axis=1)]
    return float(unweighted_accuracy(confusion_matrix(reference, answers, classes)))
