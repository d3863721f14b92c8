"""ASVP-ESD: emotional speech and other sounds of the voice, in several languages, from films, shows and the web.

Files: `<root>/Audio/actor_36/03-01-04-01-10-36-03-03-01.wav`, more in `<root>/Bonus/`. A name is modality, channel
(01 speech, 02 no speech), emotion, intensity (01 normal, 02 high), group, actor, age, and further fields. The raw
label is channel and emotion, such as `01-04`, because laughter, screams and sighs are not speech. A few files have
other intensities, which stay empty. Some actor numbers stand for several persons.
Unsure: the fields after the age (among them the language), and the relation of an actor's number to the gender. The
published descriptions of the corpus differ, so language and gender stay empty.
Source: Landry et al., ASVP-ESD, zenodo.org/records/7132783.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, check_folder, read_names
from melt_ser.corpora.readers.release import Row
from melt_ser.corpora.table import Release

ACTORS = {f"actor_{mark}{number}": str(number) for number in range(1, 300) for mark in ("", "0" * (number < 10))}
INTENSITIES = {"01": "normal", "02": "high"}
NAME = re.compile(r"03-(0[12])-(0[1-9]|1[0-3])-(\d+)-\d+-(\d+)(?: ?-\d+)*")


def _row(name: re.Match[str], path: PurePath) -> Row:
    channel, emotion, intensity, actor = name[1], name[2], name[3], str(int(name[4]))
    check_folder(path, ACTORS, "actor", actor)
    return {"speaker": actor, "intensity": INTENSITIES.get(intensity, ""), "label": f"{channel}-{emotion}"}


NAMING = Naming(
    NAME,
    "modality, channel, emotion, intensity, group, actor, ... such as 03-01-04-01-10-36-03-03-01",
    _row,
    expected="Audio",
)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with names that follow the scheme and agree with their folder; list the others as skipped."""
    return read_names(root, config, NAMING)
