"""Simulate tables of systems whose true UA is known, and count the errors of marks, tests and intervals.

    python benchmarks/simulate_statistics.py             # the tables of docs/results.md
    python benchmarks/simulate_statistics.py --tables 50 # a quick look

Each speaker is easier or harder for all systems (up to 15 points of recall), and suits each system better or worse (up
to 15 points), in the mean 0. So the true UA of a system is the mean of its recalls, and speakers cluster. Everything is
a function of the seeds. The tests are those of the report, with 1,000 resamples.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from melt_ser.evaluation.comparison import PairedScores, holm, mcnemar, resampled_scores
from melt_ser.evaluation.statistics import bootstrap_intervals, resampling_units

RECALLS = np.array([0.8, 0.6, 0.5, 0.7])
CLASSES = [f"class {number}" for number in range(len(RECALLS))]
EACH = 60  # utterances of a speaker
RESAMPLES = 1000
LEVEL = 0.05


@dataclass
class TestSet:
    """Reference class and speaker of each utterance, (utterances,), and right answers, (utterances, systems)."""

    reference: npt.NDArray[np.int64]
    speaker: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]

    def scores(self, over: Literal["speaker", "utterance"] = "speaker") -> PairedScores:
        answers = np.ones(self.right.shape[1], dtype=np.int64)
        names = self.speaker.astype(str) if over == "speaker" else None
        units = resampling_units(len(self.reference), None if names is None else names.tolist())
        return resampled_scores(self.reference, self.right, answers, units, resamples=RESAMPLES, seed=0)


def draw(generator: np.random.Generator, systems: int, speakers: int, lead: float = 0.0, own: float = 0.15) -> TestSet:
    """Draw a test set; the first system is ahead of the others by `lead` in the recall of each class."""
    speaker = np.repeat(np.arange(speakers), EACH)
    reference = generator.integers(len(RECALLS), size=len(speaker))
    of_speaker = generator.uniform(-0.15, 0.15, size=speakers)
    of_both = generator.uniform(-own, own, size=(speakers, systems))
    chances = (RECALLS[reference] + of_speaker[speaker])[:, None] + of_both[speaker]
    chances[:, 0] += lead
    right = generator.uniform(size=chances.shape) < chances
    return TestSet(reference, speaker, right.astype(np.int64))


def behind_best(table: list[PairedScores]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the corrected p-values of each system against the best as found, (test sets, systems), by the rule.

    The first rule corrects over the comparisons with the best of each test set only, the second is that of the report.
    The best itself has 1.
    """
    best = [int(scores.observed.argmax()) for scores in table]
    systems = [len(scores.observed) for scores in table]
    pairs = [(row, pair) for row, count in enumerate(systems) for pair in combinations(range(count), 2)]
    plain = [p for scores in table for p in scores.p_values()]
    with_best = [best[row] in pair for row, pair in pairs]
    of_best = iter(holm([p for p, chosen in zip(plain, with_best, strict=True) if chosen]))
    corrected = {
        "with the best only": [next(of_best) if chosen else 1.0 for chosen in with_best],
        "all pairs": holm(plain),
        "largest difference": max_statistic(table),
    }
    found = {}
    for rule, values in corrected.items():
        found[rule] = np.ones((len(table), max(systems)))
        for (row, (first, second)), chosen, p in zip(pairs, with_best, values, strict=True):
            if chosen:
                found[rule][row, second if first == best[row] else first] = p
    return found


def max_statistic(table: list[PairedScores]) -> list[float]:
    """Return p-values of all pairs, corrected by the largest difference on resamples (step-down), for comparison.

    Differences are divided by their standard errors, and Student's t of few speakers becomes a normal variable.
    """
    corrected: list[float] = []
    for scores in table:
        pairs = np.array(list(combinations(range(len(scores.observed)), 2)))
        differences = scores.resampled[:, pairs[:, 0]] - scores.resampled[:, pairs[:, 1]]
        by_chance = abs(differences - differences.mean(axis=0)) / differences.std(axis=0)
        observed = -ndtri(np.maximum(scores.p_values(), 1e-300) / 2)
        order = np.argsort(-observed)
        largest = np.maximum.accumulate(by_chance[:, order[::-1]], axis=1)[:, ::-1]  # of a pair and those below it
        stepped = np.maximum.accumulate((1 + (largest >= observed[order]).sum(axis=0)) / (1 + len(largest)))
        p = np.empty(len(order))
        p[order] = np.minimum(stepped * len(table), 1.0)
        corrected += p.tolist()
    return corrected


