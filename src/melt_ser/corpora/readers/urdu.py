"""URDU: clips of Urdu talk shows, 4 emotions, 400 clips.

Files: `<root>/Angry/SM1_F10_A010.wav`, or without folders. A name is S + gender + speaker, F + the speaker's file
number, and the emotion's letter + running number.
Source: Latif et al., Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages, 2018, and the release's
README.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, check_folder, read_names
from melt_ser.corpora.readers.release import Row
from melt_ser.corpora.table import GENDER_WORDS, Release

FOLDERS = {"angry": "A", "happy": "H", "neutral": "N", "sad": "S"}
NAME = re.compile(r"(S([MF])\d+)_F\d+_([AHNS])\d+")


def _row(name: re.Match[str], path: PurePath) -> Row:
    speaker, gender, emotion = name.groups()
    check_folder(path, FOLDERS, "letter", emotion)
    return {"speaker": speaker, "gender": GENDER_WORDS[gender.lower()], "label": emotion}


NAMING = Naming(NAME, "speaker, file, emotion such as SM1_F10_A010", _row, expected="Angry", spelling=str.upper)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with names that follow the scheme and agree with their folder; list the others as skipped."""
    return read_names(root, config, NAMING)
