"""Load a corpus: find its folder, read the release, verify its audio, apply the rules and map its labels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from melt_ser.config import UNION, DatasetConfig, Target
from melt_ser.core.errors import InputError, SetupError, encodable
from melt_ser.core.files import sha256
from melt_ser.core.package import cache_folder, expanded
from melt_ser.core.places import refuse_unfit_name
from melt_ser.core.vocabulary import COLUMNS, GENERAL_READERS
from melt_ser.corpora.corpus import Corpus, unite
from melt_ser.corpora.download.audb import audb_folder
from melt_ser.corpora.download.hub import hub_folder
from melt_ser.corpora.label_file import relabel
from melt_ser.corpora.label_file_ratings import rate_again
from melt_ser.corpora.labels import LISTED, common_label_map, map_labels, unused_entries_note
from melt_ser.corpora.rater_table import read_raters
from melt_ser.corpora.ratings import Ratings, joined, with_scales
from melt_ser.corpora.reader import find_reader, is_in_package, is_own_corpus, read_with
from melt_ser.corpora.table import Release, digest, validate
from melt_ser.corpora.targets import WITH_ATTRIBUTES, WITHOUT, target_of
from melt_ser.corpora.verification import Progress, header_notes, judge, verify
from melt_ser.corpora.word_table import with_words

DATA_VARIABLE = "MELT_SER_DATA"
READ_BY = {
    "table": ("csv",),
    "parts": ("hub", "audformat_database", "msp_podcast"),
    "subset": ("hub", "emo_superb"),
    "checkout": ("emo_superb",),
}
"""Settings that few of the package's readers read."""

OF_ONE_CORPUS = (
    *("table", "label_file", "label_map", "label_column", "words", "columns", "raters", "rater_vote"),
    *("attributes", "votes", "parts", "subset", "checkout", "repository", "revision", "download", "bundled", "emobox"),
    *("dev_fraction", "minimum_seconds", "maximum_seconds"),
)
"""Settings of `dataset` that a union takes from its members."""


def corpus_root(config: DatasetConfig) -> Path:
    """Return the folder of a corpus: in this package (`bundled`), in a cache (from the hub or audb), or `own_root`.

    Raises SetupError if it is not there, if `dataset.name` is no valid file name, or for a union (it has no folder).
    """
    refuse_unfit_name("dataset.name", config.name)
    if config.bundled is not None:
        return Path(__file__).parents[1] / "demo" / config.bundled
    if config.reader == UNION:
        raise SetupError(
            f"'{config.name}' is no corpus of its own: train on it with its members, dataset.members=[emodb,urdu]."
        )
    if config.repository is not None and config.root is None:
        folder_of = audb_folder if config.reader == "audformat_database" else hub_folder
        return folder_of(config.repository, config.revision)
    root = own_root(config)
    if not root.is_dir():
        if config.table is not None and config.root is None:
            raise SetupError(
                f"There is no table {config.table}; set dataset.table to its path, or dataset.root to the folder that "
                f"the table and its audio lie in."
            )
        command = f"python -m melt_ser.prepare dataset={config.name} download=true"
        raise SetupError(
            f"Corpus '{config.name}' is not at {root}; give its folder with dataset.root=<folder> "
            f"(+eval.roots.{config.name}=<folder> for a test corpus, +dataset.roots.{config.name}=<folder> for one of "
            f"a union), or put it under ${DATA_VARIABLE}. "
            f"Access: {config.access or 'not known'}." + (f" Or fetch it: {command}." if config.download else "")
        )
    return root


def own_root(config: DatasetConfig) -> Path:
    """Return `dataset.root`, `$MELT_SER_DATA/<name>` or `data/<name>`, whether the folder exists or not.

    If none of them is there and `dataset.table` is a file, return the folder of that table.
    """
    if config.root is not None:
        return expanded(config.root)
    variable = os.environ.get(DATA_VARIABLE)
    root = (expanded(variable) if variable else Path("data")) / config.name
    if config.table is not None and config.bundled is None and not root.is_dir():
        table = expanded(config.table)
        if table.is_file():  # named by itself: its paths start at its own folder
            return table.absolute().parent
    return root


def report_folder(config: DatasetConfig) -> Path:
    """Return the folder for the report of `prepare`; raise SetupError if the corpus is missing."""
    root = corpus_root(config).resolve()
    words = () if config.words is None else (config.words,)  # so that older folders keep their names
    release = sha256(repr((str(root), config.table, config.label_file, *words)))
    return cache_folder() / "corpora" / f"{config.name}-{release[:12]}"


