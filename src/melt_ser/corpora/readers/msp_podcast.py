"""MSP-Podcast: spontaneous English speech from podcasts, labelled by crowds; MSP-PODCAST-Publish-<version>.

Files: `Labels/labels_consensus.csv` with the columns FileName, EmoClass, SpkrID, Gender, Split_Set and, for the
attributes from 1 to 7, EmoAct, EmoVal, EmoDom; `labels_detailed.csv` beside it, with a row for each worker's rating
(msp_ratings.py), in a column EmoDetail or in columns of its own; and the clips in `Audios/` (older releases: `Audio/`).
A name such as `MSP-PODCAST_0001_0008.wav` is podcast and segment. Labels are A angry, S sad, H happy, U surprised, F
fearful, D disgusted, C contemptuous, N neutral, O other, X no agreement. The test part is Test1, the set with speakers
of its own, on which most figures are published. Test2 (segments of whole podcasts, drawn at random) is a corpus of its
own, dataset=msp_podcast_test2. Test3 (labels withheld) is not used.
In release 2.0 the official parts share speakers: Development one with Test1 and three with Test2, Train two with Test2;
44,436 turns of Train have an unknown speaker. `conf/dataset/msp_podcast.yaml` therefore allows shared speakers, and the
result counts them.
Unsure: columns and names. Users of releases 1.11 to 2.0 report them; we have not seen the files. Our tests read
generated trees with these names.
Source: Lotfian and Busso, Building Naturalistic Emotionally Balanced Speech Corpus by Retrieving Emotional Speech from
Existing Podcast Recordings, IEEE Transactions on Affective Computing, 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import SetupError
from melt_ser.corpora.readers.annotations import Record, join_clips, read_records
from melt_ser.corpora.readers.msp_ratings import Single, parse_rating, rating, ratings_from
from melt_ser.corpora.readers.release import Row, Unused, annotation_file, folders
from melt_ser.corpora.table import GENDER_WORDS, SPLIT_WORDS, Release

SCALE = (1.0, 7.0)
ATTRIBUTES = {"arousal": "emoact", "valence": "emoval", "dominance": "emodom"}
COLUMNS = ("filename", "emoclass", "spkrid", "gender", "split_set")
SETS = {**SPLIT_WORDS, "test1": "test"}
TEST2 = {"test2": "test"}  # dataset=msp_podcast_test2


def _row(name: str, record: Record, sets: Mapping[str, str]) -> Row:
    split = sets.get(record["split_set"].lower())
    if split is None:
        raise Unused(f"in the set {record['split_set']}, which is not used")
    return {
        "split": split,
        "speaker": "" if record["spkrid"].lower() == "unknown" else record["spkrid"],
        "session": "_".join(name.split("_")[:2]),  # the podcast
        "gender": GENDER_WORDS.get(record["gender"].lower(), ""),
        "label": record["emoclass"],
    }


def read(root: Path, config: DatasetConfig) -> Release:
    """Return every segment of Train, Development and Test1 that has a clip; list the others as skipped.

    With `dataset.parts=[Test2]` these are the segments of Test2, as a test part.
    """
    if config.parts not in (None, ["Test2"]):
        raise SetupError(f"dataset.parts of '{config.name}' is null (Train, Development, Test1) or [Test2].")
    sets = SETS if config.parts is None else TEST2
    path = annotation_file("labels_consensus.csv", folders(root, config), root, config)
    _, records = read_records(path, COLUMNS)
    release = join_clips(root, config, records, "filename", partial(_row, sets=sets))
    if config.target is None:
        return release
    consensus = {
        PurePosixPath(record["filename"]).stem: {name: record.get(column, "") for name, column in ATTRIBUTES.items()}
        for record in records
    }
    ratings, notes = _of_workers(path.with_name("labels_detailed.csv"))
    return replace(release, ratings=ratings_from(consensus, ratings, SCALE), notes=[*release.notes, *notes])


def _of_workers(path: Path) -> tuple[list[Single], list[str]]:
    """Return the ratings in the table of the workers, and a note on lines that are none; [] if there is no table."""
    if not path.is_file():
        return [], []
    columns, records = read_records(path, ("filename",))
    found: list[Single] = []
    for record in records:
        name = PurePosixPath(record["filename"]).stem
        if "emodetail" in columns:
            parsed = parse_rating(name, record["emodetail"])
        else:
            attributes = {ours: record.get(column, "") for ours, column in ATTRIBUTES.items()}
            worker, word = record.get("workers", ""), record.get("emoclass_major", "")
            parsed = rating(name, worker, word, attributes) if worker and word else None
        found += [parsed] if parsed is not None else []
    wrong = len(records) - len(found)
    return found, [f"{wrong} rows of {path.name} are no rating of a worker"] if wrong else []
