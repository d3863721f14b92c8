"""Utterances into sets that keep groups whole, alike in their classes, and the same whatever the order of the rows."""

from __future__ import annotations

import math

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
    """Rows without groups, shuffled and dealt out class by class (whole groups are looked at one at a time)."""
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    return [by_class[start::number] for start in range(number)]


def _whole_groups(classes: Rows, owners: Rows, number: int, seed: int) -> list[Rows]:
    """Whole groups, one after the other, each to the set that makes the classes' shares the most alike.

    The rule and the sets are those of scikit-learn's StratifiedGroupKFold (and, where every class is rarer than the
    sets are many, GroupKFold), whose release the sets thus do not depend on, and which takes ten times as long.
    """
    counts = np.zeros((owners.max() + 1, classes.max() + 1))  # rows of each class in each group
    np.add.at(counts, (owners, classes), 1)
    shuffled = np.random.RandomState(seed).permutation(len(counts))
    if np.bincount(classes).max() < number:  # nothing to stratify
        sets = np.array_split(shuffled, number)
    else:
        counts = counts[shuffled]
        first_to_last = np.argsort(-np.std(counts, axis=1), kind="stable")
        chosen = np.empty(len(counts), dtype=np.intp)
        chosen[shuffled[first_to_last]] = _most_alike(counts[first_to_last], number)
        sets = [np.flatnonzero(chosen == one) for one in range(number)]
    return [np.flatnonzero(np.isin(owners, groups)) for groups in sets]


def _most_alike(counts: npt.NDArray[np.float64], number: int) -> list[int]:
    """The set of each group in turn: the least mean deviation of a class's shares, of like ones the smallest set."""
    totals = counts.sum(axis=0)
    held = np.zeros((number, counts.shape[1]))  # rows of each class in each set
    sizes = [0.0] * number
    itself = np.eye(number)[:, :, None]
    chosen = []
    for group, size in zip(counts, counts.sum(axis=1).tolist(), strict=True):
        shares = (held + itself * group) / totals  # (the set that takes the group, set, class)
        apart = shares - np.add.reduce(shares, axis=1, keepdims=True) / number
        deviations = np.sqrt(np.add.reduce(apart * apart, axis=1) / number)
        best, least, smallest = 0, math.inf, math.inf
        for one, deviation in enumerate((np.add.reduce(deviations, axis=1) / counts.shape[1]).tolist()):
            alike = abs(deviation - least) <= 1e-8 + 1e-5 * least < math.inf
            if deviation < least or (alike and sizes[one] < smallest):
                best, least, smallest = one, deviation, sizes[one]
        held[best] += group
        sizes[best] += size
        chosen.append(best)
    return chosen


def nearest_set(classes: pd.Series, sets: list[Rows], fraction: float) -> Rows:
    """The set to hold out: the one that lacks the fewest classes, then the one nearest in size to `fraction`."""

    def distance(rows: Rows) -> tuple[int, float]:
        return classes.nunique() - classes.iloc[rows].nunique(), abs(len(rows) / len(classes) - fraction)

    return min(sets, key=distance)
