"""EMNS: one woman's narrative British English for storytelling, 8 emotions, 1,181 clips.

`metadata.csv`, separated by `|`, has the columns utterance, emotion, gender, level and audio_recording
(`wavs/recorded_audio_jBSPPAn.webm`, a name that the archive's folder does not bear: clips are found by their own
names, in `cleaned_webm/` or `raw_webm/`, or converted to wav; cleaned ones go first). Source: Noriy et al., EMNS/Imz/
Corpus: An emotive single-speaker dataset for narrative storytelling in games, television and graphic novels, 2023,
openslr.org/136; its files were not seen by us: the columns are those that users of it read, the counts EmoBox's.
"""

from __future__ import annotations

from pathlib import Path

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.annotations import Record, join_clips, read_records
from melt_ser.corpora.readers.release import annotation_file, folders, preference
from melt_ser.corpora.table import GENDER_WORDS, Release

COLUMNS = ("utterance", "emotion", "gender", "level", "audio_recording")


def read(root: Path, config: DatasetConfig) -> Release:
    """Every recording of the metadata that has a clip; the speaker is the only one."""
    path = annotation_file("metadata.csv", folders(root, config, depth=1), root, config)
    _, records = read_records(path, COLUMNS, delimiters="|,")

    def describe(name: str, record: Record) -> dict[str, str]:
        return {
            "source": f"emns/{name}",
            "speaker": "emns",
            "gender": GENDER_WORDS.get(record["gender"].lower(), ""),
            "language": config.language,
            "text": record["utterance"],
            "intensity": record["level"],
            "label": record["emotion"],
        }

    return join_clips(root, records, "audio_recording", describe, _cleaned_first)


def _cleaned_first(path: Path) -> tuple[bool, int]:
    return path.parent.name.lower().startswith("raw"), preference(path)
