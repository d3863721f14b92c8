"""A corpus ready for use: its release read, its audio verified once, its labels mapped.

Verification decodes every clip and measures its duration; the outcome is kept in the cache folder
(`$MELT_SER_CACHE`, else `~/.cache/melt_ser`) under a key of everything it depends on, the size and time of
each audio file among it, so that it is done once and never goes stale.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from melt_ser import files
from melt_ser.audio.verify import verify_clip
from melt_ser.config import DatasetConfig
from melt_ser.corpora.download_hub import hub_folder
from melt_ser.corpora.table import COLUMNS, SECONDS, Release, digest, encodable, make_table, validate
from melt_ser.errors import InputError, OutputError, SetupError
from melt_ser.labels import LabelSpace, common_label_map, map_labels

GENERAL_READERS = ("csv", "hub", "audformat_database")  # of any corpus, so common words for emotions are known
VERIFICATION_VERSION = 3  # raise it when a rule of verification changes
NAME = re.compile(r"(?!\.)[\w.-]{1,100}")
DATA_VARIABLE = "MELT_SER_DATA"
CACHE_VARIABLE = "MELT_SER_CACHE"

Progress = Callable[[Iterator[object], int], Iterator[object]]


@dataclass
class Corpus:
    """A verified corpus; `table` has the columns of `COLUMNS` and `emotion` (None: not used)."""

    config: DatasetConfig
    root: Path
    table: pd.DataFrame
    dropped: pd.DataFrame  # utterance, audio, reason: what the release has and the table has not
    notes: list[str]
    digest: str
    folder: Path  # of the stored verification: table.csv and dropped.csv

    @property
    def name(self) -> str:
        return self.config.name

    def usable(self, space: LabelSpace) -> tuple[pd.DataFrame, Counter[str]]:
        """The rows that have a class in the label space, with a `class` column; and why others are left out."""
        classes = space.classify(self.table["emotion"])
        left_out = Counter[str]()
        for label, emotion in self.table.loc[classes.isna(), ["label", "emotion"]].itertuples(index=False):
            reason = "maps to null" if emotion is None else f"({emotion}) is not in the classes"
            left_out[f"label '{label}' {reason}"] += 1
        return self.table.assign(**{"class": classes})[classes.notna()], left_out


def corpus_root(config: DatasetConfig) -> Path:
    """Where a corpus lies: bundled, `dataset.root`, `$MELT_SER_DATA/<name>`, or `data/<name>`."""
    if not NAME.fullmatch(config.name):
        raise SetupError(
            f"dataset.name '{config.name}' cannot name files and folders; "
            f"use up to 100 letters, digits, '-', '_' and '.', and no '.' in front."
        )
    if config.bundled is not None:
        return Path(__file__).parents[1] / "demo" / config.bundled
    if config.repository is not None and config.root is None:
        return hub_folder(config.repository, config.revision, cache_folder())
    if config.root is not None:
        root = Path(config.root).expanduser()
    elif os.environ.get(DATA_VARIABLE):
        root = Path(os.environ[DATA_VARIABLE]).expanduser() / config.name
    else:
        root = Path("data") / config.name
    if not root.is_dir():
        raise SetupError(
            f"Corpus '{config.name}' is not at {root}; give its folder with dataset.root=<folder> "
            f"(+eval.roots.{config.name}=<folder> for a test corpus), or put it under ${DATA_VARIABLE}. "
            f"Access: {config.access or 'not known'}."
        )
    return root


def cache_folder() -> Path:
    """The folder for what can be computed again."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "melt_ser").expanduser()


def read_release(config: DatasetConfig) -> tuple[Path, Release]:
    """The release as its reader finds it, before any audio is decoded."""
    root = corpus_root(config)
    try:
        reader = importlib.import_module(f"melt_ser.corpora.{config.reader}")
    except ModuleNotFoundError:
        raise SetupError(f"dataset.reader '{config.reader}' is not a module of melt_ser.corpora.") from None
    release: Release = reader.read(root, config)
    if release.table.empty and release.problems:
        first = release.problems[0]
        raise InputError(
            f"Nothing of '{config.name}' under {root} can be used ({len(release.problems)} left out; the first: "
            f"{first.audio or first.utterance or 'a row'}: {first.reason}); check dataset.root."
        )
    validate(release.table, config.name)
    return release.root or root, release