def read_release(config: DatasetConfig) -> tuple[Path, Release]:
    """Return the folder of the audio, and the release as its reader sees it, before any audio is decoded.

    Raises SetupError if the corpus is missing or a setting does not fit it, InputError if nothing in it can be used.
    """
    root = corpus_root(config)
    reader = find_reader(config.reader)
    _refuse_unread_settings(config)
    release = read_with(reader, root, config)
    if release.table.empty and release.skipped:
        first = release.skipped[0]
        raise InputError(
            f"Nothing of '{config.name}' under {root} can be used ({len(release.skipped)} left out; the first: "
            f"{first.audio or first.utterance or 'a row'}: {first.reason}); check dataset.root."
        )
    folder = release.root = release.root or root
    if config.label_file is not None:
        labels = expanded(config.label_file)
        release = relabel(release, labels, needs_label=config.target not in WITHOUT)
        release = release if config.target in (None, Target.label) else rate_again(release, labels, config)
    if config.words is not None:
        release = with_words(release, expanded(config.words))
    if config.raters is not None:
        rated, notes = read_raters(release, root, config)
        release = replace(release, ratings=joined(release.ratings, rated), notes=[*release.notes, *notes])
    ratings = release.ratings
    if ratings is None and (config.attributes or config.votes):
        raise SetupError(
            f"dataset.attributes and dataset.votes are not read from '{config.name}'; leave them out, or set "
            f"dataset.target if the release has ratings."
        )
    if ratings and target_of(config, release.table, ratings) in WITH_ATTRIBUTES:
        ratings, notes = with_scales(ratings, config.attributes, config.name)
        release = replace(release, ratings=ratings, notes=[*release.notes, *notes])
    validate(release.table, config.name, is_rated=release.ratings is not None)
    return folder, release


def _refuse_unread_settings(config: DatasetConfig) -> None:
    """Raise SetupError if the reader would ignore a setting, and so read other rows or labels than expected."""
    for key, readers in READ_BY.items():
        if getattr(config, key) is not None and config.reader not in readers and is_in_package(config.reader):
            raise SetupError(
                f"dataset.{key} is for dataset.reader={' or '.join(readers)}, and '{config.name}' is read by "
                f"{config.reader}; leave it out."
            )
    if config.columns and not is_own_corpus(config):
        raise SetupError(
            f"dataset.columns is for csv, hub, audformat, shards; '{config.name}' is read as it is released."
        )
    if config.rater_vote is not None and config.reader not in GENERAL_READERS:
        raise SetupError(
            f"dataset.rater_vote is for csv, hub, audformat, shards, not for '{config.name}'; leave it out."
        )
    ignored = not is_own_corpus(config) or config.reader in ("hub", "audformat_database", "shards")
    if config.label_column != DatasetConfig.label_column and ignored and config.reader != "melt":
        raise SetupError(
            f"dataset.label_column is for melt and csv, not for '{config.name}'; "
            f"hub, audformat and shards have +dataset.columns.label=<column>."
        )


