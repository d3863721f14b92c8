"""nEMO: acted Polish, 9 speakers, 90 sentences, 6 emotions, 4,481 clips.

Files: `data.tsv`, separated by tabs, with the columns file_id, emotion, raw_text, normalized_text, speaker_id, gender,
age; and the clips `samples/<file_id>`. A name such as `WR0_surprised_64.wav` is speaker, emotion and sentence.
Source: Christop, nEMO: Dataset of Emotional Speech in Polish, LREC-COLING 2024, and its repository, amu-cai/nEMO.
"""

from __future__ import annotations

from pathlib import Path

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.annotations import Record, join_clips, read_records
from melt_ser.corpora.readers.release import Row, annotation_file, folders
from melt_ser.corpora.table import GENDER_WORDS, Release

COLUMNS = ("file_id", "emotion", "raw_text", "speaker_id", "gender")


def _row(name: str, record: Record) -> Row:
    return {
        "speaker": record["speaker_id"],
        "gender": GENDER_WORDS.get(record["gender"].lower(), ""),
        "text": record["raw_text"],
        "label": record["emotion"],
    }


def read(root: Path, config: DatasetConfig) -> Release:
    """Return every row of the table that has a clip; list the other rows and clips as skipped."""
    path = annotation_file("data.tsv", folders(root, config, depth=1), root, config)
    _, records = read_records(path, COLUMNS, delimiters="\t")
    return join_clips(root, config, records, "file_id", _row)
