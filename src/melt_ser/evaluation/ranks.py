"""Several systems over several corpora: mean ranks, and how far apart they must be to be told apart.

Source: Demšar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets" (Friedman test, Nemenyi's critical
difference).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from melt_ser.core.errors import InputError


@dataclass(frozen=True)
class Ranks:
    """Mean ranks (1 is best) of systems over corpora.

    `friedman_p` is of the hypothesis that all systems are alike; None for two systems, for which the test is not made.
    Two systems whose mean ranks differ by `critical_difference` or more differ at the level asked for.
    """

    mean_ranks: dict[str, float]
    friedman_p: float | None
    critical_difference: float
    corpora: int

    @property
    def can_differ(self) -> bool:
        """Whether ranks over so few corpora could be the critical difference apart at all."""
        return self.critical_difference <= len(self.mean_ranks) - 1

    @property
    def alike(self) -> list[list[str]]:
        """The largest groups of systems of which no two differ, the best first; one unlike all is a group."""
        ordered = sorted(self.mean_ranks, key=self.mean_ranks.__getitem__)
        groups: list[list[str]] = []
        for number, first in enumerate(ordered):
            reach = self.mean_ranks[first] + self.critical_difference
            group = [name for name in ordered[number:] if self.mean_ranks[name] < reach]
            if not groups or group[-1] != groups[-1][-1]:  # else it is within the one before
                groups.append(group)
        return groups


def ranks(scores: pd.DataFrame, level: float = 0.05) -> Ranks:
    """Rank systems (the columns) on each corpus (the rows) by a score of which more is better; ties share a rank.

    Friedman's test and Nemenyi's difference are approximations for many corpora: with fewer than about ten, trust the
    ranks no further than the table itself.
    Raises InputError for fewer than two systems or corpora, or a score that is missing.
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
    """The p-value; 1 where all systems tie on every corpus, for which scipy divides by zero."""
    from scipy.stats import friedmanchisquare

    if (by_rank.nunique(axis=1) == 1).all():
        return 1.0
    return float(friedmanchisquare(*(by_rank[name] for name in by_rank)).pvalue)
