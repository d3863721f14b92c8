"""Rank systems over corpora by Friedman's test and Nemenyi's critical difference.

Source: Demšar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from melt_ser.core.errors import InputError


@dataclass(frozen=True)
class Ranks:
    """The mean ranks (1 is best) of systems over corpora.

    mean_ranks: by system.
    friedman_p: tests that all systems are equal; None for two systems, because the test needs three.
    critical_difference: two systems differ at the given level if their mean ranks differ by this or more.
    corpora: the number of corpora.
    """

    mean_ranks: dict[str, float]
    friedman_p: float | None
    critical_difference: float
    corpora: int

    @property
    def can_differ(self) -> bool:
        """Return whether mean ranks over so few corpora could differ by the critical difference at all."""
        return self.critical_difference <= len(self.mean_ranks) - 1

    @property
    def alike(self) -> list[list[str]]:
        """Return the largest groups of systems without a significant difference, the best first.

        A system that differs from all others is a group of its own.
        """
        ordered = sorted(self.mean_ranks, key=self.mean_ranks.__getitem__)
        groups: list[list[str]] = []
        for number, first in enumerate(ordered):
            reach = self.mean_ranks[first] + self.critical_difference
            group = [name for name in ordered[number:] if self.mean_ranks[name] < reach]
            if not groups or group[-1] != groups[-1][-1]:  # otherwise the group before contains this group
                groups.append(group)
        return groups


def ranks(scores: pd.DataFrame, level: float = 0.05) -> Ranks:
    """Rank systems (columns) on each corpus (rows) by a score; higher is better, and ties share a rank.

    Friedman's test and Nemenyi's difference are approximations for many corpora: with fewer than about ten, do not
    trust the ranks more than the table of scores itself.

    scores: without missing values. level: the level of Nemenyi's difference.

    Raises InputError for fewer than two systems or corpora, or if a score is missing.
    """
    from scipy.stats import studentized_range  # takes a second to import

    corpora, systems = scores.shape
    if corpora < 2 or systems < 2:
        raise InputError(f"Ranks need two or more corpora and systems, not {corpora} and {systems}.")
    missing = scores.index[scores.isna().any(axis=1)]
    if len(missing):
        raise InputError(
            f"{len(missing)} of {corpora} corpora lack a system's score, the first is '{missing[0]}'; "
            f"rank the corpora that all systems were scored on."
        )
    by_rank = scores.rank(axis=1, ascending=False)
    quantile = float(studentized_range.ppf(1 - level, systems, np.inf)) / np.sqrt(2)
    return Ranks(
        mean_ranks={str(name): float(rank) for name, rank in by_rank.mean().items()},
        friedman_p=_friedman(by_rank) if systems > 2 else None,
        critical_difference=float(quantile * np.sqrt(systems * (systems + 1) / (6 * corpora))),
        corpora=corpora,
    )


def _friedman(by_rank: pd.DataFrame) -> float:
    """Return the p-value; 1 if all systems tie on every corpus, since scipy would divide by zero."""
    from scipy.stats import friedmanchisquare

    if (by_rank.nunique(axis=1) == 1).all():
        return 1.0
    return float(friedmanchisquare(*(by_rank[name] for name in by_rank)).pvalue)