RULES = ("with the best only", "all pairs", "largest difference")


@dataclass
class Counts:
    """Counts of events by name, and of the cases."""

    cases: int = 0
    events: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, happened: float) -> None:
        self.events[name] = self.events.get(name, 0.0) + happened

    def percent(self) -> list[str]:
        return [f"{100 * count / self.cases:.1f}" for count in self.events.values()]


def marks(tables: int) -> None:
    """Count tables with a mark if all systems are alike, and marks of systems that are truly 12 points behind."""
    print(f"| test sets | systems | speakers | a † if all are alike: {', '.join(RULES)} | a † if 12 points behind |")
    print("|---|---|---|---|---|")
    shapes = [(1, systems, speakers) for speakers in (4, 10, 24) for systems in (2, 5, 10, 20)] + [(4, 5, 10)]
    for columns, systems, speakers in shapes:
        generator = np.random.default_rng([columns, systems, speakers])
        false, found = Counts(tables), Counts(tables // 4)
        for number in range(tables):
            alike = [draw(generator, systems, speakers).scores() for _ in range(columns)]
            for rule, p in behind_best(alike).items():
                false.add(rule, float((p <= LEVEL).any()))
            if number < found.cases:
                ahead = [draw(generator, systems, speakers, lead=0.12).scores() for _ in range(columns)]
                best = np.array([scores.observed.argmax() == 0 for scores in ahead])
                for rule, p in behind_best(ahead).items():
                    found.add(rule, float(((p[:, 1:] <= LEVEL) & best[:, None]).mean()))
        print(
            f"| {columns} | {systems} | {speakers} | {', '.join(false.percent())} | {', '.join(found.percent())} |",
            flush=True,
        )


def two_systems(tables: int) -> None:
    """Count differences of two equal systems that each test finds."""
    print("\n| speakers | they suit a system by up to | bootstrap over speakers, over utterances, McNemar |")
    print("|---|---|---|")
    for speakers in (4, 10, 24):
        for own in (0.0, 0.05, 0.1, 0.15):
            generator = np.random.default_rng([speakers, round(100 * own)])
            counts = Counts(tables)
            for _ in range(tables):
                drawn = draw(generator, 2, speakers, own=own)
                for over in ("speaker", "utterance"):
                    counts.add(over, drawn.scores(over).comparison(0, 1).bootstrap_p < LEVEL)  # type: ignore[arg-type]
                counts.add("mcnemar", mcnemar(drawn.right[:, 0], drawn.right[:, 1]) < LEVEL)
            print(f"| {speakers} | {100 * own:.0f} points | {', '.join(counts.percent())} |", flush=True)


def coverage(tables: int) -> None:
    """Count intervals that contain the UA for new speakers: over one speaker, over more, and of a mean over seeds."""
    print("\n| speakers | intervals of UA that contain the UA of new speakers | of the mean of three seeds |")
    print("|---|---|---|")
    for speakers in (1, 4, 10, 24):  # two or three have no interval
        generator = np.random.default_rng(speakers)
        counts = Counts(tables)
        for _ in range(tables):
            drawn = draw(generator, 3, speakers, own=0.05)
            bounds = []
            for seed in range(3):
                reference = [CLASSES[label] for label in drawn.reference]
                wrong = generator.integers(1, len(CLASSES), size=len(reference))
                answers = np.where(drawn.right[:, seed] == 1, drawn.reference, (drawn.reference + wrong) % len(CLASSES))
                intervals = bootstrap_intervals(
                    reference,
                    [CLASSES[answer] for answer in answers],
                    CLASSES,
                    drawn.speaker.astype(str).tolist(),
                    resamples=RESAMPLES // 2,
                )
                bounds.append(intervals.of["ua"] or [0.0, 1.0])  # no interval claims nothing
            for name, (low, high) in (("one", bounds[0]), ("mean", np.mean(bounds, axis=0))):
                counts.add(name, float(low <= RECALLS.mean() <= high))
        print(f"| {speakers} | {' | '.join(counts.percent())} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=1000, help="simulated tables a line (%(default)s)")
    tables = parser.parse_args().tables
    began = time.process_time()
    for simulate in (marks, two_systems, coverage):
        simulate(tables)
    print(f"\n{tables} tables a line, {time.process_time() - began:.0f} s of CPU")


if __name__ == "__main__":
    main()
