"""Rows of the same recording or segment: repeated rows, and the labels of several raters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError
from melt_ser.corpora.labels import common_label_map

AGREEING = ("split", "speaker", "session", "source")  # raters may differ in the label, and in nothing that splits use


def one_row_each(
    table: pd.DataFrame, config: DatasetConfig, path: Path
) -> tuple[pd.DataFrame, dict[int, str], list[str]]:
    """Return one row for each recording or segment, the reason of each row that is left out, and notes.

    Raises InputError if rows of one segment contradict each other and `dataset.rater_vote` is not set.

    Args:
        table: complete rows, with the number of each row as its index, and `start` and `end` in seconds.
        config: the settings of the corpus.
        path: the table, for the sentences of errors.
    """
    segment = table[["audio", "start", "end"]].assign(start=table["start"].fillna(0.0))
    if not segment.duplicated().any():
        return table, {}, []
    if config.rater_vote is not None:
        return _vote(table, segment, {**common_label_map(table["label"]), **config.label_map}, path)
    repeated = table.assign(start=segment["start"]).duplicated()
    reasons = dict.fromkeys(table.index[repeated].tolist(), "a row that repeats another")
    table, segment = table[~repeated], segment[~repeated]
    several = segment.duplicated(keep=False)
    if several.any():
        raise _several_rows(table[several], _numbers(segment[several]), path)
    return table, reasons, []


def _numbers(segment: pd.DataFrame) -> pd.Series:
    """Return a number for each row; rows of the same segment have the same number."""
    return segment.groupby(list(segment), sort=False, dropna=False).ngroup()


def _several_rows(table: pd.DataFrame, segments: pd.Series, path: Path) -> InputError:
    """Return the error for rows that share their segment with others; its example has two labels if any has."""
    labels = table["label"].groupby(segments).nunique()
    rows = table[segments == labels.idxmax()].drop_duplicates("label")
    example = rows if len(rows) > 1 else table[segments == 0].head(2)
    return InputError(
        f"{path} has several rows for {len(labels)} of its recordings or segments, {(labels > 1).sum()} of them with "
        f"different labels (such as rows {' and '.join(map(str, example.index))}: {example['audio'].iloc[0]} is "
        f"{' and '.join(example['label'].unique())}); keep one row of each, give segments their start and end, or set "
        f"dataset.rater_vote=majority to use the label of most rows."
    )


def _vote(
    table: pd.DataFrame, segment: pd.DataFrame, label_map: Mapping[str, str | None], path: Path
) -> tuple[pd.DataFrame, dict[int, str], list[str]]:
    """Return for each segment its first row with the label that most of its rows have, as `one_row_each` does.

    Labels of the same emotion are one label. A segment without a single most frequent label is left out.
    """
    segments = _numbers(segment)
    for column in AGREEING:
        differ = table[column].groupby(segments).transform("nunique") > 1
        if differ.any():
            rows = table[segments == segments[differ].iloc[0]]
            raise InputError(
                f"{path}, rows {' and '.join(map(str, rows.index))}: {rows['audio'].iloc[0]} has more than one "
                f"{column} ({', '.join(rows[column].unique())}), and dataset.rater_vote votes on labels alone; "
                f"correct the {column} column."
            )
    votes = pd.DataFrame(
        {"segment": segments, "label": table["label"].map(lambda label: label_map.get(label) or label)}
    )
    counts = votes.value_counts(sort=False).rename("votes").reset_index()
    best = counts[counts["votes"] == counts.groupby("segment")["votes"].transform("max")]
    winners = best.drop_duplicates("segment", keep=False).set_index("segment")["label"]
    won = table[votes["label"] == segments.map(winners)]
    kept = won[~segments[won.index].duplicated()]
    tied = ~segments.isin(winners.index)
    reasons = dict.fromkeys(table.index[tied].tolist(), "no majority of the raters")
    rated = segments[segments.duplicated(keep=False) & ~tied]
    note = (
        f"{len(rated)} rows became {rated.nunique()} by the vote of raters: each recording or segment has the label of "
        f"most of its rows (dataset.rater_vote=majority)"
    )
    return kept, reasons, [note]
