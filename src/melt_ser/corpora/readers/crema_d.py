"""CREMA-D: acted American English, 48 men and 43 women, 12 sentences, 6 emotions.

Files: `<root>/AudioWAV/1001_DFA_ANG_XX.wav`, or without the folder. A name is actor, sentence, emotion and level (XX:
unspecified; one file is called 1040_ITH_SAD_X.wav, and 1040_ITH_SAD_XX in the release's tables). The gender is in the
release's VideoDemographics.csv, and the votes of its listeners are in processedResults/tabulatedVotes.csv; each is read
if it is in the root or in the folder above the root.
Source: Cao et al., CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset, IEEE Transactions on Affective
Computing 2014, and the README of the release.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePath

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError
from melt_ser.corpora.readers.crema_d_ratings import read_votes
from melt_ser.corpora.readers.file_names import Naming, fill, read_names
from melt_ser.corpora.readers.release import Row
from melt_ser.corpora.table import Release

DEMOGRAPHICS = "VideoDemographics.csv"
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": ""}
SENTENCES = {
    "DFA": "Don't forget a jacket.",
    "IEO": "It's eleven o'clock.",
    "IOM": "I'm on my way to the meeting.",
    "ITH": "I think I have a doctor's appointment.",
    "ITS": "I think I've seen this before.",
    "IWL": "I would like a new alarm clock.",
    "IWW": "I wonder what this is about.",
    "MTI": "Maybe tomorrow it will be cold.",
    "TAI": "The airplane is almost full.",
    "TIE": "That is exactly what happened.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
NAME = re.compile(rf"(10\d\d)_({'|'.join(SENTENCES)})_(ANG|DIS|FEA|HAP|NEU|SAD)_({'|'.join(LEVELS)}|X)")


def _row(name: re.Match[str], path: PurePath) -> Row:
    actor, sentence, emotion, level = name.groups()
    level = "XX" if level == "X" else level
    utterance = f"{actor}_{sentence}_{emotion}_{level}"
    row = {"speaker": actor, "text": SENTENCES[sentence], "intensity": LEVELS[level], "label": emotion}
    return row | {"utterance": utterance}


NAMING = Naming(
    NAME, "actor, sentence, emotion, level such as 1001_DFA_ANG_XX", _row, expected="AudioWAV", spelling=str.upper
)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with names that follow the scheme; list the others as skipped."""
    release = read_names(root, config, NAMING)
    tables = [folder / DEMOGRAPHICS for folder in (root, root.parent) if (folder / DEMOGRAPHICS).is_file()]
    if tables:
        fill(release, "gender", _genders(tables[0]), by="speaker")
    else:
        release.notes.append(f"no gender is known, since {DEMOGRAPHICS} of the release is not in the root")
    if config.target is None:
        return release
    ratings, notes = read_votes([root, root.parent])
    return replace(release, ratings=ratings, notes=[*release.notes, *notes])


def _genders(path: Path) -> dict[str, str]:
    """Return the gender of each actor; raise InputError if the file is not the released one."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        return dict(zip(table["ActorID"], table["Sex"].str.lower(), strict=True))
    except (ValueError, KeyError) as error:
        raise InputError(f"{path} is not the released CSV ({error}); copy it again from the release.") from None
