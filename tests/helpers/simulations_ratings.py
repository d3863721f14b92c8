"""Simulate raters' numbers and votes, and count how often the intervals of `rating_scores` hold the true value.

    python tests/helpers/simulations_ratings.py      # the tables of docs/targets.md, about ten minutes

Speakers differ in level and in the bias of their predictions. The true values are those of very many speakers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from melt_ser.evaluation.rating_comparison import compare_ratings
from melt_ser.evaluation.rating_metrics import ATTRIBUTE_METRICS, DISTRIBUTION_METRICS
from melt_ser.evaluation.rating_scores import Answered, RatingScores, score_attributes, score_distribution

MANY = 20_000  # speakers of the true values
RATERS = 5


@dataclass(frozen=True)
class Speakers:
    """A population of speakers with `each` clips: the deviations of their levels, and of the biases of predictions.

    noise: the deviation of predictions within a speaker. unequal: that of the logarithm of the number of clips.
    """

    each: int = 20
    level: float = 0.5
    bias: float = 0.4
    noise: float = 0.6
    unequal: float = 0.0

    def draw(self, generator: np.random.Generator, speakers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the number of the speaker, the level and the bias of each clip."""
        sizes = np.ceil(self.each * generator.lognormal(0, self.unequal, speakers)).astype(int)
        speaker = np.repeat(np.arange(speakers), sizes)
        level, bias = (generator.normal(0, spread, speakers)[speaker] for spread in (self.level, self.bias))
        return speaker, level, bias

    def numbers(self, generator: np.random.Generator, speakers: int, systems: int = 1) -> tuple[np.ndarray, ...]:
        """Return speaker, reference and the prediction of each system, (clips,)."""
        speaker, level, bias = self.draw(generator, speakers)
        reference = level + generator.normal(0, 1, len(speaker))
        biases, noises = self._errors(generator, speaker, bias, systems), self._noises(systems)
        predictions = [
            0.6 * reference + 0.2 + of_speaker + generator.normal(0, noise, len(speaker))
            for of_speaker, noise in zip(biases, noises, strict=True)
        ]
        return speaker, reference, *predictions

    def shares(self, generator: np.random.Generator, speakers: int, systems: int = 1) -> tuple[np.ndarray, ...]:
        """Return speaker, shares of the votes and the predicted ones of each system, (clips, 4 classes)."""
        speaker, level, bias = self.draw(generator, speakers)
        logits = generator.normal(0, 1.2, (len(speaker), 4))
        logits[:, 0] += level
        votes = generator.multinomial(RATERS, _softmax(logits)) / RATERS
        predictions = []
        for of_speaker, noise in zip(
            self._errors(generator, speaker, bias, systems), self._noises(systems), strict=True
        ):
            moved = 0.7 * logits + generator.normal(0, noise, logits.shape)
            moved[:, 1] += 2 * of_speaker
            predictions.append(_softmax(moved))
        return speaker, votes, *predictions

    def _errors(
        self, generator: np.random.Generator, speaker: np.ndarray, bias: np.ndarray, systems: int
    ) -> list[np.ndarray]:
        """Return the bias of each clip for each system; those of further systems are of the first one and their own."""
        own = [generator.normal(0, self.bias, speaker.max() + 1)[speaker] for _ in range(systems - 1)]
        return [bias, *(bias + more for more in own)]

    def _noises(self, systems: int) -> list[float]:
        return [self.noise + 0.2 * number for number in range(systems)]


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def attribute_scores(speaker: np.ndarray, reference: np.ndarray, prediction: np.ndarray) -> RatingScores:
    return score_attributes({"a": reference}, {"a": prediction}, _rows(speaker))[0]


def vote_scores(speaker: np.ndarray, votes: np.ndarray, prediction: np.ndarray) -> RatingScores:
    return score_distribution(votes, prediction, _rows(speaker))


