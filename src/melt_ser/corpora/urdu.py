"""URDU: clips of Urdu talk shows, 4 emotions, 400 clips.

`<root>/Angry/SM1_F10_A010.wav`, or the files in `<root>` itself: S + gender + speaker, the speaker's
file number, emotion letter + running number. Source: Latif et al., Cross Lingual Speech Emotion
Recognition: Urdu vs. Western Languages, 2018, and the release's README.
"""

from __future__ import annotations

import re
from pathlib import Path

from melt_ser.config import DatasetConfig
from melt_ser.corpora.release import audio_files, not_found, preference
from melt_ser.corpora.table import Problem, Release, make_table

FOLDERS = {"Angry": "A", "Happy": "H", "Neutral": "N", "Sad": "S"}
NAME = re.compile(r"(S[MF]\d+)_F\d+_([AHNS])\d+")


def read(root: Path, config: DatasetConfig) -> Release:
    """Every clip whose name follows the scheme and agrees with its folder; the others are problems."""
    files = audio_files(root, nested=True) if root.is_dir() else []
    if not files:
        raise not_found(root / "Angry", config)
    rows: dict[str, dict[str, str]] = {}
    problems = []
    for path in sorted(files, key=lambda path: (preference(path), path)):
        audio = path.relative_to(root).as_posix()
        name = NAME.fullmatch(path.stem)
        if not name:
            problems.append(Problem("", audio, "the name is not speaker, file, emotion such as SM1_F10_A010"))
            continue
        speaker, emotion = name.groups()
        if FOLDERS.get(path.parent.name, emotion) != emotion:
            reason = f"the folder says {path.parent.name}, the letter of the name {emotion}"
            problems.append(Problem(path.stem, audio, reason))
        elif path.stem in rows:
            problems.append(Problem("", audio, f"the same clip as {rows[path.stem]['audio']}, which is used"))
        else:
            rows[path.stem] = {
                "utterance": path.stem,
                "source": f"urdu/{path.stem}",
                "audio": audio,
                "speaker": speaker,
                "gender": "male" if speaker[1] == "M" else "female",
                "language": config.language,
                "label": emotion,
            }
    return Release(make_table(rows[stem] for stem in sorted(rows)), problems)
