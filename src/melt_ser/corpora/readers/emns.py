"""EMNS: one woman's narrative British English for storytelling, 8 emotions, 1,181 clips.

Files: `metadata.csv`, separated by `|`, with the columns utterance, emotion, gender, level and audio_recording
(`wavs/recorded_audio_jBSPPAn.webm`). The level is that of expressiveness, from 0 to 10; it is the attribute
`intensity`. The archive has no folder `wavs`, so clips are found by their own names, in
`cleaned_webm/` or `raw_webm/`, or converted to wav. If a clip is in both folders, the cleaned one is used.
Unsure: the counts, which are EmoBox's. Of the table we have seen a public copy with 1,205 rows, of the audio nothing.
Source: Noriy et al., EMNS/Imz/ Corpus: An emotive single-speaker dataset for narrative storytelling in games,
television and graphic novels, 2023, openslr.org/136.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.corpora.ratings import Ratings
from melt_ser.corpora.readers.annotations import Record, join_clips, read_records
from melt_ser.corpora.readers.delimited import numbers
from melt_ser.corpora.readers.release import Row, annotation_file, folders, preference
from melt_ser.corpora.table import GENDER_WORDS, Release

COLUMNS = ("utterance", "emotion", "gender", "level", "audio_recording")
SCALE = (0.0, 10.0)  # of the level


def _row(name: str, record: Record) -> Row:
    return {
        "speaker": "emns",
        "gender": GENDER_WORDS.get(record["gender"].lower(), ""),
        "text": record["utterance"],
        "intensity": record["level"],
        "label": record["emotion"],
    }


def _intensity(records: Sequence[Record], path: Path) -> Ratings:
    """Return the level of each clip as an attribute; raise InputError if one is no number."""
    names = [PurePosixPath(record["audio_recording"]).stem for record in records]
    rows = pd.Series([record["level"] for record in records], range(1, len(records) + 1), "str", name="level")
    levels = pd.DataFrame({"intensity": numbers(rows, path).to_numpy()}, names)
    return Ratings(levels[~levels.index.duplicated()], {"intensity": SCALE})


def _cleaned_first(path: Path) -> tuple[bool, int]:
    return path.parent.name.lower().startswith("raw"), preference(path)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return every row of the metadata that has a clip; list the other rows and clips as skipped."""
    path = annotation_file("metadata.csv", folders(root, config, depth=1), root, config)
    _, records = read_records(path, COLUMNS, delimiters="|,")
    release = join_clips(root, config, records, "audio_recording", _row, _cleaned_first)
    return release if config.target is None else replace(release, ratings=_intensity(records, path))
