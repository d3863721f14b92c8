"""AESDD: acted Greek, 19 sentences and one improvisation per actor, 5 emotions; later releases add actors.

Files: `<root>/anger/a03 (3).wav`, or without folders. A name is the emotion's letter, utterance number, (speaker), and
a letter if a take was repeated. Version 1 had five actors (three women, two men); the release has six speaker numbers
and does not say which of them are women, so the gender stays empty. Its `s05 (3)` cannot be decoded; verification
reports it.
Unsure: that there are six speakers, and the counts. Both are EmoBox's.
Source: Vryzas et al., Speech Emotion Recognition for Performance Interaction, JAES 2018, and the release's README.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, check_folder, read_names
from melt_ser.corpora.readers.release import Row
from melt_ser.corpora.table import Release

FOLDERS = {"anger": "a", "disgust": "d", "fear": "f", "happiness": "h", "sadness": "s"}
NAME = re.compile(r"([adfhs])(\d\d)[ _]?\((\d+)\)[ _]?([a-z]?)")


def _row(name: re.Match[str], path: PurePath) -> Row:
    emotion, number, speaker, take = name.groups()
    check_folder(path, FOLDERS, "emotion", emotion)
    speaker = str(int(speaker))  # some files of the first speaker have (01)
    return {"utterance": f"{emotion}{number} ({speaker}){take}", "speaker": speaker, "label": emotion}


NAMING = Naming(
    NAME, "emotion letter, utterance, (speaker) such as a03 (3)", _row, expected="anger", spelling=str.lower
)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with names that follow the scheme and agree with their folder; list the others as skipped."""
    return read_names(root, config, NAMING)
