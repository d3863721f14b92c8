"""Read the turns of speakers in recordings: an RTTM of a diarisation, or a table with start, end and speaker.

RTTM is NIST's format: `SPEAKER <recording> <channel> <start> <seconds> <NA> <NA> <speaker> …` in each line. The columns
of a table are those of a corpus table: `start` and `end` in seconds, and, if they are there, `speaker` and `audio`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from melt_ser.core.console import say
from melt_ser.core.counting import counted
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.readers.columns import COMMON_NAMES, letters, listed
from melt_ser.corpora.readers.delimited import in_utf8, read_table

# The other types of lines in NIST's format, which are no turns.
OTHER_TYPES = {
    *("SPKR-INFO", "SEGMENT", "NO_RT_METADATA", "NOSCORE", "LEXEME", "NON-LEX", "NON-SPEECH"),
    *("FILLER", "EDIT", "SU", "IP", "CB", "A/P"),
}
NOT_KNOWN = "<NA>"
LATEST = 1e7  # seconds, 116 days; no recording is longer


@dataclass(frozen=True)
class Turn:
    """A stretch of a recording in which one speaker speaks."""

    start: float  # seconds
    end: float
    speaker: str  # "": not known
    where: str  # the place of the turn in its file, for sentences


TurnsByName = dict[str, list[Turn]]  # by the name of the recording in the file; "": it names none


class _BadRow(Exception):
    """A line or row that is no turn; its text says why."""


def turns_of(path: Path, recordings: Sequence[Path]) -> dict[Path, list[Turn]]:
    """Return the turns of each recording, in the order of their starts; an empty list if the file has none of it.

    A turn belongs to the recording whose path, name or name without suffix the file gives; a path wins over names. If
    there is a single recording and the file gives a single name, the names may differ, and a note says so. Another note
    counts turns of other recordings, and turns that overlap.

    Raises SetupError if there is no such file, if a name fits no or several recordings, or if several names fit one;
    InputError with the number of the line for a line that cannot be read.
    """
    if not path.is_file():
        raise SetupError(f"There is no file of turns at {path}; give an .rttm, .csv or .tsv file.")
    by_name = _read_rttm(path) if path.suffix.lower() == ".rttm" else _read_table(path)
    names: dict[Path, list[str]] = {recording: [] for recording in recordings}
    others: list[str] = []
    for name in by_name:
        owner = _owner(path, name, recordings, alone=len(by_name) == 1)
        (others if owner is None else names[owner]).append(name)
    turns: dict[Path, list[Turn]] = {}
    for recording, own in names.items():
        chosen, passed_over = _of_one_recording(path, recording, own)
        others += passed_over
        of_it = [turn for name in chosen for turn in by_name[name]]
        turns[recording] = sorted(of_it, key=lambda turn: (turn.start, turn.end))
    if others:
        number = sum(len(by_name[name]) for name in others)
        told = counted(number, "turn is", "turns are")
        say(f"note: {path}: {told} of recordings that are not labelled here: {listed(others)}.")
    _tell_overlaps(turns)
    return turns


def _owner(path: Path, name: str, recordings: Sequence[Path], alone: bool) -> Path | None:
    """Return the recording that a name in the file stands for; None if there is none."""
    if not name and len(recordings) > 1:
        raise SetupError(f"{path} has no column 'audio', so it is for one recording, not for {len(recordings)}.")
    exact = [recording for recording in recordings if Path(name) == recording]
    found = exact or [one for one in recordings if Path(name).name in (one.name, one.stem)]
    if len(found) > 1:
        raise SetupError(f"{path}: '{name}' may be {found[0]} or {found[1]}; label them with a command each.")
    if not found and alone and len(recordings) == 1:
        if name:
            say(f"note: {path} is about '{name}'; its turns are taken for {recordings[0]}.")
        return recordings[0]
    return found[0] if found else None


def _of_one_recording(path: Path, recording: Path, names: list[str]) -> tuple[list[str], list[str]]:
    """Return the names that are a recording's own, and those of other recordings with the same file name.

    The recording's path is its own name; without it, so are names of one folder, which may lack the suffix.
    """
    exact = [name for name in names if Path(name) == recording]
    if exact:
        return exact, [name for name in names if name not in exact]
    folders = {Path(name).parent: name for name in names}
    if len(folders) > 1:
        first, second = list(folders.values())[:2]
        raise SetupError(f"{path}: '{first}' and '{second}' may both be {recording}; write its path as in the command.")
    return names, []


def _tell_overlaps(turns: dict[Path, list[Turn]]) -> None:
    for recording, own in turns.items():
        overlapping, latest = [], -math.inf
        for turn in own:
            if turn.start < min(latest, turn.end):
                overlapping.append(turn)
            latest = max(latest, turn.end)
        if overlapping:
            say(
                f"note: {recording}: {len(overlapping)} of {len(own)} turns begin before another ends, the first in "
                f"{overlapping[0].where}; each is labelled with all voices in it."
            )


def _read_rttm(path: Path) -> TurnsByName:
    content = in_utf8(path)
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8; save it as UTF-8.") from None
    turns: TurnsByName = defaultdict(list)
    wrong: list[str] = []
    others = 0
    channels = set()
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";;"):  # a comment
            continue
        if fields[0] in OTHER_TYPES:
            others += 1
            continue
        try:
            name, turn = _turn_of_line(fields, f"{path}, line {number}")
            turns[name].append(turn)
            channels.add(fields[2])
        except _BadRow as reason:
            wrong.append(f"{path}, line {number}: {reason}")
    _refuse(wrong, "lines")
    if len(channels) > 1:
        say(f"note: {path} names the channels {', '.join(sorted(channels))}; the mean of all channels is labelled.")
    if others:
        told = counted(others, "line is of another type", "lines are of other types")
        say(f"note: {path}: {told} than SPEAKER and gave no turn.")
    return _not_empty(path, turns)


def _turn_of_line(fields: list[str], where: str) -> tuple[str, Turn]:
    if fields[0] != "SPEAKER":
        raise _BadRow(f"'{fields[0][:40]}' is no type of an RTTM line; a turn begins with SPEAKER")
    if len(fields) < 8:
        raise _BadRow(f"has {len(fields)} fields, but a turn has 8 or more, the last of them the speaker")
    start, seconds = _seconds(fields[3]), _seconds(fields[4])
    end = round(start + seconds, 7)  # less than a sample; the sum of 8.5 and 2.7 is 11.2
    return fields[1], Turn(start, end, fields[7] if fields[7] != NOT_KNOWN else "", where)


def _read_table(path: Path) -> TurnsByName:
    table = read_table(path, (), strict=True)
    present = [str(column) for column in table]
    columns = dict(_columns(path, present))
    missing = [name for name in ("start", "end") if name not in columns]
    if missing:
        raise InputError(f"{path} lacks the column {' and '.join(missing)}; its columns are: {listed(present)}.")
    turns: TurnsByName = defaultdict(list)
    wrong: list[str] = []
    for number, row in enumerate(table.to_dict("records"), start=1):
        cells = {our: row[their] for our, their in columns.items()}
        where = f"{path}, row {number}"
        try:
            turn = Turn(_seconds(cells["start"]), _seconds(cells["end"]), cells.get("speaker", ""), where)
            turns[cells.get("audio", "")].append(turn)
        except _BadRow as reason:
            wrong.append(f"{where}: {reason}")
    _refuse(wrong, "rows")
    return _not_empty(path, turns)


def _columns(path: Path, present: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each of our columns that the table has, with its own name of it."""
    for our in ("start", "end", "speaker", "audio"):
        found = [their for their in present if their == our] or [
            their for their in present if letters(their) in COMMON_NAMES.get(our, [])
        ]
        if len(found) > 1:
            raise InputError(
                f"{path} has {len(found)} columns that may be the {our}: {listed(found)}; name one '{our}'."
            )
        if found:
            yield our, found[0]


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < LATEST:
        raise _BadRow(f"'{text[:40]}' is no time in seconds, such as 1.5")
    return value


def _refuse(wrong: list[str], kind: str) -> None:
    """Raise InputError for the lines or rows that are no turns."""
    if wrong:
        more = f"; {len(wrong) - 1} more {kind} are wrong" if len(wrong) > 1 else ""
        raise InputError(f"{wrong[0]}{more}.")


def _not_empty(path: Path, turns: TurnsByName) -> TurnsByName:
    if not turns:
        raise InputError(f"{path} has no turns; give a line for each.")
    return turns
