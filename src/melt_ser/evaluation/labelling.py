"""Label recordings: arrays, files and folders.

A recording of up to `LONGEST_SECONDS` is labelled as one utterance, as `evaluate` does. A longer one gets the mean of
the probabilities of its parts of that length, weighted by their seconds. With a window, each window of every recording
has its own label. Long files are read in blocks, so hours need no more memory than minutes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xxhash

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.contents import contents_of
from melt_ser.audio.decode import TooLong, in_pieces, read_native, stream_audio
from melt_ser.audio.decoders import RATES
from melt_ser.audio.resample import resample
from melt_ser.audio.rules import Levels, refusal
from melt_ser.audio.sound import Mixer, Waveform, check_sound
from melt_ser.config import DatasetConfig, ScorePrecision
from melt_ser.core.console import progress, say
from melt_ser.core.counting import counted
from melt_ser.core.errors import InputError, MeltSerError, SetupError
from melt_ser.evaluation.audio_files import audio_files

if TYPE_CHECKING:
    import pandas as pd

    from melt_ser.models.classifier import SpeechClassifier

SHORTEST_WINDOW = 0.1  # seconds
RULES = DatasetConfig(maximum_seconds=math.inf)  # of the clips of a corpus; a long recording is labelled in parts
LONGEST_SECONDS = 60.0  # computed at once: the longest utterance that a corpus has (dataset.maximum_seconds)
Row = dict[str, Any]  # file, (start, end: seconds, of a window), label, a probability for each class; or file, error
# Start and end in seconds, a probability for each class, and the reason why the rules would refuse it.
Window = tuple[float, float, list[float], str | None]
Windows = Iterable[Window]
Audio = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | npt.NDArray[Any]


class Model:
    """A trained model that labels recordings; `load_model` reads it from a run.

    `classifiers` are torch modules, on their device: one, or one for each fold of a run. The model's probabilities are
    the mean of theirs. `classes` and `attributes` are the names of their outputs, in order: a probability each, and a
    number on the scale of the training corpus. `precision` is the number format in which they compute.
    """

    def __init__(
        self, classifiers: Sequence[SpeechClassifier], precision: ScorePrecision = ScorePrecision.fp32
    ) -> None:
        self.classifiers = [classifier.eval() for classifier in classifiers]
        self.precision = precision

    @property
    def classes(self) -> list[str]:
        return self.classifiers[0].classes

    @property
    def attributes(self) -> list[str]:
        return list(self.classifiers[0].outputs.scales)

    @property
    def columns(self) -> list[str]:
        """Return the columns of an answer: the label, if the model has classes, and all outputs."""
        return [*(["label"] if self.classes else []), *self.classifiers[0].outputs.names]

    def digest(self) -> str:
        """Return an identifier of weights and precision, to tell the answers of different models apart."""
        total = xxhash.xxh3_128()
        if self.precision is not ScorePrecision.fp32:
            total.update(self.precision.value.encode())
        for classifier in self.classifiers:
            for name, weight in classifier.state_dict().items():
                total.update(name.encode())
                total.update(weight.cpu().contiguous().numpy().data)
        return total.hexdigest()

    def predict(self, audio: Audio, sampling_rate: int | None = None, window: float | None = None) -> pd.DataFrame:
        """Return a table with a row for each recording, or for each window of each recording.

        Its columns are `file` (for files), `start` and `end` (seconds, with a window), `label`, one probability for
        each class, and (for a folder or a list) `error`: the reason if a file has no label, otherwise "".

        Args:
            audio: a waveform, (samples,) or (samples, channels); or a file, a folder that is searched for audio, a
                pattern such as "data/*.wav", or a list of these. Channels are averaged. Floats are between -1 and 1;
                signed integers are scaled by their full scale.
            sampling_rate: the rate of the waveform in Hz; a file states its own.
            window: the length of windows in seconds, 0.1 to 60; each has a row. By default a recording has one label.

        Raises SetupError for a wrong argument, and InputError if the waveform, or the only file, cannot be labelled.
        """
        import pandas as pd

        check_window(window)
        if isinstance(audio, np.ndarray):
            rows = list(self.label_waveform(checked_waveform(audio, sampling_rate), window))
            return pd.DataFrame(rows)
        paths = _paths(audio)
        if sampling_rate is not None:
            raise SetupError("sampling_rate is for a waveform; a file states its own.")
        files = audio_files(paths)
        rows = [row for path in progress(files, len(files), "labelling") for row in self.label_file(path, window)]
        alone = isinstance(audio, str | os.PathLike) and rows[0]["file"] == str(paths[0])
        if alone and "error" in rows[-1]:
            raise InputError(rows[-1]["error"])
        columns = ["file", *([] if window is None else ["start", "end"]), *self.columns]
        table = pd.DataFrame(rows, columns=[*columns, "error"])
        texts = [name for name in ("label", "error") if name in table]
        return table[columns] if alone else table.fillna(dict.fromkeys(texts, ""))

    def label_file(self, path: Path, window: float | None = None) -> Iterator[Row]:
        """Yield the rows of a file: one, or one for each window; a file that cannot be read is a row with `error`."""
        if os.path.isdir(path):
            yield {"file": str(path), "error": f"The folder {path} holds no audio files."}
            return
        name = str(path)
        try:
            found = contents_of(path).found
            if found:
                say(f"note: {name} {found}.")
            if window is not None:
                for row in self._window_rows(self._windows(stream_audio(path), window), name):
                    yield {"file": name, **row}
                return
            levels = Levels()
            try:
                waveform, rate = read_native(path, longest=LONGEST_SECONDS)
                levels.add(waveform, rate)
                check_rules(levels, name)
                [probabilities] = self.probabilities([resample(waveform, rate, SAMPLE_RATE)])
            except TooLong:
                probabilities = self._mean(self._windows(stream_audio(path, levels.add), LONGEST_SECONDS), name)
                check_rules(levels, name)
            yield {"file": name, **self.row_of(probabilities)}
        except MeltSerError as error:
            yield {"file": name, "error": str(error)}

    def label_waveform(self, waveform: Waveform, window: float | None = None) -> Iterator[Row]:
        """Yield the rows of a mono waveform at 16 kHz, (samples,), without `file`.

        Raises InputError if `prepare` would refuse it as a clip of a corpus.
        """
        if window is not None:
            yield from self._window_rows(self._windows([waveform], window), "the waveform")
            return
        levels = Levels()
        levels.add(waveform, SAMPLE_RATE)
        check_rules(levels, "the waveform")
        if len(waveform) > LONGEST_SECONDS * SAMPLE_RATE:
            yield self.row_of(self._mean(self._windows([waveform], LONGEST_SECONDS), "the waveform"))
        else:
            yield self.row_of(self.probabilities([waveform])[0])

    def _window_rows(self, windows: Windows, name: str) -> Iterator[Row]:
        """Yield a row for each window; print a note about those that the rules would refuse."""
        refused: list[str] = []
        for start, end, probabilities, reason in windows:
            yield {"start": start, "end": end, **self.row_of(probabilities)}
            refused += [f"from {start:g} s on ({reason})"] if reason else []
        if refused:
            told = counted(len(refused), "window has a label that means", "windows have labels that mean")
            say(f"note: {name}: {told} nothing; the first is {refused[0]}.")

    def _windows(self, blocks: Iterable[Waveform], seconds: float) -> Iterator[Window]:
        """Yield the windows of a recording, one after the other, with their probabilities."""
        for start, end, waveform, reason in windows_of(blocks, seconds):
            yield start, end, self.probabilities([waveform])[0], reason

    def _mean(self, windows: Windows, name: str) -> list[float]:
        """Return the mean of the windows' probabilities, weighted by their seconds; print a note about it."""
        parts = [(end - start, probabilities) for start, end, probabilities, _ in windows]
        total = sum(seconds for seconds, _ in parts)
        say(
            f"note: {name} has {total:.0f} s; its label is from the mean over {len(parts)} parts of up to "
            f"{LONGEST_SECONDS:.0f} s. --window 10 (window=10 in Python) gives a row for each 10 s."
        )
        count = len(self.classifiers[0].outputs)
        return [sum(seconds * part[number] for seconds, part in parts) / total for number in range(count)]

    def probabilities(self, waveforms: Sequence[Waveform]) -> list[list[float]]:
        """Return the outputs for each mono waveform at 16 kHz, computed as one batch: probabilities, then attributes.

        The answer for a waveform does not depend on the others, up to rounding.
        """
        import torch

        from melt_ser.audio.waveform import pad_together, prepare_waveform
        from melt_ser.core.memory import memory_advice
        from melt_ser.evaluation.inference import computing_in
        from melt_ser.models.classifier import logits_of_all

        backbone = self.classifiers[0].backbone
        device = next(self.classifiers[0].parameters()).device
        prepared = [prepare_waveform(torch.from_numpy(waveform), backbone.do_normalize) for waveform in waveforms]
        audio, lengths = pad_together(prepared)
        too_long = memory_advice("use a shorter window, such as --window 10")
        with torch.no_grad(), computing_in(self.precision, device), too_long:
            logits = torch.stack(logits_of_all(self.classifiers, audio.to(device), lengths))
            answers: list[list[float]] = self.classifiers[0].outputs.answers(logits).mean(dim=0).tolist()
        return answers

    def row_of(self, answers: list[float]) -> Row:
        """Return the label, if the model has classes, and all outputs by their names."""
        named = dict(zip(self.classifiers[0].outputs.names, answers, strict=True))
        return {**({"label": max(self.classes, key=named.__getitem__)} if self.classes else {}), **named}


