"""Simulate test sets with known true UA, WA and macro-F1, and count how often the intervals cover these.

    python tests/helpers/simulations.py      # the tables of docs/results.md, about ten minutes

A speaker's recall of a class is the recall of the class plus a deviation. The deviation is the same for all classes and
0 on average, so the true numbers follow from the recalls of the classes. Errors fall evenly on the other classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from melt_ser.evaluation.statistics import bootstrap_intervals

METRICS = ("ua", "wa", "macro_f1")


@dataclass(frozen=True)
class Population:
    """The source of test sets: recall and share of each class, and the largest deviation of a speaker (`spread`)."""

    recalls: tuple[float, ...]
    shares: tuple[float, ...]
    spread: float = 0.0

    @property
    def classes(self) -> list[str]:
        return [f"class {number}" for number in range(len(self.recalls))]

    def confusion(self) -> np.ndarray:
        """Return the shares of utterances, (classes, classes): rows are references, columns predictions."""
        size = len(self.recalls)
        recalls = np.asarray(self.recalls)
        matrix = np.repeat((1 - recalls[:, None]) / (size - 1), size, axis=1)
        np.fill_diagonal(matrix, recalls)
        return np.asarray(self.shares)[:, None] * matrix

    def truth(self) -> dict[str, float]:
        """Return the true UA, WA and macro-F1, in closed form."""
        confusion = self.confusion()
        hits = np.diag(confusion)
        f1 = 2 * hits / (confusion.sum(axis=0) + confusion.sum(axis=1))
        return {"ua": float(np.mean(self.recalls)), "wa": float(hits.sum()), "macro_f1": float(f1.mean())}

    def draw(self, generator: np.random.Generator, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return references, predictions and speakers of a test set; `sizes` has the utterances of each speaker."""
        speaker = np.repeat(np.arange(len(sizes)), sizes)
        deviation = generator.uniform(-self.spread, self.spread, size=len(sizes))[speaker]
        reference = generator.choice(len(self.recalls), size=len(speaker), p=self.shares)
        right = generator.uniform(size=len(speaker)) < np.asarray(self.recalls)[reference] + deviation
        shift = generator.integers(1, len(self.recalls), size=len(speaker))
        prediction = np.where(right, reference, (reference + shift) % len(self.recalls))
        names = np.asarray(self.classes, dtype=object)
        return names[reference], names[prediction], speaker.astype(str)


EVEN = Population((0.8, 0.6, 0.5, 0.7), (0.25,) * 4, spread=0.15)
HIGH = Population((0.95, 0.9, 0.85, 0.92), (0.25,) * 4, spread=0.05)
SKEWED = Population((0.7, 0.5, 0.35, 0.4, 0.4, 0.3, 0.5), (0.47, 0.17, 0.11, 0.08, 0.11, 0.03, 0.03), spread=0.15)


def equal_sizes(generator: np.random.Generator, speakers: int) -> np.ndarray:
    return np.full(speakers, 60)


def unequal_sizes(generator: np.random.Generator, speakers: int) -> np.ndarray:
    """Return log-normal sizes: the largest of 24 speakers has about a seventh of the utterances."""
    return np.ceil(generator.lognormal(3.5, 0.8, size=speakers)).astype(int)


def series_sizes(generator: np.random.Generator, speakers: int) -> np.ndarray:
    """Return sizes as in a television series: six leading parts, and many speakers with three utterances."""
    return np.where(np.arange(speakers) < 6, 400, 3)


def coverage(
    population: Population,
    sizes: Callable[[np.random.Generator, int], np.ndarray],
    speakers: int,
    over: Literal["speakers", "percentiles of speakers", "utterances"] = "speakers",
    sets: int = 1000,
    resamples: int = 400,
) -> dict[str, float]:
    """Return, for each metric, the share of simulated test sets with a 95 % interval that contains the truth.

    Args:
        population: The source of the test sets.
        sizes: Draws the number of utterances of each speaker.
        speakers: The number of speakers.
        over: The units of resampling, and for speakers the kind of interval.
        sets: The number of test sets.
        resamples: The resamples of the bootstrap for each test set.
    """
    generator = np.random.default_rng(0)
    truth = population.truth()
    covered = dict.fromkeys(METRICS, 0)
    for _ in range(sets):
        reference, prediction, names = population.draw(generator, sizes(generator, speakers))
        known = names if over == "speakers" else None
        wholes = names if over == "percentiles of speakers" else None  # resampled as if they were recordings
        intervals = bootstrap_intervals(reference, prediction, population.classes, known, wholes, resamples=resamples)
        for metric in METRICS:
            low, high = intervals.of[metric] or (0.0, 1.0)  # no interval claims nothing
            covered[metric] += low <= truth[metric] <= high
    return {metric: count / sets for metric, count in covered.items()}


def tables() -> Iterator[str]:
    """Yield the lines of the tables of docs/results.md.

    The intervals of results come from 2,000 test sets, and the others, for comparison only, from 500.
    """
    yield "| speakers | utterances of each | used: UA, WA, macro-F1 | percentiles: UA | over utterances: UA |"
    yield "|---|---|---|---|---|"
    for population, sizes, counts, kind in (
        (EVEN, equal_sizes, (4, 6, 10, 24, 100), "60"),
        (HIGH, equal_sizes, (4, 10, 24), "60, true UA 90.5 %"),
        (EVEN, unequal_sizes, (4, 6, 10, 24, 100), "unequal (log-normal)"),
        (SKEWED, series_sizes, (60, 300), "6 × 400, then 3; seven classes"),
    ):
        for speakers in counts:
            used = percent(*coverage(population, sizes, speakers, "speakers", 2000, 300).values())
            percentiles = percent(coverage(population, sizes, speakers, "percentiles of speakers", 500)["ua"])
            utterances = percent(coverage(population, sizes, speakers, "utterances", 500)["ua"])
            yield f"| {speakers} | {kind} | {used} | {percentiles} | {utterances} |"
    yield ""
    yield "| independent utterances | classes | over utterances: UA, WA, macro-F1 |"
    yield "|---|---|---|"
    for population, kind in (
        (EVEN, "four, true UA 65 %"),
        (HIGH, "four, true UA 90.5 %"),
        (SKEWED, "seven, the rarest 3 %"),
    ):
        for utterances in (60, 200, 1000):
            one_each = np.ones(utterances, dtype=int)
            shares = coverage(replace(population, spread=0.0), lambda *_, of=one_each: of, 0, "utterances", 2000)
            yield f"| {utterances} | {kind} | {percent(*shares.values())} |"


def percent(*shares: float) -> str:
    return ", ".join(f"{100 * share:.1f}" for share in shares)


if __name__ == "__main__":
    for line in tables():
        print(line, flush=True)
