"""Corpora read, verified and labelled."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path

import pandas as pd

from melt_ser.config import UNION, DatasetConfig
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.files import sha256
from melt_ser.core.paths import cache_folder
from melt_ser.corpora.corpus import GENERAL_READERS, Corpus
from melt_ser.corpora.download.hub import hub_folder
from melt_ser.corpora.label_file import relabel
from melt_ser.corpora.labels import common_label_map, map_labels
from melt_ser.corpora.rules import judge
from melt_ser.corpora.table import COLUMNS, Release, digest, encodable, validate
from melt_ser.corpora.verification import Progress, verify

NAME = re.compile(r"(?!\.)[\w.-]{1,100}")
DATA_VARIABLE = "MELT_SER_DATA"


def corpus_root(config: DatasetConfig) -> Path:
    """Where a corpus lies: bundled, `dataset.root`, `$MELT_SER_DATA/<name>`, or `data/<name>`."""
    if not NAME.fullmatch(config.name):
        raise SetupError(
            f"dataset.name '{config.name}' cannot name files and folders; "
            f"use up to 100 letters, digits, '-', '_' and '.', and no '.' in front."
        )
    if config.bundled is not None:
        return Path(__file__).parents[1] / "demo" / config.bundled
    if config.reader == UNION:
        raise SetupError(
            f"'{config.name}' is no corpus of its own: train on it with its members, dataset.members=[emodb,urdu]."
        )
    if config.repository is not None and config.root is None:
        return hub_folder(config.repository, config.revision)
    root = own_root(config)
    if not root.is_dir():
        command = f"python -m melt_ser.prepare dataset={config.name} download=true"
        raise SetupError(
            f"Corpus '{config.name}' is not at {root}; give its folder with dataset.root=<folder> "
            f"(+eval.roots.{config.name}=<folder> for a test corpus, +dataset.roots.{config.name}=<folder> for one of "
            f"a union), or put it under ${DATA_VARIABLE}. "
            f"Access: {config.access or 'not known'}." + (f" Or fetch it: {command}." if config.download else "")
        )
    return root


def own_root(config: DatasetConfig) -> Path:
    """Where a corpus lies that neither ships with the package nor comes from the hub, whether it is there or not."""
    if config.root is not None:
        return Path(config.root).expanduser()
    if os.environ.get(DATA_VARIABLE):
        return Path(os.environ[DATA_VARIABLE]).expanduser() / config.name
    return Path("data") / config.name


def report_folder(config: DatasetConfig) -> Path:
    """Where `prepare` leaves what it found out about the corpus at its root."""
    root = corpus_root(config).resolve()
    read = sha256(repr((str(root), config.table, config.label_file)))
    return cache_folder() / "corpora" / f"{config.name}-{read[:12]}"


def read_release(config: DatasetConfig) -> tuple[Path, Release]:
    """The release as its reader finds it, before any audio is decoded."""
    root = corpus_root(config)
    try:
        reader = importlib.import_module(f"melt_ser.corpora.readers.{config.reader}")
    except ModuleNotFoundError:
        raise SetupError(f"dataset.reader '{config.reader}' is not a module of melt_ser.corpora.") from None
    _refuse_what_is_not_read(config)
    release: Release = reader.read(root, config)
    if release.table.empty and release.problems:
        first = release.problems[0]
        raise InputError(
            f"Nothing of '{config.name}' under {root} can be used ({len(release.problems)} left out; the first: "
            f"{first.audio or first.utterance or 'a row'}: {first.reason}); check dataset.root."
        )
    if config.label_file is not None:
        release = relabel(release, Path(config.label_file).expanduser())
    validate(release.table, config.name)
    return release.root or root, release


def _refuse_what_is_not_read(config: DatasetConfig) -> None:
    """A setting of columns that the reader would ignore; the labels would then be others than its user thinks."""
    if config.columns and config.reader not in GENERAL_READERS:
        raise SetupError(f"dataset.columns is for csv, hub and audformat; '{config.name}' is read as it is released.")
    if config.label_column != DatasetConfig.label_column and config.reader not in ("csv", "melt"):
        raise SetupError(
            f"dataset.label_column is for melt and csv, not for '{config.name}'; "
            f"hub and audformat have +dataset.columns.label=<column>."
        )


def load_corpus(config: DatasetConfig, force: bool = False, progress: Progress | None = None) -> Corpus:
    """Read a release, verify what of its audio is not verified yet, apply the rules and map the labels.

    A union's members are loaded one after the other and united.
    Raises SetupError where the corpus is missing, InputError where its table or labels are not sound or
    no clip is usable.
    """
    if config.members:
        from melt_ser.corpora.union import unite  # which is made of this module's corpora

        if config.root is not None:
            raise SetupError(
                f"dataset.root is the folder of one corpus; give each member's own: "
                f"+dataset.roots.{config.members[0]}=<folder>."
            )
        for member in config.member_settings.values():
            corpus_root(member)  # what is missing is told before anything is verified
        return unite(config, [load_corpus(member, force, progress) for member in config.member_settings.values()])
    root, release = read_release(config)
    measures, kept = verify(root, release.table, config.maximum_seconds, force, progress)
    if not kept:
        release.notes.append(f"the verification could not be kept in {cache_folder()}; it is repeated next time")
    clips = pd.concat([release.table.drop(columns="duration"), measures], axis=1)
    clips["reason"] = judge(clips, config)
    refused = clips["reason"].notna()
    dropped = pd.concat([_problems(release), clips.loc[refused, ["utterance", "audio", "reason"]]], ignore_index=True)
    if refused.all():
        raise InputError(
            f"No clip of '{config.name}' under {root} is usable ({len(dropped)} dropped; the first: "
            f"{dropped['audio'].iloc[0]}: {dropped['reason'].iloc[0]})."
        )
    clips["duration"] = clips["duration"].round(4)
    table = clips.loc[~refused, [*COLUMNS, "content_hash", "sample_rate"]].reset_index(drop=True)
    own_labels = config.label_file is not None or (config.reader in GENERAL_READERS and not config.bundled)
    common = common_label_map(table["label"]) if own_labels else {}
    label_map = {**common, **config.label_map}
    table["emotion"] = map_labels(table["label"], label_map, config.name)
    if "other_label" in clips:
        other = clips.loc[~refused, "other_label"].reset_index(drop=True)
        table["other_emotion"] = map_labels(other, label_map, config.name)
    elif config.both_labels:
        raise SetupError(f"dataset.both_labels is for melt and melt_human; '{config.name}' has one label a row.")
    return Corpus(config, root, table, clips, dropped, release.notes, digest(table))


def _problems(release: Release) -> pd.DataFrame:
    columns = ["utterance", "audio", "reason"]
    rows = [[encodable(getattr(problem, column)) for column in columns] for problem in release.problems]
    return pd.DataFrame(rows, columns=columns, dtype="str")
