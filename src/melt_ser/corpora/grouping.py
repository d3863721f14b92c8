"""Utterances into sets that keep groups whole, alike in their classes, and the same whatever the order of the rows."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd

from melt_ser.config import Group

Rows = npt.NDArray[np.intp]  # positions in a table, ascending


def groups_of(table: pd.DataFrame, group: Group) -> pd.Series:
    """The group of each row; where it is unknown, the rows of a recording are a group of their own."""
    groups: pd.Series = table[group.value]
    return groups.where(groups != "", "recording " + table["source"])


def stratified_sets(table: pd.DataFrame, groups: pd.Series, number: int, seed: int) -> list[Rows]:
    """Up to `number` sets of rows that hold every row once, no group twice, and classes in like shares.

    Rows are taken in the order of their utterance names, so that the order of the table does not matter.
    """
    order = table["utterance"].reset_index(drop=True).sort_values(kind="stable").index.to_numpy()
    classes, owners = (pd.factorize(column.iloc[order], sort=True)[0] for column in (table["class"], groups))
    alone = owners.max() + 1 == len(owners)
    sets = _deal(classes, number, seed) if alone else _whole_groups(classes, owners, number, seed)
    return [np.sort(order[rows]) for rows in sets if len(rows)]


def _deal(classes: Rows, number: int, seed: int) -> list[Rows]:
    """Rows without groups, shuffled and dealt out class by class (scikit-learn looks at groups one at a time)."""
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    return [by_class[start::number] for start in range(number)]


def _whole_groups(classes: Rows, owners: Rows, number: int, seed: int) -> list[Rows]:
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold  # a second to import, needed only here

    # Where every class is rarer than the sets are many there is nothing to stratify, and scikit-learn refuses to.
    kind = StratifiedGroupKFold if np.bincount(classes).max() >= number else GroupKFold
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of classes that are rarer than the sets are many
        folds = kind(number, shuffle=True, random_state=seed)
        return [held_out for _, held_out in folds.split(classes, classes, owners)]


def nearest_set(classes: pd.Series, sets: list[Rows], fraction: float) -> Rows:
    """The set to hold out: the one that lacks the fewest classes, then the one nearest in size to `fraction`."""

    def distance(rows: Rows) -> tuple[int, float]:
        return classes.nunique() - classes.iloc[rows].nunique(), abs(len(rows) / len(classes) - fraction)

    return min(sets, key=distance)