def _paths(audio: Any) -> list[Path]:
    """Return a path, or those of a list. Raises SetupError for anything else, such as a tensor."""
    given = [audio] if isinstance(audio, str | os.PathLike) or not isinstance(audio, Iterable) else list(audio)
    wrong = next((one for one in given if not isinstance(one, str | os.PathLike)), None)
    if wrong is not None:
        kind = type(audio).__name__ + ("" if wrong is audio else f" of {type(wrong).__name__}")
        raise SetupError(
            f"The audio is a NumPy array, a path or a list of paths, not {kind}; of a tensor give .numpy(), and of a "
            "list of numbers np.asarray(…)."
        )
    return [Path(path) for path in given]


def windows_of(blocks: Iterable[Waveform], seconds: float) -> Iterator[tuple[float, float, Waveform, str | None]]:
    """Yield the windows of a recording: start and end in seconds, samples, and the reason if the rules refuse it.

    `blocks` are the recording, mono at 16 kHz, in parts of any length. The last window is shorter.
    """
    first = 0
    for waveform in in_pieces(blocks, round(seconds * SAMPLE_RATE)):
        last = first + len(waveform)
        levels = Levels()
        levels.add(waveform, SAMPLE_RATE)
        yield first / SAMPLE_RATE, last / SAMPLE_RATE, waveform, refusal(levels, RULES)
        first = last


