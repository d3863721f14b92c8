"""A corpus in shards: tar files in WebDataset's layout, or parquet files with the audio inside, read in place.

A sample of a tar file is the members with the same key, such as `anna/7.flac` and `anna/7.json`; a row of a parquet
file is one too (`audio.shard_index`). Its data become columns of the corpus table by the same
names, common names and settings as those of a CSV (`dataset.columns`). Its audio keeps its place:
`train-0001.tar/anna/7.flac` is a path like any other, in the table, in label files and in results.

The split is that of the data, or the word that the name of a shard or its folder begins with (`train-0001.tar`).
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pyarrow

from melt_ser.audio.shard_index import DATA, KEY, MEMBER, index_of, is_parquet
from melt_ser.config import DatasetConfig
from melt_ser.core.console import Progress
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.readers.columns import columns_of, find_columns
from melt_ser.corpora.readers.csv import release_of, require_columns
from melt_ser.corpora.readers.release import not_found, visible_files
from melt_ser.corpora.table import SPLIT_WORDS, Release

COMPRESSED = re.compile(r"\.(?:tar\.\w+|tgz|tbz2?|txz)$", re.IGNORECASE)
FIRST_WORD = re.compile(r"[a-z]+")


def read(root: Path, config: DatasetConfig) -> Release:
    """Return every sample that has audio and a label; list the others as skipped.

    Raises SetupError if there are no shards, InputError if a shard is damaged or two shards have a sample of one name.
    """
    shards = _shards(root, config)
    tables = []
    with Progress("indexing shards", len(shards)) as shown:
        for shard in shards:
            index = index_of(shard)
            name = shard.relative_to(root).as_posix()
            tables.append(index.append_column("shard", pyarrow.repeat(pyarrow.scalar(name), len(index))))
            shown.advance()
    samples = pyarrow.concat_tables(tables, promote_options="default").to_pandas().fillna("").astype({"shard": "str"})
    _refuse_repeated(samples, root)
    present = sorted(column.removeprefix(DATA) for column in samples if column.startswith(DATA))
    columns, notes = find_columns(present, {**columns_of(config), "audio": None}, root)
    require_columns({**columns, "audio": ""}, present, root, config)
    ours = pd.DataFrame({our: samples[DATA + their] for our, their in columns.items()}, samples.index)
    has_audio = samples[MEMBER] != ""
    ours["audio"] = (samples["shard"] + "/" + samples[MEMBER]).where(has_audio, "")
    for column, own in (("utterance", samples[KEY]), ("source", f"{config.name}/" + samples[KEY])):
        ours[column] = ours[column].where(ours[column] != "", own) if column in ours else own
    if "split" not in ours:
        ours["split"] = samples["shard"].map({name: _split_of(name) for name in samples["shard"].unique()})
        if ours["split"].nunique() == 1:
            ours["split"] = ""
    ignored = [column for column in present if column not in columns.values()]
    notes += [f"data that are not used: {', '.join(ignored)}"] if ignored else []
    release = release_of(ours, root, root, config, is_found=True)
    release.notes = notes + release.notes
    return release


def _shards(root: Path, config: DatasetConfig) -> list[Path]:
    """Return the shards below a folder, sorted by path."""
    if not root.is_dir():
        raise not_found(root, config)
    files = visible_files(root)
    for path in files:
        if COMPRESSED.search(path.name):
            raise InputError(f"{path}: is compressed, so that no recording in it can be found; decompress it.")
    shards = [path for path in files if path.suffix.lower() == ".tar" or is_parquet(path)]
    if not shards:
        raise SetupError(f"There is no shard (.tar or .parquet) below {root}; set dataset.root to their folder.")
    return shards


def _refuse_repeated(samples: pd.DataFrame, root: Path) -> None:
    repeated = samples[KEY].duplicated()
    if repeated.any():
        key = samples[KEY][repeated].iloc[0]
        first, second = samples["shard"][samples[KEY] == key].iloc[:2]
        raise InputError(f"{root / first} and {root / second} both have the key '{key}'; rename one.")


def _split_of(shard: str) -> str:
    """Return the split that the name of a shard, or of a folder above it, begins with; "" if none does."""
    for part in reversed(shard.lower().split("/")):
        word = FIRST_WORD.match(part)
        if word and word[0] in SPLIT_WORDS:
            return SPLIT_WORDS[word[0]]
    return ""
