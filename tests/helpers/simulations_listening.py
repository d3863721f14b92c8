"""Simulate listening tests, mostly without a preference, and count how often each test and interval finds one.

    python tests/helpers/simulations_listening.py      # the table of docs/listening.md, about a quarter of an hour

The log-odds of a judgement are the mean log-odds plus those of its rater and its clip, both normal with mean 0.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from melt_ser.label_study.mixed_effects import mixed_test
from melt_ser.label_study.preference import crossed_interval


@dataclass(frozen=True)
class Design:
    """The numbers of raters and clips, the standard deviations of their log-odds, and the mean log-odds."""

    raters: int
    clips: int
    of_raters: float
    of_clips: float
    preference: float = 0.0


DESIGNS = (
    Design(20, 40, 0.5, 1.0),
    Design(5, 40, 0.5, 1.0),
    Design(3, 30, 1.0, 1.0),
    Design(20, 10, 0.5, 1.0),
    Design(20, 40, 0.0, 0.0),
    Design(20, 40, 0.5, 1.0, preference=0.6),
)


def judgements(design: Design, generator: np.random.Generator) -> np.ndarray:
    """Return (raters, clips): 1 for a preference of the second source, otherwise 0."""
    odds = design.preference + generator.normal(0, design.of_raters, (design.raters, 1))
    odds = odds + generator.normal(0, design.of_clips, (1, design.clips))
    return (generator.random(odds.shape) < 1 / (1 + np.exp(-odds))).astype(np.float64)


def share_of_findings(design: Design, many: int, seed: int = 0) -> dict[str, float]:
    """Return, for each method, the share of `many` simulated tests with a preference at 5 %."""
    generator = np.random.default_rng(seed)
    findings = []
    for _ in range(many):
        matrix = judgements(design, generator)
        rater, clip = np.divmod(np.arange(matrix.size), design.clips)
        mixed = mixed_test(matrix.ravel(), rater, clip)
        low, high = crossed_interval(matrix, resamples=1000)
        binomial = binomtest(int(matrix.sum()), matrix.size).pvalue
        findings.append((binomial < 0.05, mixed is not None and mixed.p < 0.05, not low <= 0.5 <= high))
    return dict(zip(("binomial", "mixed", "interval"), np.mean(findings, axis=0).tolist(), strict=True))


if __name__ == "__main__":
    for design in DESIGNS:
        print(design, share_of_findings(design, int(sys.argv[1]) if len(sys.argv) > 1 else 400), flush=True)
