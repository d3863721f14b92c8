"""Emozionalmente: Italian sentences acted by a crowd of 431 amateurs, 7 emotions, 6,902 clips.

Files: `metadata/samples.csv` with the columns file_name, sentence, sentence_language, actor, emotion_expressed;
`metadata/users.csv` with username, gender, age, mother_tongue; and the clips in `audio/`. The label is the emotion that
the actor meant to express. A column `split` (or `set`) of samples.csv is read as the official split; without it,
dataset.protocol=official is refused.
Unsure: the form of the split. The paper of 2025 has one, the files of the first release (2022) do not, and we have not
seen later files.
Source: Catania et al., Emozionalmente: A Crowdsourced Corpus of Simulated Emotional Speech in Italian, IEEE/ACM TASLP
2025, zenodo.org/records/6569824; columns and counts from its files.
"""

from __future__ import annotations

from pathlib import Path

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError
from melt_ser.corpora.readers.annotations import Record, join_clips, read_records
from melt_ser.corpora.readers.release import Row, annotation_file, folders
from melt_ser.corpora.table import GENDER_WORDS, SPLIT_WORDS, Release

COLUMNS = ("file_name", "sentence", "actor", "emotion_expressed")
USER_COLUMNS = ("username", "gender")
SPLIT_COLUMNS = ("split", "set")


def read(root: Path, config: DatasetConfig) -> Release:
    """Return every sample that has a clip; list the others as skipped. A note says if a needed split is missing."""
    searched = folders(root, config, depth=2)
    path = annotation_file("samples.csv", searched, root, config)
    columns, records = read_records(path, COLUMNS)
    _, users = read_records(annotation_file("users.csv", searched, root, config), USER_COLUMNS)
    genders = {user["username"]: GENDER_WORDS.get(user["gender"].lower(), "") for user in users}
    split_column = next((column for column in SPLIT_COLUMNS if column in columns), None)

    def row(name: str, record: Record) -> Row:
        split = record[split_column] if split_column else ""
        if split.lower() not in SPLIT_WORDS:
            raise InputError(
                f"{path}: the split of {name} is '{split}'; it must be {', '.join(filter(None, SPLIT_WORDS))}."
            )
        return {
            "split": SPLIT_WORDS[split.lower()],
            "speaker": record["actor"],
            "gender": genders.get(record["actor"], ""),
            "text": record["sentence"],
            "label": record["emotion_expressed"],
        }

    release = join_clips(root, config, records, "file_name", row)
    if split_column is None and config.folds is None:
        release.notes.append(f"{path.name} has no split column: train with dataset.protocol=speaker_folds")
    return release
