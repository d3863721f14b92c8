"""TESS: acted Canadian English, two actresses (26 and 64 years old), 200 words in one carrier phrase, 7 emotions.

Files: `<root>/OAF_back_angry.wav`, or in folders such as `OAF_angry/` and `YAF_pleasant_surprised/`. A name is speaker
(OAF the older, YAF the younger), word and emotion (ps: pleasant surprise). The release's `OA_bite_neutral` belongs to
OAF. The session is the word: with two speakers, no fold can test on one speaker and still have another for dev. So
folds keep the words apart, and the results say nothing about unseen speakers.
Source: Pichora-Fuller and Dupuis, Toronto emotional speech set, 2010 (tspace.library.utoronto.ca/handle/1807/24487).
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, check_folder, read_names
from melt_ser.corpora.readers.release import Row
from melt_ser.corpora.table import Release

EMOTIONS = {
    "angry": ["angry"],
    "disgust": ["disgust"],
    "fear": ["fear"],
    "happy": ["happy"],
    "neutral": ["neutral"],
    "ps": ["ps", "pleasant_surprise", "pleasant_surprised"],
    "sad": ["sad"],
}
FOLDERS = {
    f"{speaker}_{word}".lower(): f"{speaker} {emotion}"
    for speaker in ("OAF", "YAF")
    for emotion, words in EMOTIONS.items()
    for word in words
}
NAME = re.compile(rf"(oaf|yaf|oa(?=_bite_neutral$))_([a-z]+)_({'|'.join(EMOTIONS)})")


def _row(name: re.Match[str], path: PurePath) -> Row:
    speaker = "YAF" if name[1] == "yaf" else "OAF"
    word, emotion = name[2], name[3]
    check_folder(path, FOLDERS, "speaker and emotion", f"{speaker} {emotion}")
    return {
        "utterance": f"{speaker}_{word}_{emotion}",
        "speaker": speaker,
        "session": word,
        "gender": "female",
        "text": f"Say the word {word}",
        "label": emotion,
    }


NAMING = Naming(NAME, "speaker, word, emotion such as OAF_back_angry", _row, expected="OAF_angry", spelling=str.lower)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with names that follow the scheme and agree with their folder; list the others as skipped."""
    return read_names(root, config, NAMING)
