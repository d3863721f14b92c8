"""RAVDESS: acted North American English, 24 actors, 8 emotions, speech and song, as audio and as video.

Files: `<root>/Actor_01/03-01-05-02-01-02-01.wav`, in any folders. A name is modality (01 audio and video, 02 video, 03
audio), channel (01 speech, 02 song), emotion, intensity, statement, repetition and actor (odd: a man). Only speech as
audio is used.
Source: Livingstone and Russo, The Ryerson Audio-Visual Database of Emotional Speech and Song, PLoS ONE 2018, and the
README of the release.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, check_folder, read_names
from melt_ser.corpora.readers.release import Row, Unused
from melt_ser.corpora.table import Release

ACTORS = {f"actor{mark}{number:02}": f"{number:02}" for number in range(1, 25) for mark in ("_", " ", "")}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")


def _row(name: re.Match[str], path: PurePath) -> Row:
    modality, channel, emotion, intensity, statement, _, actor = name.groups()
    if modality != "03":
        raise Unused(f"modality {modality} is video, which is not used; 03 is the audio")
    if channel != "01":
        raise Unused(f"channel {channel} is song, which is not used; 01 is speech")
    check_folder(path, ACTORS, "actor", actor)
    return {
        "speaker": actor,
        "gender": "male" if int(actor) % 2 else "female",
        "text": STATEMENTS[statement],
        "intensity": INTENSITIES[intensity],
        "label": emotion,
    }


NAMING = Naming(
    NAME,
    "modality, channel, emotion, intensity, statement, repetition, actor such as 03-01-05-02-01-02-01",
    _row,
    expected="Actor_01",
)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return every clip of speech as audio; list songs, videos and other names as skipped."""
    return read_names(root, config, NAMING)
