"""Label the turns of speakers, or the stretches of speech, of a recording: a row for each.

A turn is labelled like a file that holds it alone, or like a row of a corpus table with its `start` and `end`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.contents import contents_of
from melt_ser.audio.decode import read_segments
from melt_ser.audio.parts import TOLERANCE
from melt_ser.audio.resample import resample
from melt_ser.audio.rules import Levels, refusal
from melt_ser.audio.sound import Waveform, check_sound
from melt_ser.audio.speech import find_speech
from melt_ser.core.console import say
from melt_ser.core.errors import InputError, MeltSerError
from melt_ser.evaluation.labelling import LONGEST_SECONDS, RULES, Model, Row
from melt_ser.evaluation.turns import Turn


def label_turns(model: Model, path: Path, turns: Sequence[Turn], columns: Sequence[str]) -> Iterator[Row]:
    """Yield a row for each turn of a recording, in the order of their starts.

    A turn that has no label, and each turn after a fault of the file, is a row with `error`. A file without turns is
    one row with `error`. The recording is decoded once, and no more than a minute of it is in memory.

    columns: the attributes of a turn that its row has.
    """
    if not turns:
        yield {"file": str(path), "error": f"{path}: there are no turns of this recording."}
        return
    rows = [{"file": str(path), **{name: getattr(turn, name) for name in columns}} for turn in turns]
    done = 0
    try:
        found = contents_of(path).found
        if found:
            say(f"note: {path} {found}.")
        for answer in _answers(model, path, turns):
            yield rows[done] | answer
            done += 1
    except MeltSerError as error:
        for row in rows[done:] or [{"file": str(path)}]:
            yield row | {"error": str(error)}


def label_speech(model: Model, path: Path) -> Iterator[Row]:
    """Yield a row for each stretch of speech of a recording; one with `error` if there is none or it has a fault."""
    try:
        speech = find_speech(path, LONGEST_SECONDS)
        if not speech:
            raise InputError(f"{path}: no speech was found.")
    except MeltSerError as error:
        yield {"file": str(path), "error": str(error)}
        return
    turns = [Turn(start, end, "", f"{path}, speech from {start:g} s on") for start, end in speech]
    yield from label_turns(model, path, turns, ("start", "end"))


@dataclass
class _Progress:
    """The parts of a turn that have been labelled."""

    waiting: int  # parts that have not
    levels: Levels = field(default_factory=Levels)
    parts: list[tuple[float, list[float]]] = field(default_factory=list)  # seconds and probabilities


def _answers(model: Model, path: Path, turns: Sequence[Turn]) -> Iterator[Row]:
    """Yield the label or the error of each turn, in order; a long turn holds back those that begin within it."""
    parts = sorted((*part, number) for number, turn in enumerate(turns) for part in _parts(turn))
    open_turns = [_Progress(len(_parts(turn))) for turn in turns]
    answers: dict[int, Row] = {}
    sent = 0
    segments = read_segments(path, [(start, end) for start, end, _ in parts])
    for (_, _, number), (waveform, rate) in zip(parts, segments, strict=True):
        turn, progress = turns[number], open_turns[number]
        progress.waiting -= 1
        if number >= sent and number not in answers:  # no earlier part has failed
            try:
                _add(model, path, turn, progress, waveform, rate)
                if not progress.waiting:
                    answers[number] = model.row_of(_mean(progress.parts))
            except MeltSerError as error:
                answers[number] = {"error": str(error)}
        while sent in answers:
            yield answers.pop(sent)
            sent += 1


def _parts(turn: Turn) -> list[tuple[float, float]]:
    """Cut a turn into parts that are computed at once."""
    number = max(1, math.ceil((turn.end - turn.start) / LONGEST_SECONDS))
    starts = [turn.start + part * LONGEST_SECONDS for part in range(number)]
    return list(zip(starts, [*starts[1:], turn.end], strict=True))


def _add(model: Model, path: Path, turn: Turn, progress: _Progress, waveform: Waveform, rate: int) -> None:
    """Label a part of a turn; raise InputError if the turn cannot be labelled."""
    if turn.end <= turn.start:
        raise InputError(f"{turn.where}: the turn is empty, from {turn.start:g} to {turn.end:g} s.")
    if len(waveform):
        check_sound(turn.where, waveform)
        progress.levels.add(waveform, rate)
    if not progress.waiting:
        _check(path, turn, progress.levels)
    if len(waveform):
        seconds = len(waveform) / rate
        [answers] = model.probabilities([resample(waveform, rate, SAMPLE_RATE)])
        progress.parts.append((seconds, answers))


def _check(path: Path, turn: Turn, levels: Levels) -> None:
    """Raise InputError if a turn is not within its recording, or `prepare` would refuse it as a clip of a corpus."""
    end = turn.start + levels.duration
    if end < turn.end - TOLERANCE:
        there = f"already at {end:.2f} s" if levels.samples else "before it begins"
        raise InputError(f"{turn.where}: the turn ends at {turn.end:g} s, but {path} {there}.")
    reason = refusal(levels, RULES)
    if reason is not None:
        raise InputError(f"{turn.where}: the turn cannot be labelled ({reason}).")


def _mean(parts: Sequence[tuple[float, list[float]]]) -> list[float]:
    """Return the mean of the parts' probabilities, weighted by their seconds."""
    if len(parts) == 1:
        return parts[0][1]
    total = sum(seconds for seconds, _ in parts)
    return [sum(seconds * own[i] for seconds, own in parts) / total for i in range(len(parts[0][1]))]