def load_corpus(config: DatasetConfig, force: bool = False, progress: Progress | None = None) -> Corpus:
    """Read a release, verify its audio (or reuse an unchanged verification) and map its labels.

    Raises SetupError where the corpus is missing, InputError where its table or labels are not sound or
    no clip is usable.
    """
    root, release = read_release(config)
    folder = cache_folder() / "corpora" / f"{config.name}-{_key(root, release, config)[:20]}"
    stored = None if force else _stored(folder)
    if stored is not None:
        verified, dropped = stored
    else:
        verified, dropped = _verify(root, release, config, progress)
        try:
            _store(folder, verified, dropped)
        except OutputError:  # a full or read-only cache costs time, not the run
            release.notes.append(f"the verification could not be kept in {cache_folder()}; it is repeated next time")
    if verified.empty:
        raise InputError(
            f"No clip of '{config.name}' under {root} is usable ({len(dropped)} dropped; the first: "
            f"{dropped['audio'].iloc[0]}: {dropped['reason'].iloc[0]})."
        )
    common = common_label_map(verified["label"]) if config.reader in GENERAL_READERS and not config.bundled else {}
    label_map = {**common, **config.label_map}
    table = verified.assign(emotion=map_labels(verified["label"], label_map, config.name))
    return Corpus(config, root, table, dropped, release.notes, digest(verified), folder)


def _key(root: Path, release: Release, config: DatasetConfig) -> str:
    def stamp(audio: str) -> str:
        try:
            status = (root / audio).stat()
        except (OSError, ValueError):  # ValueError: a path with a null character
            return "missing"
        return f"{status.st_size}:{status.st_mtime_ns}"

    stamps = {audio: stamp(audio) for audio in release.table["audio"].unique()}
    rules = (VERIFICATION_VERSION, config.minimum_seconds, config.maximum_seconds)
    parts = [
        repr(rules),
        str(root.resolve()),
        digest(release.table),
        repr(sorted(stamps.items())),
        repr(release.problems),
    ]
    return files.sha256("\n".join(parts))


def _verify(
    root: Path, release: Release, config: DatasetConfig, progress: Progress | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = release.table

    def verify(row: tuple[str, float, float]) -> object:
        audio, start, end = row
        return verify_clip(
            root,
            audio,
            None if pd.isna(start) else start,
            None if pd.isna(end) else end,
            config.minimum_seconds,
            config.maximum_seconds,
        )

    rows = list(table[["audio", "start", "end"]].itertuples(index=False, name=None))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # the decoders release the interpreter's lock
        outcomes = pool.map(verify, rows)
        results = list(progress(outcomes, len(rows)) if progress else outcomes)
    reasons = pd.Series([result.reason for result in results], index=table.index, dtype=object)  # type: ignore[attr-defined]
    durations = [result.duration for result in results]  # type: ignore[attr-defined]
    verified = table.assign(duration=pd.Series(durations, index=table.index, dtype="float64").round(4))
    bad = verified.assign(reason=reasons)[reasons.notna()][["utterance", "audio", "reason"]]
    problems = pd.DataFrame(
        [map(encodable, (problem.utterance, problem.audio, problem.reason)) for problem in release.problems],
        columns=["utterance", "audio", "reason"],
    )
    dropped = pd.concat([problems, bad], ignore_index=True)
    return verified[reasons.isna()].reset_index(drop=True), dropped


def _store(folder: Path, table: pd.DataFrame, dropped: pd.DataFrame) -> None:
    with files.replacing_folder(folder) as temporary:
        files.write_csv(temporary / "table.csv", table)
        files.write_csv(temporary / "dropped.csv", dropped)
        files.write_text(temporary / "checksum", _checksum(temporary))


def _checksum(folder: Path) -> str:
    content = b"".join((folder / name).read_bytes() for name in ("table.csv", "dropped.csv"))
    return hashlib.sha256(content).hexdigest()


def _stored(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """The verification that `_store` kept; None where there is none, or it is not as it was written."""
    try:
        if (folder / "checksum").read_bytes() != _checksum(folder).encode():
            return None
    except OSError:
        return None
    types = {column: "float64" if column in SECONDS else "str" for column in COLUMNS}
    empty = {column: [""] for column in SECONDS}
    table = pd.read_csv(folder / "table.csv", dtype=types, keep_default_na=False, na_values=empty)
    dropped = pd.read_csv(folder / "dropped.csv", dtype=str, keep_default_na=False)
    return make_table(table[list(COLUMNS)]), dropped
