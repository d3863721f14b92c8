"""The ratings in a table of one's own: columns of attributes, and of votes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from melt_ser.config import DatasetConfig, Target
from melt_ser.core.errors import InputError
from melt_ser.corpora.ratings import ATTRIBUTE, VOTES, Ratings
from melt_ser.corpora.readers.columns import attribute_columns, listed
from melt_ser.corpora.readers.delimited import numbers


def rating_columns(table: pd.DataFrame, path: Path, config: DatasetConfig, has_label: bool) -> pd.DataFrame:
    """Return the columns of attributes and votes, as text, called `attribute <name>` and `votes <label>`.

    `attrs["columns"]` of the result has their names in the table. Attributes are those of `dataset.attributes`, or else
    the columns arousal, valence and dominance; `dataset.columns` may name the column of each. If rows have labels and
    no setting asks for ratings, there are none. Raises InputError if a column that a setting names is not there; with
    `dataset.raters` or `dataset.label_file` it may be in that table.

    Args:
        table: as `read_table` returns it.
        path: the table's file, for errors.
        config: the settings of the corpus.
        has_label: whether the table has labels.
    """
    theirs: dict[str, str] = {}
    asked = not has_label or config.target is not None
    for name, column in attribute_columns(config).items() if config.attributes or asked else ():
        if column in table:
            theirs[ATTRIBUTE + name] = column
        elif not (config.raters or config.label_file) and (name in config.attributes or config.columns.get(name)):
            raise InputError(f"{path} has no column '{column}' for {name}; its columns are: {listed(map(str, table))}.")
    for label, column in config.votes.items():
        if column.lower() not in table:
            raise InputError(
                f"{path} has no column '{column}' (dataset.votes.{label}); its columns are: {listed(map(str, table))}."
            )
        theirs[VOTES + label] = column.lower()
    found = pd.DataFrame({ours: table[column] for ours, column in theirs.items()}, index=table.index)
    found.attrs["columns"] = list(theirs.values())
    return found


def has_ratings(rated: pd.DataFrame, table: pd.DataFrame, config: DatasetConfig) -> bool:
    """Return whether rows need no label: they have ratings, and labels are absent or not asked for.

    rated: the columns of ratings. table: all columns.
    """
    if config.target in (Target.label, Target.several):
        return False
    is_rated = not rated.empty or config.raters is not None
    return is_rated and (config.target is not None or "label" not in table)


def ratings_of(rated: pd.DataFrame, utterances: pd.Series, path: Path) -> Ratings | None:
    """Return ratings from their columns as text, by the number of the row; None if there are none.

    utterances: the name of each row. Raises InputError if a cell is no number, or a number of votes is below 0.
    """
    if rated.empty:
        return None
    values = rated.apply(lambda column: numbers(column.rename(_name(column)), path)).set_axis(utterances)
    names = list(map(str, values))
    votes = values[[column for column in names if column.startswith(VOTES)]]
    below = votes.index[(votes < 0).any(axis=1)]
    if len(below):
        raise InputError(f"{path}: '{below[0]}' has fewer than 0 votes; votes are numbers or shares from 0 up.")
    attributes = values[[column for column in names if column.startswith(ATTRIBUTE)]]
    return Ratings(
        attributes=attributes.rename(columns=lambda column: column.removeprefix(ATTRIBUTE)),
        votes=votes.rename(columns=lambda column: column.removeprefix(VOTES)),
    )


def _name(column: pd.Series) -> str:
    """Return the name of an attribute, or of a label, without the beginning of its column."""
    return str(column.name).removeprefix(ATTRIBUTE).removeprefix(VOTES)
