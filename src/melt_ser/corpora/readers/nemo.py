"""nEMO: acted Polish, 9 speakers, 90 sentences, 6 emotions, 4,481 clips.

`data.tsv`, separated by tabs, has the columns file_id, emotion, raw_text, normalized_text, speaker_id, gender, age;
the clips are `samples/<file_id>`: `WR0_surprised_64.wav` is speaker, emotion, sentence. Source: Christop, nEMO:
Dataset of Emotional Speech in Polish, LREC-COLING 2024, and its repository, amu-cai/nEMO.
"""

from __future__ import annotations

from pathlib import Path

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.annotations import Record, join_clips, read_records
from melt_ser.corpora.readers.release import annotation_file, folders
from melt_ser.corpora.table import GENDER_WORDS, Release

COLUMNS = ("file_id", "emotion", "raw_text", "speaker_id", "gender")


def read(root: Path, config: DatasetConfig) -> Release:
    """Every row of the table that has a clip."""
    path = annotation_file("data.tsv", folders(root, config, depth=1), root, config)
    _, records = read_records(path, COLUMNS, delimiters="\t")

    def describe(name: str, record: Record) -> dict[str, str]:
        return {
            "source": f"nemo/{name}",
            "speaker": record["speaker_id"],
            "gender": GENDER_WORDS.get(record["gender"].lower(), ""),
            "language": config.language,
            "text": record["raw_text"],
            "label": record["emotion"],
        }

    return join_clips(root, records, "file_id", describe)