def load_corpus(config: DatasetConfig, force: bool = False, progress: Progress | None = None) -> Corpus:
    """Return a corpus: read its release, verify the audio that is not verified yet, apply the rules, map the labels.

    The members of a union are loaded one after the other and united. `force` verifies all audio again; `progress` wraps
    the iterator over the clips.

    Raises SetupError if the corpus is missing, InputError if its table or labels are not sound or no clip is usable.
    """
    if config.members:
        return _load_union(config, force, progress)
    root, release = read_release(config)
    measures, is_cached = verify(root, release.table, config.maximum_seconds, force, progress)
    if not is_cached:
        release.notes.append(f"the verification could not be kept in {cache_folder()}; it is repeated next time")
    clips = pd.concat([release.table.drop(columns="duration"), measures], axis=1)
    release.notes.extend(header_notes(clips))
    clips["reason"] = judge(clips, config)
    refused = clips["reason"].notna()
    dropped = pd.concat([_skipped(release), clips.loc[refused, ["utterance", "audio", "reason"]]], ignore_index=True)
    if refused.all():
        raise InputError(
            f"No clip of '{config.name}' under {root} is usable ({len(dropped)} dropped; the first: "
            f"{dropped['audio'].iloc[0]}: {dropped['reason'].iloc[0]})."
        )
    clips["duration"] = clips["duration"].round(4)
    table = clips.loc[~refused, [*COLUMNS, "content_hash", "sample_rate"]].reset_index(drop=True)
    own_labels = config.label_file is not None or (is_own_corpus(config) and not config.bundled)
    common = common_label_map(table["label"]) if own_labels else {}
    label_map = {**common, **config.label_map}
    if own_labels and config.label_file is None and config.rater_vote is None:
        votes = () if release.ratings is None else map(str, release.ratings.votes)
        release.notes.extend(unused_entries_note(config.label_map, [*clips["label"].unique(), *votes]))
    label_map |= {"": None} if release.ratings is not None else {}  # a rated row needs no label
    table["emotion"] = map_labels(table["label"], label_map, config.name)
    if "other_label" in clips:
        other = clips.loc[~refused, "other_label"].reset_index(drop=True)
        table["other_emotion"] = map_labels(other, label_map, config.name)
    elif config.both_labels:
        raise SetupError(f"dataset.both_labels is for melt and melt_human; '{config.name}' has one label a row.")
    corpus = Corpus(config, root, table, clips, dropped, release.notes, digest(table), release.drawn_from)
    if release.ratings is None:
        return corpus
    of_votes = common_label_map(pd.Series(list(release.ratings.votes), dtype="str"))
    return _with_ratings(corpus, release.ratings, {**of_votes, **label_map})


def _with_ratings(corpus: Corpus, ratings: Ratings, label_map: Mapping[str, str | None]) -> Corpus:
    """Return a corpus with the columns of its ratings, and with a digest that covers them if they are the target."""
    columns = ratings.columns(corpus.table["utterance"], label_map)
    if "label" in ratings.single:
        emotions = ratings.single["label"].map(lambda label: label_map.get(label))
        ratings = replace(ratings, single=ratings.single.assign(emotion=emotions))
    rated = replace(corpus, table=corpus.table.assign(**columns), ratings=ratings)
    if rated.target is not Target.distribution:
        rated.notes.extend(_uncounted_votes(ratings, label_map))
    if rated.target is Target.label:
        return rated
    if rated.target is Target.distribution:
        map_labels(pd.Series(list(ratings.votes), dtype="str"), label_map, corpus.name)  # refuses unknown labels
    return replace(rated, digest=sha256(corpus.digest + ratings.digest()))


def _uncounted_votes(ratings: Ratings, label_map: Mapping[str, str | None]) -> list[str]:
    """Return a note on the votes for labels that the label map does not know; a distribution refuses them instead."""
    unknown = {label: ratings.votes[label].sum() for label in map(str, ratings.votes) if label not in label_map}
    if not unknown:
        return []
    named = ", ".join(f"'{label}' ({number:g})" for label, number in list(unknown.items())[:LISTED])
    more = f" and {len(unknown) - LISTED} more" if len(unknown) > LISTED else ""
    return [f"votes for labels that the label_map does not know are not counted: {named}{more}"]


def _load_union(config: DatasetConfig, force: bool, progress: Progress | None) -> Corpus:
    if config.root is not None:
        raise SetupError(
            f"dataset.root is the folder of one corpus; give each member's own: "
            f"+dataset.roots.{config.members[0]}=<folder>."
        )
    unset = DatasetConfig()
    for key in OF_ONE_CORPUS:
        if getattr(config, key) != getattr(unset, key):
            raise SetupError(
                f"dataset.{key} is for one corpus, and '{config.name}' is a union; write it into the YAML of a member "
                "instead."
            )
    if (config.fold, config.folds) != (unset.fold, unset.folds):
        raise SetupError(
            f"'{config.name}' is a union, which has one split, made of the members' own; leave out dataset.folds and "
            "dataset.fold."
        )
    for member in config.member_settings.values():
        corpus_root(member)  # report a missing member before any audio is verified
    members = [replace(member, target=config.target or member.target) for member in config.member_settings.values()]
    return unite(config, [load_corpus(member, force, progress) for member in members])


def _skipped(release: Release) -> pd.DataFrame:
    columns = ["utterance", "audio", "reason"]
    rows = [[encodable(getattr(skipped, column)) for column in columns] for skipped in release.skipped]
    return pd.DataFrame(rows, columns=columns, dtype="str")
