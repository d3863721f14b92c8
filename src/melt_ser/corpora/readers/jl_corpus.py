"""JL-Corpus: acted New Zealand English, two women and two men, 5 primary and 5 secondary emotions.

Files: `<root>/**/male2_concerned_6b_1.wav`, with the text in `male2_concerned_6b_1.txt`. A name is speaker, emotion,
sentence and repetition.
Source: James, Tian and Watson, An Open Source Emotional Speech Corpus for Human Robot Interaction Applications,
Interspeech 2018.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, fill, read_names, transcripts
from melt_ser.corpora.readers.release import Row
from melt_ser.corpora.table import Release

EMOTIONS = ("angry", "excited", "happy", "neutral", "sad")
SECONDARY = ("anxious", "apologetic", "assertive", "concerned", "encouraging")
NAME = re.compile(rf"((female|male)[12])_({'|'.join(EMOTIONS + SECONDARY)})_\d+[ab]_[12]")


def _row(name: re.Match[str], path: PurePath) -> Row:
    return {"speaker": name[1], "gender": name[2], "label": name[3]}


NAMING = Naming(NAME, "speaker, emotion, sentence, repetition such as male2_concerned_6b_1", _row, spelling=str.lower)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with names that follow the scheme; list the others as skipped."""
    release = read_names(root, config, NAMING)
    fill(release, "text", {stem.lower(): text for stem, text in transcripts(root, ".txt").items()})
    return release
