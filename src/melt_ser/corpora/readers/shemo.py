"""ShEMO: Persian radio plays, 31 women and 56 men, 6 emotions.

Files: `<root>/male/M36S02.wav`, or without folders. A name is gender and speaker, the emotion's letter (A, F, H, N, S,
W: wonder, that is surprise) and a running number. The texts are the release's `transcript/**/M36S02.ort`, if these are
in the root.
Source: Mohamad Nezami et al., ShEMO: a large-scale validated database for Persian speech emotion detection, Language
Resources and Evaluation 2019. The numbers of speakers, 31 and 56, are counted in EmoBox's list, which has 2,838 of
the 3,000 clips.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, check_folder, fill, read_names, transcripts
from melt_ser.corpora.readers.release import Row
from melt_ser.corpora.table import GENDER_WORDS, Release

FOLDERS = {"female": "F", "male": "M"}
NAME = re.compile(r"(([FM])\d\d)([AFHNSW])\d\d")


def _row(name: re.Match[str], path: PurePath) -> Row:
    speaker, gender, emotion = name.groups()
    check_folder(path, FOLDERS, "gender", gender)
    return {"speaker": speaker, "gender": GENDER_WORDS[gender.lower()], "label": emotion}


NAMING = Naming(NAME, "gender and speaker, emotion, number such as M36S02", _row, expected="male", spelling=str.upper)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with names that follow the scheme and agree with their folder; list the others as skipped."""
    release = read_names(root, config, NAMING)
    fill(release, "text", {stem.upper(): text for stem, text in transcripts(root, ".ort").items()})
    return release
