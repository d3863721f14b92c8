"""The ratings in an audformat database: attributes with the range of their schemes, and the answers of its raters.

A column with numbers is an attribute if `dataset.attributes` names it (or its scheme), or if it is arousal, valence or
dominance. A scheme with a minimum and a maximum is its scale. Columns of the label's or an attribute's scheme that name
a person as their rater are that rater's answers, if at least two people have some.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.corpora.ratings import ATTRIBUTE, Ratings, Scale, joined
from melt_ser.corpora.readers.columns import wanted_attributes
from melt_ser.corpora.table import Release
from melt_ser.corpora.targets import WITHOUT

Segment = tuple[str, float, float | None]  # a file, its start and end in seconds (None: the end of the file)
PERSON = "human"  # the type of a rater


def rated_columns(names: Iterable[str], config: DatasetConfig) -> dict[str, str]:
    """Return the database's name for each attribute that is asked for, by the name of its column in our table.

    names: what the database has. Without `dataset.attributes` these are the usual ones that it has; with another table
    of ratings (`dataset.raters`, `dataset.label_file`) too.
    """
    present, is_needed = set(names), config.attributes and not (config.raters or config.label_file)
    wanted = {name: config.columns.get(name) or name for name in wanted_attributes(config)}
    return {ATTRIBUTE + ours: theirs for ours, theirs in wanted.items() if is_needed or theirs in present}


def segment_of(index: Any) -> Segment:
    """Return the segment of a row's index, which is a file, or a file with start and end."""
    file, start, end = index if isinstance(index, tuple) else (index, pd.Timedelta(0), pd.NaT)
    return str(file), start.total_seconds(), None if pd.isna(end) else end.total_seconds()


def combining(config: DatasetConfig) -> Callable[[pd.Series], Any] | None:
    """Return what combines the values of several columns for one segment; None if they have to agree."""
    return _combined if config.target in WITHOUT else None  # raters may disagree on a label that is not needed


def _combined(values: pd.Series) -> Any:
    """Return the mean of numbers, or the first of the most frequent labels."""
    return values.mean() if pd.api.types.is_numeric_dtype(values) else values.mode().iloc[0]


def with_ratings(release: Release, database: Any, columns: Mapping[str, str]) -> Release:
    """Return the release with the scales of its attributes, and with the ratings of single raters if there are some.

    columns: the database's name for each column of ours that was read.
    """
    ratings = release.ratings
    schemes = {ours: _scheme(database, name) for ours, name in columns.items()}
    scales = {ours.removeprefix(ATTRIBUTE): _scale(database, scheme) for ours, scheme in schemes.items() if scheme}
    known = {name: scale for name, scale in scales.items() if scale and ATTRIBUTE + name in columns}
    notes = list(release.notes)
    rated = {scheme: ours.removeprefix(ATTRIBUTE) for ours, scheme in schemes.items() if scheme and _is_rated(ours)}
    single = _single(database, rated, release.table)
    if single["rater"].nunique() > 1:
        ratings = joined(ratings, Ratings(single=single))
        notes.append(f"{len(single)} ratings by {single['rater'].nunique()} raters of the database")
    ratings = replace(ratings, scales=known) if ratings is not None else None
    return replace(release, ratings=ratings, notes=notes)


def _is_rated(column: str) -> bool:
    return column == "label" or column.startswith(ATTRIBUTE)


def _scheme(database: Any, name: str) -> str | None:
    """Return the scheme of a name, which may be that of a column."""
    if name in database.schemes:
        return name
    found = [table.columns[name].scheme_id for table in database.tables.values() if name in table.columns]
    return found[0] if found else None


def _scale(database: Any, scheme: str) -> Scale | None:
    low, high = database.schemes[scheme].minimum, database.schemes[scheme].maximum
    return None if low is None or high is None else (float(low), float(high))


def _single(database: Any, rated: Mapping[str, str], table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each utterance and person who rated it, with the label and the attributes of `rated`.

    rated: our name for each scheme. table: the corpus table.
    """
    starts, ends = table["start"].fillna(0.0), table["end"].astype(object).where(table["end"].notna(), None)
    names = dict(zip(zip(table["audio"], starts, ends, strict=True), table["utterance"], strict=True))
    said: dict[tuple[str, str], dict[str, Any]] = {}
    for described in database.tables.values():
        for column in described.columns.values():
            person = database.raters.get(column.rater_id) if column.rater_id else None
            ours = rated.get(column.scheme_id)
            if ours is None or person is None or person.type != PERSON:
                continue
            for index, value in column.get().dropna().items():
                utterance = names.get(segment_of(index))
                if utterance is not None:
                    said.setdefault((utterance, column.rater_id), {})[ours] = value
    rows = [{"utterance": utterance, "rater": rater, **values} for (utterance, rater), values in said.items()]
    single = pd.DataFrame(rows, columns=["utterance", "rater", *dict.fromkeys(rated.values())])
    return single.assign(label=single["label"].astype(object).fillna("").map(str)) if "label" in single else single
