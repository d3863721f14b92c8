"""Compare runs that differ in the source of their labels alone (`dataset.label_file`), pair by pair on common rows.

Two sources may label other rows, and the same row in another way. So a pair is scored on the utterances that both runs
were tested on, once against the labels of each source; runs with the same test labels (`eval.reference`) once.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations
from typing import Any

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.evaluation.comparison import Comparison, by_utterance, holm, score_tables
from melt_ser.evaluation.metrics import p_text, percent
from melt_ser.reporting.overview import SystemScore, points
from melt_ser.reporting.significance import MOST_COMPARISONS, predictions_of
from melt_ser.reporting.systems import method_of

OF_THE_SOURCE = ("label_file", "label_column", "digest", "name")  # dataset settings in which two sources may differ
SAME = "the same"  # reference: both runs were tested on the same labels
COLUMNS = (
    *("system", "tested on", "first", "second", "common rows", "labels differ", "scored against"),
    *("UA first", "UA second", "difference", "p"),
)
MEANING = (
    "Runs that differ in their label source alone, on the utterances that both were tested on, with answers among the "
    "classes that both have. Labels differ: % of these with two test labels; if any have, the pair is scored against "
    "the labels of each source. UA in %; difference: first minus second, with its 95 % interval by a paired bootstrap; "
    "p is corrected over all rows (Holm). eval.reference gives all sources one test."
)


@dataclass(frozen=True)
class SourcePair:
    """Two runs (or means over seeds or folds) with labels of two sources, scored against one of these."""

    method: str
    corpus: str
    first: str  # label source
    second: str
    rows: int  # that both were tested on, with a reference among the common classes
    differ: float  # share of the common rows with two test labels, 0..1
    reference: str  # a label source, or SAME
    first_ua: float
    second_ua: float
    comparison: Comparison
    p: float  # corrected over all pairs

    @property
    def cells(self) -> list[str]:
        """Return the texts of COLUMNS."""
        interval = self.comparison.interval
        bounds = f" [{points(interval[0])}, {points(interval[1])}]" if interval else ""
        return [
            *(self.method, self.corpus, self.first, self.second, f"{self.rows:,}", percent(self.differ)),
            *(self.reference, percent(self.first_ua), percent(self.second_ua)),
            *(points(self.comparison.difference) + bounds, p_text(self.p)),
        ]


@dataclass
class LabelSources:
    """The pairs of label sources, and a sentence for each pair that could not be compared."""

    pairs: list[SourcePair] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compare_label_sources(scores: Sequence[SystemScore], methods: dict[str, str]) -> LabelSources:
    """Return the pairs among scores of runs on their own corpus; `methods` has the names of `method_names`."""
    alike: dict[tuple[str, ...], list[SystemScore]] = defaultdict(list)
    for score in scores:
        if score.corpus == score.train and score.answer_set.startswith("closed"):
            alike[_without_source(score)].append(score)
    found = LabelSources()
    candidates = [pair for group in alike.values() for pair in combinations(group, 2)]
    if len(candidates) > MOST_COMPARISONS:
        found.notes.append(f"{len(candidates):,} pairs of label sources are too many to compare; report fewer runs.")
        return found
    read = cache(predictions_of)
    for group in alike.values():
        names = _names(group)
        for first, second in combinations(group, 2):
            if names[id(first)] == names[id(second)]:
                continue
            told = names[id(first)], names[id(second)]
            try:
                found.pairs += _compared((first, second), told, read, methods[method_of(first.key)])
            except InputError as error:
                found.notes.append(f"{told[0]} and {told[1]} on {first.corpus} are not compared: {error}")
    corrected = holm([pair.p for pair in found.pairs])
    found.pairs = [replace(pair, p=p) for pair, p in zip(found.pairs, corrected, strict=True)]
    return found


def _without_source(score: SystemScore) -> tuple[str, ...]:
    """Return the settings of a score's runs, without those of the label source, and the part that was tested."""
    settings = json.loads(score.key)
    dataset = {key: value for key, value in settings.pop("dataset").items() if key not in OF_THE_SOURCE}
    return json.dumps([settings, dataset], sort_keys=True), score.rows[0].split, score.fold


def _names(group: Sequence[SystemScore]) -> dict[int, str]:
    """Return the name of each score's label source: the file, or the column of the release."""
    datasets: dict[int, dict[str, Any]] = {id(score): score.runs[0].result.config["dataset"] for score in group}
    files = {key: str(settings.get("label_file") or "") for key, settings in datasets.items()}
    last = {key: path.rstrip("/").rpartition("/")[2] for key, path in files.items()}
    clash = {name for name in last.values() if len({files[key] for key in last if last[key] == name}) > 1}
    return {
        key: (files[key] if last[key] in clash else last[key])
        or f"release ({datasets[key].get('label_column', 'label')})"
        for key in datasets
    }


def _compared(
    scores: tuple[SystemScore, SystemScore],
    names: tuple[str, str],
    read: Callable[[SystemScore], pd.DataFrame],
    method: str,
) -> Iterator[SourcePair]:
    """Yield the pair against the labels of each source, or once if they are the same. Its p is not corrected yet.

    Raises InputError if the two have no utterance, or fewer than two classes, in common.
    """
    first, second = (read(score) for score in scores)
    classes = [name for name in scores[0].rows[0].classes if name in scores[1].rows[0].classes]
    labels = [table.drop_duplicates("utterance").set_index("utterance")["reference"] for table in (first, second)]
    common = labels[0].index.intersection(labels[1].index)
    if common.empty or len(classes) < 2:
        raise InputError(f"they share {len(common)} test utterances and {len(classes)} classes.")
    differ = float((labels[0][common] != labels[1][common]).mean())
    references = dict(zip(names, labels, strict=True)) if differ else {SAME: labels[0]}
    for reference, label in references.items():
        kept = common[label[common].isin(classes)]
        if kept.empty:
            continue
        own = [table[table["utterance"].isin(kept)] for table in (first, second)]
        own = [table.assign(reference=table["utterance"].map(label)) for table in own]
        speakers = own[0].loc[~own[0]["utterance"].duplicated(), "group"]
        paired = score_tables([by_utterance(table, classes) for table in own], speakers)
        comparison = paired.comparison(0, 1)
        uas = float(paired.observed[0]), float(paired.observed[1])
        told = (method, scores[0].corpus, *names, len(kept), differ, reference)
        yield SourcePair(*told, *uas, comparison, comparison.bootstrap_p)
