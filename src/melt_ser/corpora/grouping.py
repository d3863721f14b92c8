"""Divide utterances into sets that keep groups whole and have similar shares of classes.

The order of the rows does not change the sets.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

from melt_ser.config import Group

Rows = npt.NDArray[np.intp]  # positions in a table, ascending


def groups_of(table: pd.DataFrame, group: Group) -> pd.Series:
    """Return the group of each row; rows without a group are grouped by recording."""
    groups: pd.Series = table[group.value]
    return groups.where(groups != "", "recording " + table["source"])


def stratified_sets(table: pd.DataFrame, groups: pd.Series, number: int, seed: int) -> list[Rows]:
    """Return up to `number` sets of rows with similar shares of classes; each row and each group is in exactly one set.

    Rows are taken in the order of their utterance names, so that the order of the table does not matter.
    """
    order = table["utterance"].reset_index(drop=True).sort_values(kind="stable").index.to_numpy()
    classes, owners = (pd.factorize(column.iloc[order], sort=True)[0] for column in (table["class"], groups))
    no_groups = owners.max() + 1 == len(owners)
    sets = _sets_of_rows(classes, number, seed) if no_groups else _sets_of_groups(classes, owners, number, seed)
    return [np.sort(order[rows]) for rows in sets if len(rows)]


def _sets_of_rows(classes: Rows, number: int, seed: int) -> list[Rows]:
    """Shuffle rows that have no groups and deal them out class by class (much faster than group by group)."""
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    return [by_class[start::number] for start in range(number)]


def _sets_of_groups(classes: Rows, owners: Rows, number: int, seed: int) -> list[Rows]:
    """Put whole groups, one after the other, into the set that makes the classes' shares most similar.

    This repeats scikit-learn's StratifiedGroupKFold (GroupKFold if every class has fewer rows than there are sets) so
    that published folds and run ids do not change with scikit-learn's version; it is also ten times as fast.
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
        chosen[shuffled[first_to_last]] = _most_similar_sets(counts[first_to_last], number)
        sets = [np.flatnonzero(chosen == position) for position in range(number)]
    return [np.flatnonzero(np.isin(owners, groups)) for groups in sets]


def _most_similar_sets(counts: npt.NDArray[np.float64], number: int) -> list[int]:
    """Return, for each group in order, the index (from 0) of the set that takes it.

    `counts` has the rows of each class, (groups, classes); `number` is the number of sets.
    A group goes into the set that makes the standard deviation of the sets' shares, averaged over classes, smallest;
    among equals, into the smallest set.
    """
    totals = counts.sum(axis=0)
    held = np.zeros((number, counts.shape[1]))  # rows of each class in each set
    sizes = [0.0] * number
    itself = np.eye(number)[:, :, None]
    chosen = []
    for group, size in zip(counts, counts.sum(axis=1).tolist(), strict=True):
        # axes: the set that would take the group, the set of this share, class
        shares = (held + itself * group) / totals
        apart = shares - np.add.reduce(shares, axis=1, keepdims=True) / number
        deviations = np.sqrt(np.add.reduce(apart * apart, axis=1) / number)
        best, least, smallest = 0, math.inf, math.inf
        for position, deviation in enumerate((np.add.reduce(deviations, axis=1) / counts.shape[1]).tolist()):
            equal = abs(deviation - least) <= 1e-8 + 1e-5 * least < math.inf
            if deviation < least or (equal and sizes[position] < smallest):
                best, least, smallest = position, deviation, sizes[position]
        held[best] += group
        sizes[best] += size
        chosen.append(best)
    return chosen


def nearest_set(classes: pd.Series, sets: list[Rows], fraction: float) -> Rows:
    """Return the set to hold out: it lacks the fewest classes; among equals, its size is nearest to `fraction`."""

    def distance(rows: Rows) -> tuple[int, float]:
        return classes.nunique() - classes.iloc[rows].nunique(), abs(len(rows) / len(classes) - fraction)

    return min(sets, key=distance)
