"""Divide utterances into sets that keep groups whole and are alike in labels and gender.

The seed chooses among the divisions that are about as balanced as the best. The order of the rows does not change them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from melt_ser.config import DevGroup, Group

Rows = npt.NDArray[np.intp]  # positions in a table, ascending
Floats = npt.NDArray[np.float64]

TRAITS = ("label", "other_label", "gender")  # the columns in which sets are alike; a table may lack some
TRIES = 20  # divisions to choose from; fewer if there are many groups, because those are balanced at the first try
NEARLY = 1.25  # a division is balanced if its imbalance is at most this many times the smallest of the tries


def groups_of(table: pd.DataFrame, group: Group | DevGroup) -> pd.Series:
    """Return the group of each row; rows without a group are grouped by recording."""
    groups: pd.Series = table[group.value]
    return groups.where(groups != "", "recording " + table["source"])


def balanced_sets(
    table: pd.DataFrame, groups: pd.Series, number: int, seed: int, traits: Sequence[str] = TRAITS
) -> list[Rows]:
    """Return up to `number` sets of rows with similar shares of each value of `traits`.

    Each row and each group is in exactly one set. Rows are taken in the order of their utterance names, so that the
    order of the table does not matter.
    """
    order = table["utterance"].reset_index(drop=True).sort_values(kind="stable").index.to_numpy()
    known = [_codes(table[name].iloc[order]) for name in traits if name in table]
    owners = _codes(groups.iloc[order])
    no_groups = owners.max() + 1 == len(owners)
    random = np.random.RandomState(seed)  # its numbers are the same in every version of numpy
    sets = _sets_of_rows(known, number, random) if no_groups else _sets_of_groups(known, owners, number, random)
    return [np.sort(order[rows]) for rows in sets if len(rows)]


def _codes(values: pd.Series) -> Rows:
    """Number the values of a column in their order; -1: not known."""
    return pd.factorize(values.where(values != "", None), sort=True)[0]


def _sets_of_rows(traits: Sequence[Rows], number: int, random: np.random.RandomState) -> list[Rows]:
    """Shuffle rows that have no groups and deal them out, sorted by their traits (much faster than group by group)."""
    shuffled = random.permutation(len(traits[0]))
    dealt = shuffled[np.lexsort([codes[shuffled] for codes in reversed(traits)])]
    return [dealt[start::number] for start in range(number)]


def _sets_of_groups(traits: Sequence[Rows], owners: Rows, number: int, random: np.random.RandomState) -> list[Rows]:
    """Put whole groups, one after the other, into the set that keeps the sets most alike; try several orders.

    Large groups tend to come first, because the small ones then even out what is left. This is scikit-learn's
    StratifiedGroupKFold with a random order: its own order is fixed, so that its seed moves little.
    """
    shares, weights = _shares(traits, owners)
    sizes = np.bincount(owners)
    first = shares.std(axis=1)
    divisions = []
    for _ in range(max(1, min(TRIES, 1000 // len(sizes)))):
        order = np.argsort(-first * np.exp(0.5 * random.standard_normal(len(first))), kind="stable")
        divisions.append(_divide(shares, weights, sizes, order, number))
    limit = min(imbalance for _, imbalance in divisions) * NEARLY + 1e-9
    chosen = next(set_of_group for set_of_group, imbalance in divisions if imbalance <= limit)
    return [np.flatnonzero(chosen[owners] == position) for position in range(number)]


def _shares(traits: Sequence[Rows], owners: Rows) -> tuple[Floats, Floats]:
    """Return each group's share of the rows with each value of each trait, (groups, values), and the values' weights.

    The weights add up to 1: each trait that is known weighs the same, and within it each value.
    """
    blocks = []
    for codes in traits:
        known = codes >= 0
        if known.any():
            rows = np.zeros((owners.max() + 1, codes.max() + 1))
            np.add.at(rows, (owners[known], codes[known]), 1)
            blocks.append(rows / rows.sum(axis=0))
    if not blocks:  # no trait is known, as in a table without labels: the sets are alike in size alone
        blocks = [np.bincount(owners)[:, None] / len(owners)]
    weights = np.concatenate([np.full(block.shape[1], 1 / block.shape[1] / len(blocks)) for block in blocks])
    return np.hstack(blocks), weights


def _divide(shares: Floats, weights: Floats, sizes: Rows, order: Rows, number: int) -> tuple[Rows, float]:
    """Return the set of each group, and the imbalance: the weighted mean of the shares' deviations between sets.

    Args:
        shares: each group's share of each value, (groups, values).
        weights: the weight of each value, (values,).
        sizes: the rows of each group, (groups,); among sets that are equally good, the smallest takes the group.
        order: the groups in the order in which they are placed.
        number: the number of sets.
    """
    held, rows = np.zeros((number, shares.shape[1])), np.zeros(number)
    itself = np.eye(number)[:, :, None]
    chosen = np.empty(len(shares), dtype=np.intp)
    for group in order:
        # axes: the set that would take the group, the set of this share, value
        deviations = (held + itself * shares[group]).std(axis=1) @ weights
        equal = np.flatnonzero(deviations <= deviations.min() * (1 + 1e-5) + 1e-8)
        chosen[group] = taker = equal[rows[equal].argmin()]
        held[taker] += shares[group]
        rows[taker] += sizes[group]
    return chosen, float(held.std(axis=0) @ weights)


def held_out_set(labels: pd.Series, sets: list[Rows], fraction: float, seed: int) -> Rows:
    """Return the set to hold out: the seed draws it among those that lack the fewest labels and are of a fit size.

    A size is fit if it is about as near to `fraction` of all rows as the nearest: farther by a tenth of it at most.
    """
    lacking = [labels.nunique() - labels.iloc[rows].nunique() for rows in sets]
    complete = [rows for rows, number in zip(sets, lacking, strict=True) if number == min(lacking)]
    distances = [abs(len(rows) / len(labels) - fraction) for rows in complete]
    fit = [rows for rows, far in zip(complete, distances, strict=True) if far <= min(distances) + fraction / 10]
    return fit[np.random.RandomState(seed).randint(len(fit))]
