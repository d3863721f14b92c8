"""The partitions of EMO-SUPERB: the shares of each clip's votes, and the folds; of the user's own checkout.

`<checkout>/data/<CORPUS>/<Primary or Secondary>/labels_consensus_<k>.csv` is fold k. Its first column is the file of a
clip, a column for each class has its share of the votes, and the last one, Split_Set, is Train, Development or Test.
EmoAct, EmoVal, EmoDom, SpkrID and Gender may be among the others. Every fold has the same shares, mixed with 5 % of an
equal distribution, which does not change the classes above 1 / classes. The audio is in `data/<CORPUS>/Audios` of the
checkout, or with `dataset.checkout` anywhere below the root. Nothing of EMO-SUPERB is copied here.
In IEMOCAP and MSP-IMPROV SpkrID is the session and Gender is that of the person who speaks: together they name a
speaker.
Unsure: the tables of MSP-Podcast and BIIC-Podcast, of which we have seen an older one alone. The columns that the
repository's own code needs (the first, Split_Set and those of the classes) are the only ones that we need.
Source: Wu et al., EMO-SUPERB: An In-depth Look at Speech Emotion Recognition, 2024; its repository,
github.com/EMOsuperb/EMO-SUPERB-submission, and the supplementary material there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.package import expanded
from melt_ser.corpora.ratings import Ratings, Scale
from melt_ser.corpora.readers.annotations import Record, join_clips
from melt_ser.corpora.readers.columns import listed
from melt_ser.corpora.readers.delimited import numbers, read_table
from melt_ser.corpora.readers.release import Row
from melt_ser.corpora.table import FOLD, GENDER_WORDS, SPLIT_WORDS, Release

PARTS = "split_set"
ATTRIBUTES = {"arousal": "emoact", "valence": "emoval", "dominance": "emodom"}
RELEASES = {
    "IEMOCAP": "iemocap",
    "CREMA-D": "crema_d",
    "IMPROV": "msp_improv",
    "PODCAST": "msp_podcast",
    "NNIME": "nnime",
    "BIIC_PODCAST": "biic_podcast",
}
"""The folders of the corpora, and the names of their recordings here: a clip has one source in every corpus."""
SCALES = {"PODCAST": (1.0, 7.0), "BIIC_PODCAST": (1.0, 7.0)}  # the others have 1 to 5


def read(root: Path, config: DatasetConfig) -> Release:
    """Return every clip of the partition that has a file, with its shares and its part in each fold.

    Raises SetupError if the checkout lacks the partition, InputError if its tables are not sound.
    """
    checkout = root if config.checkout is None else expanded(config.checkout)
    corpus = (config.subset or "").partition("/")[0]
    if corpus not in RELEASES:
        raise SetupError(f"dataset.subset is a corpus and a kind such as IEMOCAP/Secondary, not {config.subset}.")
    paths = _paths(checkout, config)
    tables = [_read(path, config) for path in paths]
    for number, table in enumerate(tables[1:], start=2):
        if not table.drop(columns=PARTS).sort_index().equals(tables[0].drop(columns=PARTS).sort_index()):
            raise InputError(
                f"Fold {number} of {checkout / 'data' / str(config.subset)} has other clips or votes than fold 1; "
                f"check the repository out again."
            )
    audio = root if config.checkout is not None else root / "data" / corpus / "Audios"
    if not audio.is_dir():
        raise SetupError(
            f"The audio of '{config.name}' is not in {audio}; put it there, or set dataset.root to the release and "
            f"dataset.checkout to the checkout."
        )
    columns = ["clip", *map(str, tables[0])]
    records = [dict(zip(columns, row, strict=True)) for row in tables[0].itertuples(name=None)]

    def row(name: str, record: Record) -> Row:
        gender = GENDER_WORDS.get(record.get("gender", "").lower(), "")
        speaker = record.get("spkrid", "")
        known = speaker and speaker.lower() != "unknown"
        return {
            "source": f"{RELEASES[corpus]}/{name}",
            "speaker": f"{speaker}{gender[:1].upper()}" if known else "",
            "gender": gender,
            "label": "",
        }

    release = join_clips(audio, config, records, "clip", row, needs_label=False)
    parts = {f"{FOLD}{number}": table[PARTS] for number, table in enumerate(tables, start=1)}
    names = release.table["utterance"]
    annotated = release.table.assign(**{fold: names.map(of_clip) for fold, of_clip in parts.items()})
    ratings = _ratings(tables[0], paths[0], config, SCALES.get(corpus, (1.0, 5.0)))
    return replace(release, root=audio, annotated=annotated, ratings=ratings)


def _paths(checkout: Path, config: DatasetConfig) -> list[Path]:
    """Return the tables of the folds, from 1 up; raise SetupError if there is none, InputError if one is missing."""
    folder = checkout / "data" / str(config.subset)
    found = len(list(folder.glob("labels_consensus_*.csv")))
    if not found:
        raise SetupError(
            f"EMO-SUPERB's tables of '{config.name}' are not in {folder}; set dataset.checkout, or dataset.root if the "
            f"audio is there too, to a checkout of github.com/EMOsuperb/EMO-SUPERB-submission."
        )
    paths = [folder / f"labels_consensus_{number}.csv" for number in range(1, found + 1)]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputError(f"{missing[0]} is missing, but {folder} has {found} folds; check the repository out again.")
    return paths


def _read(path: Path, config: DatasetConfig) -> pd.DataFrame:
    """Return a table by the names of its clips, with our words for its parts."""
    table = read_table(path, (PARTS,))
    missing = [label for label in config.label_map if label.lower() not in table]
    if missing:
        raise InputError(f"{path} has no column '{missing[0]}'; its columns are: {listed(map(str, table))}.")
    unknown = table[PARTS][~table[PARTS].str.lower().isin({*SPLIT_WORDS} - {""})]
    if len(unknown):
        raise InputError(
            f"{path}, row {unknown.index[0] + 1}: '{unknown.iloc[0]}' is no part; it is Train, Development or Test."
        )
    table[PARTS] = table[PARTS].str.lower().map(SPLIT_WORDS)
    table.index = pd.Index([PurePosixPath(name).stem for name in table.iloc[:, 0]])
    repeated = table.index[table.index.duplicated()]
    if len(repeated):
        raise InputError(f"{path} has the clip '{repeated[0]}' twice; check the repository out again.")
    return table


def _ratings(table: pd.DataFrame, path: Path, config: DatasetConfig, scale: Scale) -> Ratings:
    """Return the shares of the classes, and the attributes that the table has."""
    rows = table.set_axis(range(1, len(table) + 1))  # errors name the row
    votes = {label: numbers(rows[label.lower()], path) for label in config.label_map}
    present = {name: numbers(rows[column], path) for name, column in ATTRIBUTES.items() if column in rows}
    attributes, shares = (pd.DataFrame(columns, rows.index).set_axis(table.index) for columns in (present, votes))
    return Ratings(attributes, dict.fromkeys(present, scale), shares)
