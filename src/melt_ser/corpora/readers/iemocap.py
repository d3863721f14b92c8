"""IEMOCAP: five sessions of two actors each, scripted and improvised.

Files: `Session1/dialog/EmoEvaluation/<dialogue>.txt` has a line for each turn, `[start - end]` TAB turn TAB label TAB
[valence, arousal, dominance], and under it what each evaluator said (iemocap_ratings.py). The audio of a turn is
`Session1/sentences/wav/<dialogue>/<turn>.wav`. A turn such as Ses01F_impro01_M003 begins with the session and the actor
who wore the markers; the letter of the last part is the speaker, here the man of session 1.
Source: Busso et al., IEMOCAP: Interactive emotional dyadic motion capture database, 2008.
"""

from __future__ import annotations

import re
from pathlib import Path

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError
from melt_ser.corpora.readers.iemocap_ratings import RatingsOfTurns
from melt_ser.corpora.readers.release import Row, audio_files, folders, is_hidden, not_found, preference
from melt_ser.corpora.table import Release, Skipped, make_table

EVALUATION = re.compile(r"\[[\d.]+ - [\d.]+\]\t(\S+)\t(\w+)\t(\[.*\])\s*")
TRANSCRIPT = re.compile(r"(\S+) \[[^\]]*\]:\s*(.*)")
TURN = re.compile(r"(Ses0[1-5])[FM]_\w+_([FM])\w*")


def read(root: Path, config: DatasetConfig) -> Release:
    """Return every evaluated turn that has a file; list other turns and files as skipped."""
    sessions = _sessions(folders(root, config, depth=1))
    if not sessions:
        raise not_found(root / "Session1", config)
    rows: list[Row] = []
    skipped: list[Skipped] = []
    rated = RatingsOfTurns()
    for session in sessions:
        session_rows, session_skipped = _read_session(root, session, config.language, rated)
        rows += session_rows
        skipped += session_skipped
    if not rows and not skipped:
        raise not_found(sessions[0] / "dialog" / "EmoEvaluation", config)
    there = sum(bool(_annotations(session)) for session in sessions)
    notes = [f"{there} of the five sessions are there"] if there != 5 else []
    table = make_table(rows)
    annotated = table.assign(dialogue=table["utterance"].str.rpartition("_")[0])  # Ses01F_impro01
    return Release(table, skipped, notes, annotated=annotated, ratings=rated.ratings() if config.target else None)


def _sessions(places: list[Path]) -> list[Path]:
    """Return the folders of the sessions; of several folders of a session, the one with its evaluations.

    Raises InputError if two different folders have the evaluations of one session.
    """
    sessions: dict[str, Path] = {}
    for path in sorted(path for place in places for path in place.glob("Session[1-5]") if path.is_dir()):
        other = sessions.setdefault(path.name, path)
        if path.resolve() == other.resolve() or not _annotations(path):
            continue
        if _annotations(other):
            raise InputError(
                f"{path.name} is in two folders, {other} and {path}; set dataset.root to the folder of one copy, or "
                f"move the other copy away."
            )
        sessions[path.name] = path
    return list(sessions.values())


def _read_session(root: Path, session: Path, language: str, rated: RatingsOfTurns) -> tuple[list[Row], list[Skipped]]:
    """Return the turns of a session that have a file, and the skipped lines, turns and files; add to the ratings."""
    wavs = session / "sentences" / "wav"
    clips, skipped = _clips(root, wavs)
    rows = []
    for evaluation in _annotations(session):
        texts = _texts(session / "dialog" / "transcriptions" / evaluation.name)
        utterance = ""
        for line in evaluation.read_text(encoding="utf-8", errors="replace").splitlines():
            if not line.startswith("["):  # the header, and the votes of single evaluators
                rated.add_line(utterance, line)
                continue
            utterance = ""
            parts = EVALUATION.fullmatch(line)
            turn = TURN.fullmatch(parts[1]) if parts else None
            if not parts or not turn:
                skipped.append(Skipped(line, evaluation.relative_to(root).as_posix(), "line not understood"))
                continue
            utterance, label, means = parts.groups()
            rated.add_turn(utterance, means)
            audio = clips.pop(utterance, None)
            if audio is None:
                expected = wavs / evaluation.stem / f"{utterance}.wav"
                skipped.append(Skipped(utterance, expected.relative_to(root).as_posix(), "no audio file"))
                continue
            rows.append(
                {
                    "utterance": utterance,
                    "source": f"iemocap/{utterance}",
                    "audio": audio,
                    "speaker": turn[1] + turn[2],
                    "session": session.name,
                    "gender": "male" if turn[2] == "M" else "female",
                    "language": language,
                    "text": texts.get(utterance, ""),
                    "label": label,
                }
            )
    skipped += [Skipped("", audio, "file without annotation") for audio in clips.values()]
    return rows, skipped


def _clips(root: Path, wavs: Path) -> tuple[dict[str, str], list[Skipped]]:
    """Return the path of each turn's audio relative to the root, and further files of the same turn as skipped."""
    clips: dict[str, str] = {}
    skipped = []
    for path in sorted(audio_files(wavs, nested=True), key=_released_first) if wavs.is_dir() else []:
        audio = path.relative_to(root).as_posix()
        used = clips.setdefault(path.stem, audio)
        if audio != used:
            skipped.append(Skipped("", audio, f"a second file of a clip: {used} is used"))
    return clips, skipped


def _released_first(path: Path) -> tuple[bool, int, Path]:
    """Return a sort key that puts a file in the folder of its dialogue first, then the better format."""
    return path.parent.name != path.stem.rpartition("_")[0], preference(path), path


def _annotations(session: Path) -> list[Path]:
    """Return the annotation files of a session, without the `._` twins of macOS archives."""
    return sorted(path for path in session.glob("dialog/EmoEvaluation/*.txt") if not is_hidden(path.name))


def _texts(path: Path) -> dict[str, str]:
    """Return the text of each turn, or nothing if the release has no transcription of the dialogue."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {turn[1]: turn[2].strip() for line in lines if (turn := TRANSCRIPT.fullmatch(line))}
