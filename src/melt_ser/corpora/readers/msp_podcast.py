"""MSP-Podcast: spontaneous English speech from podcasts, labelled by crowds; MSP-PODCAST-Publish-<version>.

`Labels/labels_consensus.csv` has the columns FileName, EmoClass, SpkrID, Gender, Split_Set (and dimensions);
the clips are in `Audios/` (older: `Audio/`), `MSP-PODCAST_0001_0008.wav`: podcast, segment. Labels are A angry,
S sad, H happy, U surprised, F fearful, D disgusted, C contemptuous, N neutral, O other, X no agreement.

The test part is Test1, the set with speakers of its own that most figures are of. Test2 (whole podcasts, fewer known
speakers) and Test3 (labels withheld) are listed as not used. Source: Lotfian and Busso, Building Naturalistic
Emotionally Balanced Speech Corpus by Retrieving Emotional Speech from Existing Podcast Recordings, IEEE Transactions
on Affective Computing, 2019; columns and names as users of releases 1.11 to 2.0 report them, not seen by us.
"""

from __future__ import annotations

from pathlib import Path

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.annotations import Record, join_clips, read_records
from melt_ser.corpora.readers.release import annotation_file, folders
from melt_ser.corpora.table import GENDER_WORDS, SPLIT_WORDS, Release

TABLE = "labels_consensus.csv"
COLUMNS = ("filename", "emoclass", "spkrid", "gender", "split_set")
USED = {**SPLIT_WORDS, "test1": "test"}


def read(root: Path, config: DatasetConfig) -> Release:
    """Every segment of Train, Development and Test1 that has a clip; other sets and segments are problems."""
    path = annotation_file(TABLE, folders(root, config), root, config)
    _, records = read_records(path, COLUMNS)

    def describe(name: str, record: Record) -> dict[str, str] | str:
        split = USED.get(record["split_set"].lower())
        if split is None:
            return f"in the set {record['split_set']}, which is not used"
        return {
            "source": f"msp_podcast/{name}",
            "split": split,
            "speaker": "" if record["spkrid"].lower() == "unknown" else record["spkrid"],
            "session": "_".join(name.split("_")[:2]),  # the podcast
            "gender": GENDER_WORDS.get(record["gender"].lower(), ""),
            "language": config.language,
            "label": record["emoclass"],
        }

    return join_clips(root, records, "filename", describe)
