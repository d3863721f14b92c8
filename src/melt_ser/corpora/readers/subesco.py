"""SUBESCO: acted Bangla, ten women and ten men, 10 sentences five times in 7 emotions.

`<root>/F_10_FAHMEE_S_6_FEAR_5.wav`: gender, the speaker's number within the gender, name, sentence number, emotion,
take. One file of the release ends in a stray bracket (`F_02_MONIKA_S_2_SURPRISE_3]`), which is passed over.
Source: Sultana et al., SUST Bangla Emotional Speech Corpus (SUBESCO), PLoS ONE 2021.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, Row, read_names
from melt_ser.corpora.table import GENDER_WORDS, Release

NAME = re.compile(
    r"(([FM])_(?:0[1-9]|10))_([A-Z]+)_S_(?:[1-9]|10)_(ANGRY|DISGUST|FEAR|HAPPY|NEUTRAL|SAD|SURPRISE)_[1-5]\]?"
)


def read(root: Path, config: DatasetConfig) -> Release:
    """Every clip whose name follows the scheme; the others are problems."""
    return read_names(root, config, NAMING)


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
