"""Speech and text together: the mean of the probabilities of a run of audio and a run of the words alone.

Each pair of runs with the same training corpus, test part and classes is scored on the utterances that both were tested
on (a run of the words leaves out those without words). Both weigh the same: no weight is chosen, so none can be chosen
on the test part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.core.vocabulary import READ_WORDS
from melt_ser.evaluation.comparison import Comparison, by_utterance, holm, score_tables
from melt_ser.evaluation.metrics import percent
from melt_ser.reporting.overview import SystemScore, points
from melt_ser.reporting.scores import tested_part
from melt_ser.reporting.significance import answers_of

MOST_PAIRS = 100
TEXTS = ("speech", "text", "trained on", "tested on")
COLUMNS = (
    *(*TEXTS, "utterances", "UA speech", "UA text", "UA together"),
    *("gain over speech", "p", "gain over text", "p (text)"),
)
MEANING = (
    "Together: the mean of the probabilities of both, each with weight 0.5, on the utterances that both answered. "
    "UA in %; gain: together minus one of them, with its 95 % interval by a paired bootstrap; p is "
    "corrected over all gains (Holm)."
)


@dataclass(frozen=True)
class Pair:
    """A system of speech, one of text, and the mean of their probabilities on one test part."""

    speech: SystemScore
    text: SystemScore
    uas: tuple[float, float, float]  # of speech, text, both together
    over_speech: Comparison
    over_text: Comparison
    p: tuple[float, float]  # of both gains, corrected over all pairs

    @property
    def cells(self) -> list[str]:
        """Return the texts of COLUMNS."""
        part = tested_part(self.speech)
        tested = f"{self.speech.corpus} ({part})" if part else self.speech.corpus
        return [
            *(self.speech.system, self.text.system, self.speech.train, tested, f"{self.over_speech.n:,}"),
            *map(percent, self.uas),
            *(_gain(self.over_speech), f"{self.p[0]:.3f}", _gain(self.over_text), f"{self.p[1]:.3f}"),
        ]


@dataclass
class Together:
    """The pairs of speech and text, and a sentence for each pair that could not be combined."""

    pairs: list[Pair] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def speech_and_text_together(scores: Sequence[SystemScore]) -> Together:
    """Return the pairs among scores that have the same training corpus, test part and classes."""
    closed = [score for score in scores if score.answer_set.startswith("closed")]
    texts = [score for score in closed if _reads_words(score)]
    speech = [score for score in closed if not _reads_words(score)]
    candidates = [pair for pair in product(speech, texts) if _tested_alike(*pair)]
    found = Together()
    if len(candidates) > MOST_PAIRS:
        found.notes.append(f"{len(candidates):,} pairs of speech and text are too many to combine; report fewer runs.")
        return found
    read = cache(answers_of)  # each system is in several pairs
    for one, other in candidates:
        try:
            found.pairs.append(_combined(one, other, _side_by_side(read(one), read(other))))
        except InputError as error:
            found.notes.append(f"{one.system} and {other.system} on {one.corpus} are not combined: {error}")
    corrected = iter(holm([p for pair in found.pairs for p in pair.p]))
    found.pairs = [replace(pair, p=(next(corrected), next(corrected))) for pair in found.pairs]
    return found


def _reads_words(score: SystemScore) -> bool:
    return score.runs[0].result.config["backbone"]["family"] in READ_WORDS


def _tested_alike(one: SystemScore, other: SystemScore) -> bool:
    def of(score: SystemScore) -> tuple[object, ...]:
        return score.train, score.corpus, score.rows[0].split, score.fold, sorted(score.rows[0].classes)

    return of(one) == of(other)


def _combined(speech: SystemScore, text: SystemScore, answers: Sequence[tuple[pd.DataFrame, pd.DataFrame]]) -> Pair:
    """Score a pair from the answers of `_side_by_side`; its p is not corrected yet.

    Raises InputError if the two cannot be combined.
    """
    classes = speech.rows[0].classes
    alone: tuple[list[pd.DataFrame], list[pd.DataFrame], list[pd.DataFrame]] = ([], [], [])
    for heard, read in answers:
        heard, read = heard.set_index("utterance", drop=False), read.set_index("utterance", drop=False)
        common = heard.index.intersection(read.index)
        if common.empty:
            raise InputError("they were tested on no utterance in common.")
        heard, read = heard.loc[common], read.loc[common]
        if (heard["reference"] != read["reference"]).any():
            raise InputError("they were tested against other labels.")
        both = heard.assign(**{name: (heard[name] + read[name]) / 2 for name in classes})
        for tables, table in zip(alone, (heard, read, both), strict=True):
            tables.append(table)
    tables = [by_utterance(pd.concat(of_system, ignore_index=True), classes) for of_system in alone]
    speakers = alone[0][0]["group"].reset_index(drop=True)
    paired = score_tables(tables, speakers)
    over_speech, over_text = paired.comparison(2, 0), paired.comparison(2, 1)
    heard_ua, read_ua, both_ua = (float(ua) for ua in paired.observed)
    p = (over_speech.bootstrap_p, over_text.bootstrap_p)
    return Pair(speech, text, (heard_ua, read_ua, both_ua), over_speech, over_text, p)


def _side_by_side(
    heard: Sequence[pd.DataFrame], read: Sequence[pd.DataFrame]
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Pair the answers seed by seed; a single seed goes with each seed of the other. InputError for other numbers."""
    if len(heard) != len(read) and 1 not in (len(heard), len(read)):
        raise InputError(f"they have {len(heard)} and {len(read)} seeds; give both as many, or one a single seed.")
    number = max(len(heard), len(read))
    return list(zip(list(heard) * (number // len(heard)), list(read) * (number // len(read)), strict=True))


def _gain(comparison: Comparison) -> str:
    interval = comparison.interval
    return points(comparison.difference) + (f" [{points(interval[0])}, {points(interval[1])}]" if interval else "")