def _rows(speaker: np.ndarray) -> Answered:
    return Answered([str(number) for number in range(len(speaker))], [str(number) for number in speaker])


@cache
def true_values(population: Speakers) -> dict[str, float]:
    """Return the value of each metric, over very many speakers."""
    generator = np.random.default_rng(1)
    _, reference, prediction = population.numbers(generator, MANY)
    _, votes, shares = population.shares(generator, MANY // 4)
    pairs = {name: (metric, reference, prediction) for name, metric in ATTRIBUTE_METRICS.items()}
    pairs |= {name: (metric, votes, shares) for name, metric in DISTRIBUTION_METRICS.items()}
    return {
        name: float(metric.value(metric.terms(right, answers).sum(axis=0)))
        for name, (metric, right, answers) in pairs.items()
    }


def coverage(population: Speakers, speakers: int, samples: int = 1000) -> dict[str, float]:
    """Return, for each metric, the share of samples of speakers with a 95 % interval that holds the true value.

    A missing interval claims nothing, so it counts as one that holds the value.
    """
    generator, true = np.random.default_rng(0), true_values(population)
    hits = dict.fromkeys(true, 0)
    for _ in range(samples):
        for scores in (
            attribute_scores(*population.numbers(generator, speakers)),
            vote_scores(*population.shares(generator, speakers)),
        ):
            for name, bounds in scores.intervals.items():
                hits[name] += bounds is None or bounds[0] <= true[name] <= bounds[1]
    return {name: count / samples for name, count in hits.items()}


@cache
def true_differences(population: Speakers) -> tuple[float, float]:
    """Return the CCC and the KL of the first of two systems minus those of the second, over very many speakers."""
    generator = np.random.default_rng(1)
    _, *numbers = population.numbers(generator, MANY, 2)
    _, *shares = population.shares(generator, MANY // 4, 2)
    found = []
    for metric, (reference, *both) in ((ATTRIBUTE_METRICS["ccc"], numbers), (DISTRIBUTION_METRICS["kl"], shares)):
        first, second = (float(metric.value(metric.terms(reference, one).sum(axis=0))) for one in both)
        found.append(first - second)
    return found[0], found[1]


def coverage_of_differences(population: Speakers, speakers: int, samples: int = 1000) -> tuple[float, float]:
    """Return the shares of samples in which the intervals of the differences of CCC and KL hold the true ones."""
    generator, true, hits = np.random.default_rng(0), true_differences(population), [0, 0]
    for _ in range(samples):
        drawn = population.numbers(generator, speakers, 2), population.shares(generator, speakers, 2)
        for place, metric in enumerate((ATTRIBUTE_METRICS["ccc"], DISTRIBUTION_METRICS["kl"])):
            speaker, reference, *both = drawn[place]
            first, second = ([{"a": one}] for one in both)
            found = compare_ratings(metric, {"a": reference}, first, second, [str(number) for number in speaker])
            hits[place] += found.interval is None or found.interval[0] <= true[place] <= found.interval[1]
    return hits[0] / samples, hits[1] / samples


DESIGNS = [
    (20, Speakers()),
    (40, Speakers(each=15)),
    (20, Speakers(bias=0.2)),
    (20, Speakers(bias=0.8)),
    (40, Speakers(bias=0.8)),
    (20, Speakers(unequal=0.6)),
    (40, Speakers(unequal=0.6)),
]


def main() -> None:
    names = [metric.label for metrics in (ATTRIBUTE_METRICS, DISTRIBUTION_METRICS) for metric in metrics.values()]
    columns = ["speakers, clips of each, biases", *names, "difference of CCC", "of KL"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for speakers, population in DESIGNS:
        shares = [*coverage(population, speakers).values(), *coverage_of_differences(population, speakers)]
        each = f"{population.each}{' on average, unequal' if population.unequal else ''}"
        cells = " | ".join(f"{100 * share:.1f}" for share in shares)
        print(f"| {speakers}, {each}, {population.bias} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
