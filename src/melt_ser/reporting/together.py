"""Speech and text together: the mean of the probabilities of a run of audio and a run of the words alone.

Each pair of runs with the same training corpus, test part and classes is scored on the utterances that both were tested
on (a run of the words leaves out those without words): once with the same weight for both, and once with the weight
that dev chooses (dev_weight.py). No weight is chosen on the test part. If there is a run that joins both encoders in
one classifier (`backbone.text`) and is trained like the run of speech, it has a row too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.core.vocabulary import READ_WORDS
from melt_ser.evaluation.comparison import Comparison, by_utterance, holm, score_tables
from melt_ser.evaluation.metrics import p_text, percent
from melt_ser.evaluation.results import MEAN
from melt_ser.reporting.dev_weight import HALF, DevWeights
from melt_ser.reporting.overview import SystemScore, points
from melt_ser.reporting.scores import tested_part
from melt_ser.reporting.significance import answers_of
from melt_ser.runs.predictions import read_dev_table

Settings = dict[str, Any]
Answers = tuple[Path, pd.DataFrame]  # the folder of a run, and its answers

MOST_PAIRS = 100
OF_JOINED = ("name", "text", "text_revision")  # the settings of `backbone` in which a joined run differs
JOINED = "joined vectors"  # in place of a weight
TEXTS = ("speech", "text", "trained on", "tested on", "weight of text")
COLUMNS = (
    *(*TEXTS, "utterances", "UA speech", "UA text", "UA together"),
    *("gain over speech", "p", "gain over text", "p (text)"),
)
MEANING = (
    "Together: the mean of the probabilities of both, on the utterances that both answered: with weight 0.5 for each, "
    "and with the weight of text that is best on dev. Each fold and seed chooses its own; the table has their mean and "
    "range. Joined vectors: one classifier that reads the vectors of both. UA in %; gain: together minus one of them, "
    "with its 95 % interval by a paired bootstrap; p is corrected over all gains here (Holm), so it "
    "can differ from the p of the same two systems elsewhere in the report, which is corrected over other pairs."
)


@dataclass(frozen=True)
class Pair:
    """A system of speech, one of text, and both together on one test part."""

    speech: SystemScore
    text: SystemScore
    weight: str  # of text: 0.5, or those that dev chose; or JOINED
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
            *(self.speech.system, self.text.system, self.speech.train, tested, self.weight, f"{self.over_speech.n:,}"),
            *map(percent, self.uas),
            *(_gain(self.over_speech), p_text(self.p[0]), _gain(self.over_text), p_text(self.p[1])),
        ]


@dataclass
class Together:
    """The pairs of speech and text, and a sentence for each pair that could not be combined."""

    pairs: list[Pair] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def speech_and_text_together(scores: Sequence[SystemScore]) -> Together:
    """Return the pairs among scores that have the same training corpus, test part and classes."""
    closed = [score for score in scores if score.answer_set.startswith("closed")]
    texts = [score for score in closed if _backbone(score)["family"] in READ_WORDS]
    joined = [score for score in closed if _backbone(score).get("text") is not None]
    speech = [score for score in closed if score not in texts and score not in joined]
    candidates = [pair for pair in product(speech, texts) if _tested_alike(*pair)]
    found = Together()
    if len(candidates) > MOST_PAIRS:
        found.notes.append(f"{len(candidates):,} pairs of speech and text are too many to combine; report fewer runs.")
        return found
    read, read_dev = cache(answers_of), cache(read_dev_table)  # each system is in several pairs
    unweighted: dict[str, list[str]] = {}  # by the reason why no weight is chosen
    for one, other in candidates:
        name = f"{one.system} and {other.system} on {one.corpus}"
        try:
            systems = [one, other, *(score for score in joined if _joins(score, one, other))]
            heard, texts_read, *of_joined = _side_by_side([_with_runs(score, read) for score in systems])
            answers = list(zip(heard, texts_read, strict=True))
            dev = DevWeights(tuple(one.rows[0].classes), read_dev)
            pairs, reason = _combined(one, other, answers, dev, of_joined)
        except InputError as error:
            found.notes.append(f"{name} are not combined: {error}")
            continue
        found.pairs += pairs
        if reason:
            unweighted.setdefault(reason, []).append(name)
    for reason, names in unweighted.items():
        which = names[0] if len(names) == 1 else f"{len(names)} pairs, such as {names[0]}"
        found.notes.append(f"No weight is chosen on dev for {which}: {reason}.")
    corrected = iter(holm([p for pair in found.pairs for p in pair.p]))
    found.pairs = [replace(pair, p=(next(corrected), next(corrected))) for pair in found.pairs]
    return found


def _backbone(score: SystemScore) -> Settings:
    settings: Settings = score.runs[0].result.config["backbone"]
    return settings


def _joins(joined: SystemScore, speech: SystemScore, text: SystemScore) -> bool:
    """Return whether a system joins the encoders of two others, and is trained like that of speech."""

    def of(score: SystemScore) -> tuple[Settings, Settings]:
        settings = {key: value for key, value in _backbone(score).items() if key not in OF_JOINED}
        trainer: Settings = score.runs[0].result.config["trainer"]
        return settings, trainer

    same_text = _backbone(joined)["text"] == _backbone(text)["checkpoint"]
    return same_text and of(joined) == of(speech) and _tested_alike(joined, speech)


def _tested_alike(one: SystemScore, other: SystemScore) -> bool:
    def of(score: SystemScore) -> tuple[object, ...]:
        return score.train, score.corpus, score.rows[0].split, score.fold, sorted(score.rows[0].classes)

    return of(one) == of(other)


def _with_runs(score: SystemScore, read: Callable[[SystemScore], list[pd.DataFrame]]) -> list[Answers]:
    """Return the answers of a system, each with the folder of its run."""
    times = (row.models if row.fold == MEAN else 1 for row in score.rows)
    folders = [run.folder for run, number in zip(score.runs, times, strict=True) for _ in range(number)]
    return list(zip(folders, read(score), strict=True))


def _combined(
    speech: SystemScore,
    text: SystemScore,
    answers: Sequence[tuple[Answers, Answers]],
    dev: DevWeights,
    joined: Sequence[Sequence[Answers]],
) -> tuple[list[Pair], str | None]:
    """Score a pair from the answers of `_side_by_side`: with weight 0.5, with the weights of dev, and joined.

    joined: the answers of each system that joins the encoders.

    Return why dev chooses no weight, otherwise None. The p are not corrected yet. Raises InputError if the two cannot
    be combined.
    """
    classes = dev.classes
    common = [(_in_common(heard, read), (a, b)) for (a, heard), (b, read) in answers]
    heard, read = (pd.concat(tables, ignore_index=True) for tables in zip(*(pair for pair, _ in common), strict=True))
    mixes = [_mixed(heard, read, pd.Series(HALF, heard.index), classes)]
    weights, reason = [f"{HALF}"], None
    try:
        chosen = [dev.of_rows(*folders, _folds(of_speech)) for (of_speech, _), folders in common]
        mixes.append(_mixed(heard, read, pd.concat(chosen, ignore_index=True), classes))
        weights.append(_weight_text(list(dev.chosen.values())))
    except InputError as error:
        reason = str(error).rstrip(".")
    for of_seeds in joined:
        tables = [_of_same(of_speech, table) for (_, table), ((of_speech, _), _) in zip(of_seeds, common, strict=True)]
        mixes.append(pd.concat(tables, ignore_index=True))
        weights.append(JOINED)
    speakers = heard["group"][~heard["utterance"].duplicated()]  # the tables are of seeds or of folds
    paired = score_tables([by_utterance(table, classes) for table in (heard, read, *mixes)], speakers)
    pairs = []
    for place, weight in enumerate(weights, start=2):
        over_speech, over_text = paired.comparison(place, 0), paired.comparison(place, 1)
        heard_ua, read_ua, both_ua = (float(paired.observed[number]) for number in (0, 1, place))
        p = (over_speech.bootstrap_p, over_text.bootstrap_p)
        pairs.append(Pair(speech, text, weight, (heard_ua, read_ua, both_ua), over_speech, over_text, p))
    return pairs, reason


def _in_common(heard: pd.DataFrame, read: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the answers for the utterances that both have. Raises InputError if there is none, or for other labels."""
    heard, read = heard.set_index("utterance", drop=False), read.set_index("utterance", drop=False)
    common = heard.index.intersection(read.index)
    if common.empty:
        raise InputError("they were tested on no utterance in common.")
    heard, read = heard.loc[common], read.loc[common]
    if (heard["reference"] != read["reference"]).any():
        raise InputError("they were tested against other labels.")
    return heard, read


