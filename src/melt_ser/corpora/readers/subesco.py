"""SUBESCO: acted Bangla, ten women and ten men, 10 sentences five times in 7 emotions.

Files: `<root>/F_10_FAHMEE_S_6_FEAR_5.wav`. A name is gender, the speaker's number within the gender, the speaker's
name, sentence number, emotion and take. One file of the release ends in a stray bracket
(`F_02_MONIKA_S_2_SURPRISE_3]`), which is ignored.
Source: Sultana et al., SUST Bangla Emotional Speech Corpus (SUBESCO), PLoS ONE 2021.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, read_names
from melt_ser.corpora.readers.release import Row
from melt_ser.corpora.table import GENDER_WORDS, Release

NAME = re.compile(
    r"(([FM])_(?:0[1-9]|10))_([A-Z]+)_S_(?:[1-9]|10)_(ANGRY|DISGUST|FEAR|HAPPY|NEUTRAL|SAD|SURPRISE)_[1-5]\]?"
)


def _row(name: re.Match[str], path: PurePath) -> Row:
    speaker, gender, _, emotion = name.groups()
    return {
        "utterance": name[0].rstrip("]"),
        "speaker": speaker,
        "gender": GENDER_WORDS[gender.lower()],
        "label": emotion,
    }


NAMING = Naming(
    NAME, "gender, number, name, sentence, emotion, take such as F_10_FAHMEE_S_6_FEAR_5", _row, spelling=str.upper
)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with names that follow the scheme; list the others as skipped."""
    return read_names(root, config, NAMING)
