"""Read the labels of any number of sources for the same utterances: columns of one CSV, or CSVs that share keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from melt_ser.core.errors import InputError, SetupError
from melt_ser.label_study.label_pairs import (
    HUMAN,
    MACHINE,
    default_keys,
    distinct_names,
    joined,
    key_columns,
    label_column,
    read_labels,
    require,
)

FEWEST = 2  # sources


@dataclass(frozen=True)
class LabelTable:
    """The labels of several sources."""

    labels: pd.DataFrame  # a row for each utterance with two or more labels, a column for each source; "": no label
    speakers: pd.Series | None  # of the rows, from the first file that knows them; None: no file has the column
    left_out: dict[str, int]  # utterances, by reason


def read_sources(
    paths: Sequence[Path], columns: Sequence[str] | None = None, keys: Sequence[str] | None = None
) -> LabelTable:
    """Read the labels of one file's columns, or of several files' rows with equal keys.

    Args:
        paths: CSVs of labels.
        columns: of one file, the column of each source; of several, that of each file, or one for all; None: the first
            of `llm_label`, `label` and `Emotion` that a file has.
        keys: columns that all files have, or `a=b` for one called `a` in the first file and `b` in the others; None: as
            in `read_pairs`.

    Raises InputError if a column is missing, a key repeats, or no utterance has two labels; SetupError if the columns
    do not fit the files, or there are fewer than two sources.
    """
    tables = [read_labels(path) for path in paths]
    columns = list(columns or [])
    if len(paths) == 1:
        lower = [column.lower() for column in columns]
        repeated = next((column for column, name in zip(columns, lower, strict=True) if lower.count(name) > 1), None)
        if repeated is not None or len(columns) < FEWEST:
            why = "" if repeated is None else f", each once, and not {repeated} twice"
            raise SetupError(f"Of one file, --columns names two or more columns of labels{why}.")
        for name in lower:
            require(tables[0], name, paths[0])
        labels = tables[0][lower].set_axis(columns, axis=1)
        return _complete(labels, tables[0].get("speaker"))
    if len(columns) not in (0, 1, len(paths)):
        raise SetupError(f"--columns names {len(columns)} columns for {len(paths)} files; give one, or one for each.")
    wanted = columns if len(columns) == len(paths) else [columns[0] if columns else None] * len(paths)
    found = [
        label_column(table, column, (MACHINE, *HUMAN), path)
        for table, column, path in zip(tables, wanted, paths, strict=True)
    ]
    keys = keys or default_keys(*tables)
    for table, path in zip(tables[1:], paths[1:], strict=True):
        joined(tables[0], table, keys, paths[0], path)  # refuses missing and repeated keys, and rows of another split
    own, theirs = key_columns(keys)
    indexed = [table.set_index(theirs if number else own).rename_axis(own) for number, table in enumerate(tables)]
    names = _names(paths, found)
    series = [table[column].rename(name) for table, column, name in zip(indexed, found, names, strict=True)]
    labels = pd.concat(series, axis=1).fillna("")
    told = [table["speaker"] for table in indexed if "speaker" in table]
    return _complete(labels, _first_given(told).reindex(labels.index).fillna("") if told else None)


def _first_given(columns: Sequence[pd.Series]) -> pd.Series:
    """Return for each utterance its value in the first column that has one."""
    first, *others = (column[column != ""] for column in columns)
    for other in others:
        first = first.combine_first(other)
    return first


def _names(paths: Sequence[Path], columns: Sequence[str]) -> list[str]:
    """Return the name of each file; with its column if files have different ones, and whole paths if names repeat."""
    names = distinct_names(paths)
    if len(set(zip(names, columns, strict=True))) < len(names):
        raise SetupError(f"{names[0]} is given twice with one column; give each source once.")
    if len(set(columns)) == 1:
        return names
    return [f"{name}, {column}" for name, column in zip(names, columns, strict=True)]


def _complete(labels: pd.DataFrame, speakers: pd.Series | None) -> LabelTable:
    """Return the utterances with two or more labels. Raises InputError if there are none."""
    given = (labels != "").sum(axis=1)
    left_out = {"with one label": int((given == 1).sum()), "without a label": int((given == 0).sum())}
    kept = given >= FEWEST
    if not kept.any():
        raise InputError("There is no utterance with two labels; check the files, --keys and --columns.")
    return LabelTable(
        labels[kept].reset_index(drop=True),
        None if speakers is None else speakers[kept].reset_index(drop=True),
        {reason: count for reason, count in left_out.items() if count},
    )
