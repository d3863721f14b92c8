"""Label an upload as `predict` labels a file: one answer for all of it, and one for each window."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from melt_ser.audio import AUDIO_SUFFIXES, SAMPLE_RATE
from melt_ser.audio.contents import contents_of
from melt_ser.audio.decode import TooLong, stream_audio
from melt_ser.audio.decoders import SOUNDFILE_SUFFIXES
from melt_ser.audio.rules import Levels, refusal
from melt_ser.audio.sound import Waveform
from melt_ser.core.errors import InputError, one_line
from melt_ser.evaluation.labelling import LONGEST_SECONDS, RULES, windows_of
from melt_ser.serving.answers import Labelled, Window

SUFFIXES = SOUNDFILE_SUFFIXES.union(AUDIO_SUFFIXES)
AT_ONCE = 16  # windows of a request that wait together; so a long recording does not hold up the short ones
LONGEST_NAME = 120  # characters
Submit = Callable[[Waveform], "Future[list[float]]"]


class Abandoned(Exception):
    """Nobody waits for the answer any more."""


class Labeller:
    """Label uploads with the classes of a model; `submit` computes windows, `longest` bounds the seconds of audio."""

    def __init__(self, classes: list[str], submit: Submit, longest: float) -> None:
        self.classes, self.submit, self.longest = classes, submit, longest

    def label_upload(
        self, file: BinaryIO, name: str, window: float | None, peaks: int, abandoned: threading.Event
    ) -> Labelled:
        """Return the answer to an uploaded file.

        Args:
            file: its content. It gets a name of our own; only a known ending is taken from the client.
            name: the client's name for it, for the answer.
            window: seconds; None: no windows.
            peaks: the number of points of the waveform to return.
            abandoned: set if nobody waits any more; the work then ends soon.

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
                waveform = self._decode(path, abandoned)
            except InputError as error:
                raise type(error)(str(error).replace(str(path), shown)) from None
        whole = self._whole(waveform, abandoned)
        windows = [] if window is None else list(self.windows([waveform], window, abandoned))
        notes = [f"It {found}."] if found else []
        if len(waveform) > LONGEST_SECONDS * SAMPLE_RATE:
            notes.append(f"The label is from the mean over parts of up to {LONGEST_SECONDS:.0f} s.")
        empty = [one for one in windows if one.note]
        if empty:
            first = f"the first is from {empty[0].start:g} s on ({empty[0].note})"
            notes.append(f"{len(empty)} windows have labels that mean nothing; {first}.")
        return Labelled(
            file=shown,
            seconds=len(waveform) / SAMPLE_RATE,
            **self._label(whole),
            windows=windows,
            notes=notes,
            peaks=peaks_of(waveform, peaks),
        )

    def windows(self, blocks: Iterable[Waveform], seconds: float, abandoned: threading.Event) -> Iterator[Window]:
        """Yield the answers to the windows of a recording, mono at 16 kHz in blocks of any length."""
        waiting = windows_of(blocks, seconds)
        while some := list(itertools.islice(waiting, AT_ONCE)):
            futures = [self.submit(waveform) for _, _, waveform, _ in some]
            for (start, end, _, reason), future in zip(some, futures, strict=True):
                yield Window(start=start, end=end, **self._label(future.result()), note=reason)
            if abandoned.is_set():
                raise Abandoned

    def _decode(self, path: Path, abandoned: threading.Event) -> Waveform:
        """Return an upload as mono at 16 kHz, (samples,); never more than its longest duration is in memory."""
        levels = Levels()

        def observe(block: Waveform, rate: int) -> None:
            levels.add(block, rate)
            if abandoned.is_set():
                raise Abandoned
            if levels.duration > self.longest:
                raise TooLong(f"{path}: lasts more than {self.longest:g} s; send a part of it.")

        waveform = np.concatenate(list(stream_audio(path, observe)))
        reason = refusal(levels, RULES)
        if reason is not None:
            raise InputError(f"{path}: cannot be labelled ({reason}).")
        return waveform

    def _whole(self, waveform: Waveform, abandoned: threading.Event) -> list[float]:
        """Return the probabilities of a recording: the mean over its parts, weighted by their seconds."""
        parts = list(self.windows([waveform], LONGEST_SECONDS, abandoned))
        total = sum(part.end - part.start for part in parts)
        return [
            sum((part.end - part.start) * part.probabilities[name] for part in parts) / total for name in self.classes
        ]

    def _label(self, probabilities: list[float]) -> dict[str, Any]:
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        return {"label": self.classes[best], "probabilities": dict(zip(self.classes, probabilities, strict=True))}


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
