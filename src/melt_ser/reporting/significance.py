"""Test every pair of systems of each test set, and keep the comparisons with the best system.

Which system is the best is found on the same data. To compare only with it, and to correct only for these comparisons,
would call equal systems different far too often (docs/results.md), so all pairs are tested and corrected together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.evaluation.comparison import (
    Comparison,
    PairedScores,
    by_utterance,
    check_same,
    holm,
    score_tables,
)
from melt_ser.reporting.overview import SystemScore
from melt_ser.reporting.scores import tested_part
from melt_ser.reporting.utterances import read_answers

MOST_COMPARISONS = 10_000  # pairs of systems of a table; with more, the correction leaves few differences


@dataclass(frozen=True)
class BehindBest:
    """A comparison of the best system of a test set with another one; `p` is corrected over all pairs of the table."""

    best: SystemScore
    comparison: Comparison
    p: float


@dataclass
class Significance:
    """The comparisons of a table, by (test set, system); sentences on what was compared, and on what was not."""

    behind: dict[tuple[int, int], BehindBest] = field(default_factory=dict)
    compared: str = ""
    notes: list[str] = field(default_factory=list)


def significance(columns: Sequence[Sequence[SystemScore]]) -> Significance:
    """Compare the systems of each test set; `columns` has the scores of each, the best first."""
    pairs = sum(math.comb(len(scores), 2) for scores in columns)
    if pairs > MOST_COMPARISONS:
        note = f"Significance is not marked: {pairs:,} pairs of systems are more than {MOST_COMPARISONS:,}"
        return Significance(notes=[f"{note}; report fewer runs."])
    found = Significance()
    tested: list[tuple[int, list[int], PairedScores]] = []
    for column, scores in enumerate(columns):
        if len(scores) > 1:
            chosen, paired = _paired(scores, found.notes)
            if paired is not None:
                tested.append((column, chosen, paired))
    corrected = iter(holm([p for _, _, paired in tested for p in paired.p_values()]))
    for column, chosen, paired in tested:
        for first, second in combinations(range(len(chosen)), 2):
            p = next(corrected)
            if first == 0:
                behind = BehindBest(columns[column][0], paired.comparison(0, second), p)
                found.behind[column, chosen[second]] = behind
    found.compared = _sentence([(columns[column][0], len(chosen), paired) for column, chosen, paired in tested])
    return found


def _paired(scores: Sequence[SystemScore], notes: list[str]) -> tuple[list[int], PairedScores | None]:
    """Pair the systems that answered the utterances of the best, which is first; None if it is the only one.

    Return the positions of these systems too. Adds to `notes` why the others are left out.
    """
    chosen: list[int] = []
    tables: list[pd.DataFrame] = []
    speakers = None  # of the best
    for number, score in enumerate(scores):
        try:
            predictions = predictions_of(score)
            table = by_utterance(predictions, scores[0].rows[0].classes)
            if tables:
                check_same(tables[0], table)
            else:
                speakers = predictions["group"][~predictions["utterance"].duplicated()]
        except InputError as error:
            reason = " ".join(str(error).split())
            if not number:
                notes.append(f"No system is compared on {score.corpus} with the best, {score.system}: {reason}")
                break
            notes.append(
                f"{score.system} on {score.corpus} is not compared with the best, here the first system: {reason}"
            )
            continue
        chosen.append(number)
        tables.append(table)
    return chosen, score_tables(tables, speakers) if len(chosen) > 1 else None


def predictions_of(score: SystemScore) -> pd.DataFrame:
    """Return the tables of `answers_of` as one."""
    return pd.concat(answers_of(score), ignore_index=True)


def answers_of(score: SystemScore) -> list[pd.DataFrame]:
    """Return the tables of `read_answers` of each seed, model or fold of a system."""
    return [table for run, row in zip(score.runs, score.rows, strict=True) for table in read_answers(run, row)]


def _sentence(tested: list[tuple[SystemScore, int, PairedScores]]) -> str:
    """Say which systems were tested against each other, and over which units."""
    if not tested:
        return ""
    pairs = sum(math.comb(systems, 2) for _, systems, _ in tested)
    sentence = (
        f"Compared: all pairs of systems on each test set ({pairs:,} in all), not only those with the best, by a "
        "paired bootstrap; p is corrected over all of them (Holm)."
    )
    names = {paired.units.kind: dict[str, None]() for _, _, paired in tested}
    for best, _, paired in tested:
        part = tested_part(best)
        names[paired.units.kind][f"{best.corpus} ({part})" if part else best.corpus] = None
    unknown = list(names.get("utterance", ()))
    if "speaker" in names:
        sentence += " Speakers are resampled."
    if unknown:
        sentence += (
            f" On {', '.join(unknown)} utterances are resampled, since there are no two known speakers: if utterances "
            "of a speaker are alike, these tests find too many differences."
        )
    return sentence