def check_rules(levels: Levels, name: str) -> None:
    """Raise InputError if `prepare` would refuse the recording as a clip of a corpus."""
    reason = refusal(levels, RULES)
    if reason is not None:
        raise InputError(f"{name}: cannot be labelled ({reason}).")


def check_window(window: float | None) -> None:
    """Raise SetupError if the seconds of a window are out of range."""
    if window is not None and not SHORTEST_WINDOW <= window <= LONGEST_SECONDS:
        raise SetupError(f"window is from {SHORTEST_WINDOW} to {LONGEST_SECONDS:.0f} seconds, not {window}.")


def checked_waveform(samples: npt.NDArray[Any], sampling_rate: int | None) -> Waveform:
    """Return the samples as mono float32 at 16 kHz, (samples,)."""
    if sampling_rate is None:
        raise SetupError("A waveform needs its sampling_rate in Hz, such as sampling_rate=16000.")
    if sampling_rate not in RATES:
        raise SetupError(f"sampling_rate is a whole number from {RATES[0]} to {RATES[-1]} Hz, not {sampling_rate}.")
    if samples.ndim not in (1, 2) or not samples.size:
        raise InputError(f"A waveform has the shape (samples,) or (samples, channels), not {samples.shape}.")
    if samples.ndim == 2 and samples.shape[1] > samples.shape[0]:
        raise InputError(
            f"The waveform's shape {samples.shape} has more channels than samples; give its transpose, .T."
        )
    scale = 1.0
    if np.issubdtype(samples.dtype, np.signedinteger):
        scale = float(np.iinfo(samples.dtype).max) + 1.0
    elif not np.issubdtype(samples.dtype, np.floating):
        raise InputError(f"A waveform has floats or signed integers, not {samples.dtype}.")
    waveform = np.ascontiguousarray(samples, dtype=np.float32) / np.float32(scale)
    mix = Mixer()
    mono = mix(waveform.reshape(len(waveform), -1))
    check_sound("the waveform", mono)
    mix.check("the waveform")
    return resample(mono, int(sampling_rate), SAMPLE_RATE)
