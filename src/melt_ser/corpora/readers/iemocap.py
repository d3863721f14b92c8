"""IEMOCAP: five sessions of two actors each, scripted and improvised.

`Session1/dialog/EmoEvaluation/<dialogue>.txt` has a line a turn, `[start - end]` TAB turn TAB label TAB
[valence, arousal, dominance]; the turns are cut in `Session1/sentences/wav/<dialogue>/<turn>.wav`.
Source: Busso et al., IEMOCAP: Interactive emotional dyadic motion capture database, 2008.
"""

from __future__ import annotations

import re
from pathlib import Path

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.release import audio_files, folders, not_found, preference
from melt_ser.corpora.table import Release, Skipped, make_table

EVALUATION = re.compile(r"\[[\d.]+ - [\d.]+\]\t(\S+)\t(\w+)\t\[.*\]\s*")
TRANSCRIPT = re.compile(r"(\S+) \[[^\]]*\]:\s*(.*)")
# The first token names the session and who wore the markers, the last one who speaks:
# Ses01F_impro01_M003 is spoken by the man of session 1.
TURN = re.compile(r"(Ses0[1-5])[FM]_\w+_([FM])\w*")


def read(root: Path, config: DatasetConfig) -> Release:
    """Every evaluated turn that has a file; turns without, and files without an evaluation, are problems."""
    places = folders(root, config, depth=1)
    sessions = sorted(path for place in places for path in place.glob("Session[1-5]") if path.is_dir())
    if not sessions:
        raise not_found(root / "Session1", config)
    rows: list[dict[str, str]] = []
    problems: list[Skipped] = []
    for session in sessions:
        _read_session(root, session, config.language, rows, problems)
    if not rows and not problems:
        raise not_found(sessions[0] / "dialog" / "EmoEvaluation", config)
    notes = [f"{len(sessions)} of the five sessions are there"] if len(sessions) != 5 else []
    return Release(make_table(rows), problems, notes)


def _read_session(
    root: Path, session: Path, language: str, rows: list[dict[str, str]], problems: list[Skipped]
) -> None:
    """Add a session's turns to `rows`, and what cannot be used to `problems`."""
    wavs = session / "sentences" / "wav"
    unused: dict[str, Path] = {}
    for clip in sorted(audio_files(wavs, nested=True), key=_released_first) if wavs.is_dir() else []:
        used = unused.setdefault(clip.stem, clip).relative_to(root).as_posix()
        if (twin := clip.relative_to(root).as_posix()) != used:
            problems.append(Skipped("", twin, f"a second file of a clip: {used} is used"))
    for evaluation in _visible(session / "dialog" / "EmoEvaluation"):
        texts = _transcripts(session / "dialog" / "transcriptions" / evaluation.name)
        for line in evaluation.read_text(encoding="utf-8", errors="replace").splitlines():
            if not line.startswith("["):
                continue  # the header, and the votes of single evaluators
            parts = EVALUATION.fullmatch(line)
            turn = TURN.fullmatch(parts[1]) if parts else None
            if not parts or not turn:
                problems.append(Skipped(line, evaluation.relative_to(root).as_posix(), "line not understood"))
                continue
            utterance, label = parts.groups()
            path = unused.pop(utterance, None)
            if path is None:
                expected = wavs / evaluation.stem / f"{utterance}.wav"
                problems.append(Skipped(utterance, expected.relative_to(root).as_posix(), "no audio file"))
                continue
            rows.append(
                {
                    "utterance": utterance,
                    "source": f"iemocap/{utterance}",
                    "audio": path.relative_to(root).as_posix(),
                    "speaker": turn[1] + turn[2],
                    "session": session.name,
                    "gender": "male" if turn[2] == "M" else "female",
                    "language": language,
                    "text": texts.get(utterance, ""),
                    "label": label,
                }
            )
    for path in unused.values():
        problems.append(Skipped("", path.relative_to(root).as_posix(), "file without annotation"))


def _released_first(path: Path) -> tuple[bool, int, Path]:
    """The release's own cut, a wav in the folder of its dialogue, before copies in other formats and places."""
    return path.parent.name != path.stem.rpartition("_")[0], preference(path), path


def _visible(folder: Path) -> list[Path]:
    """The annotation files of a folder, without the `._` twins of macOS archives."""
    return sorted(path for path in folder.glob("*.txt") if not path.name.startswith("."))


def _transcripts(path: Path) -> dict[str, str]:
    """Turn to text; empty where the release has no transcription of the dialogue."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {found[1]: found[2].strip() for line in lines if (found := TRANSCRIPT.fullmatch(line))}
