"""Label an upload as `predict` labels a file: one answer for all of it, and one for each window."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from melt_ser.audio import AUDIO_SUFFIXES, SAMPLE_RATE
from melt_ser.audio.contents import contents_of
from melt_ser.audio.decode import TooLong, stream_audio
from melt_ser.audio.decoders import SOUNDFILE_SUFFIXES
from melt_ser.audio.rules import Levels
from melt_ser.audio.sound import Waveform
from melt_ser.core.errors import InputError, one_line
from melt_ser.evaluation.labelling import LONGEST_SECONDS, check_rules, windows_of
from melt_ser.models.outputs import Outputs
from melt_ser.serving.answers import Labelled, Window
from melt_ser.serving.batching import Probabilities

SUFFIXES = SOUNDFILE_SUFFIXES.union(AUDIO_SUFFIXES)
AT_ONCE = 16  # windows of a request that wait together; so a long recording does not hold up the short ones
LONGEST_NAME = 120  # characters
Submit = Callable[[Waveform], "Future[Probabilities]"]


class Abandoned(Exception):
    """Nobody waits for the answer any more."""


class Patience:
    """Whether somebody waits for an answer. When it ends, the windows that are not yet computed are given up."""

    def __init__(self) -> None:
        self._over, self._awaited = False, list[Future[Probabilities]]()

    def check(self) -> None:
        """Raise Abandoned if nobody waits."""
        if self._over:
            raise Abandoned

    def wait(self, futures: list[Future[Probabilities]]) -> list[Probabilities]:
        """Return the results; raises Abandoned if the patience ends before."""
        self._awaited = futures
        self.check()
        try:
            return [future.result() for future in futures]
        except CancelledError:
            raise Abandoned from None

    def end(self) -> None:
        """Give up."""
        self._over = True
        for future in self._awaited:
            future.cancel()


class Labeller:
    """Label uploads with the outputs of a model; `submit` computes windows, `longest` bounds the seconds of audio."""

    def __init__(self, outputs: Outputs, submit: Submit, longest: float) -> None:
        self.outputs, self.submit, self.longest = outputs, submit, longest

    def label_upload(self, file: BinaryIO, name: str, window: float | None, peaks: int, patience: Patience) -> Labelled:
        """Return the answer to an uploaded file.

        Args:
            file: its content. It gets a name of our own; only a known ending is taken from the client.
            name: the client's name for it, for the answer.
            window: seconds; None: no windows.
            peaks: the number of points of the waveform to return.
            patience: that of whoever waits; the work ends soon after it.

        Raises InputError with a sentence if it cannot be labelled, TooLong if it is too long, Abandoned.
        """
        shown = shown_name(name)
        with tempfile.TemporaryDirectory(prefix="melt_ser-") as folder:
            suffix = PurePosixPath(shown).suffix.lower()
            path = Path(folder) / f"audio{suffix if suffix in SUFFIXES else ''}"
            with path.open("wb") as target:
                shutil.copyfileobj(file, target)
            try:
                found = contents_of(path).found
                waveform = self._decode(path, patience)
            except InputError as error:
                kind = TooLong if isinstance(error, TooLong) else InputError
                raise kind(str(error).replace(str(path), shown)) from None
        whole = self._whole(waveform, patience)
        windows = [] if window is None else list(self.windows([waveform], window, patience))
        notes = [f"It {found}."] if found else []
        if len(waveform) > LONGEST_SECONDS * SAMPLE_RATE:
            subject = "label is" if self.outputs.classes else "numbers are"
            notes.append(f"The {subject} from the mean over parts of up to {LONGEST_SECONDS:.0f} s.")
        empty = [one for one in windows if one.note]
        if empty:
            first = f"the first is from {empty[0].start:g} s on ({empty[0].note})"
            subject = "Labels" if self.outputs.classes else "Numbers"
            notes.append(f"{subject} that mean nothing: {len(empty)} of {len(windows)} windows; {first}.")
        return Labelled(
            file=shown,
            seconds=len(waveform) / SAMPLE_RATE,
            **self._label(whole),
            windows=windows,
            notes=notes,
            peaks=peaks_of(waveform, peaks),
        )

    def windows(self, blocks: Iterable[Waveform], seconds: float, patience: Patience) -> Iterator[Window]:
        """Yield the answers to the windows of a recording, mono at 16 kHz in blocks of any length."""
        waiting = windows_of(blocks, seconds)
        while some := list(itertools.islice(waiting, AT_ONCE)):
            answers = patience.wait([self.submit(waveform) for _, _, waveform, _ in some])
            for (start, end, _, reason), answer in zip(some, answers, strict=True):
                yield Window(start=start, end=end, **self._label(answer), note=reason)

    def _decode(self, path: Path, patience: Patience) -> Waveform:
        """Return an upload as mono at 16 kHz, (samples,); never more than its longest duration is in memory."""
        levels = Levels()

        def observe(block: Waveform, rate: int) -> None:
            levels.add(block, rate)
            patience.check()
            if levels.duration > self.longest:
                raise TooLong(f"{path}: lasts more than {self.longest:g} s; send a part of it.")

        waveform = np.concatenate(list(stream_audio(path, observe)))
        check_rules(levels, str(path))
        return waveform

    def _whole(self, waveform: Waveform, patience: Patience) -> list[float]:
        """Return the outputs for a recording: the mean over its parts, weighted by their seconds."""
        parts = list(self.windows([waveform], LONGEST_SECONDS, patience))
        total = sum(part.end - part.start for part in parts)
        answers = [[*part.probabilities.values(), *part.attributes.values()] for part in parts]
        weights = [(part.end - part.start) / total for part in parts]
        return [
            sum(weight * answer[at] for weight, answer in zip(weights, answers, strict=True))
            for at in range(len(self.outputs))
        ]

    def _label(self, answers: list[float]) -> dict[str, Any]:
        """Return the outputs as the fields of an answer; there is no label without classes."""
        classes, count = self.outputs.classes, len(self.outputs.classes)
        probabilities = dict(zip(classes, answers[:count], strict=True))
        return {
            "label": max(classes, key=probabilities.__getitem__, default=None),
            "probabilities": probabilities,
            "attributes": dict(zip(self.outputs.scales, answers[count:], strict=True)),
        }


def shown_name(name: str) -> str:
    """Return the last part of a client's file name, printable and short.

    >>> shown_name("C:\\\\music\\\\a.wav"), shown_name("../../etc/passwd"), shown_name("")
    ('a.wav', 'passwd', 'audio')
    """
    last = one_line(name.replace("\\", "/").rpartition("/")[2])
    return last[-LONGEST_NAME:] or "audio"


def peaks_of(waveform: Waveform, count: int) -> list[float]:
    """Return the largest magnitude of each of `count` equal parts of a waveform, (samples,), or of fewer."""
    if not count:
        return []
    edges = np.unique(np.linspace(0, len(waveform), count + 1).astype(int))[:-1]
    return [round(float(value), 4) for value in np.maximum.reduceat(np.abs(waveform), edges)]