def _of_same(heard: pd.DataFrame, joined: pd.DataFrame) -> pd.DataFrame:
    """Return the answers of a joined run for the utterances of `heard`. Raises InputError if it lacks some."""
    _, found = _in_common(heard, joined)
    if len(found) < len(heard):
        raise InputError("the run of joined vectors was tested on fewer utterances.")
    return found


def _folds(answers: pd.DataFrame) -> pd.Series:
    """Return the fold of the model of each answer; older tables of predictions do not have it."""
    return answers["fold"] if "fold" in answers else pd.Series("", answers.index)


def _mixed(heard: pd.DataFrame, read: pd.DataFrame, weight: pd.Series, classes: Sequence[str]) -> pd.DataFrame:
    """Return the answers of both together; weight: of text, for each row."""
    return heard.assign(**{name: (1 - weight) * heard[name] + weight * read[name] for name in classes})


def _weight_text(weights: Sequence[float]) -> str:
    """Return the weights that dev chose: the mean, and the range if there are several."""
    mean, low, high = sum(weights) / len(weights), min(weights), max(weights)
    return f"{mean:.2f} (dev)" if low == high else f"{mean:.2f} (dev: {low:.2f} to {high:.2f})"


def _side_by_side(systems: Sequence[Sequence[Answers]]) -> list[list[Answers]]:
    """Return the answers of systems seed by seed; a single seed is repeated. InputError for other numbers of seeds."""
    number = max(map(len, systems))
    for seeds in map(len, systems):
        if seeds not in (1, number):
            raise InputError(
                f"they have {seeds} and {number} tables of answers, one for each seed and model; give both the same "
                "seeds."
            )
    return [list(seeds) * (number // len(seeds)) for seeds in systems]


def _gain(comparison: Comparison) -> str:
    interval = comparison.interval
    return points(comparison.difference) + (f" [{points(interval[0])}, {points(interval[1])}]" if interval else "")
