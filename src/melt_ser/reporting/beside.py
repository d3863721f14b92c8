"""Results of other tools next to ours (`report --beside`), in the form of published figures.

Such a result says which utterances were tested at best, and never what was trained on: so it is always shown as one of
another protocol, with what is known of the difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pandas as pd

from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.evaluation.metrics import METRICS
from melt_ser.reporting.collect import CollectedRuns, Note
from melt_ser.reporting.other_tools import OtherResult, read_other, stems_of
from melt_ser.reporting.overview import SystemScore
from melt_ser.reporting.published import Published
from melt_ser.reporting.utterances import read_predictions

UNKNOWN_TRAINING = "what it was trained on is not stated, and may hold the test"


def read_beside(entries: Iterable[str], found: CollectedRuns) -> list[OtherResult]:
    """Return the results that `--beside <corpus>=<path>` names; a path that cannot be read joins `found.unreadable`.

    Raises SetupError if an entry has another form, or no run is tested on its corpus.
    """
    tested = {row.corpus for run in found.runs for row in run.evals}
    results: list[OtherResult] = []
    for entry in entries:
        corpus, _, path = entry.partition("=")
        if not path:
            raise SetupError(f"--beside={entry} names no path; write --beside <test corpus>=<file or folder>.")
        if corpus not in tested:
            raise SetupError(f"No run of the report is tested on '{corpus}' (--beside); {did_you_mean(corpus, tested)}")
        try:
            results += read_other(corpus, Path(path))
        except InputError as error:
            found.unreadable.append(Note(Path(path), str(error)))
    return results


def other_results_next_to(results: Iterable[OtherResult], scores: list[SystemScore]) -> list[Published]:
    """Return each result next to our best system on each test set of its corpus."""
    best: dict[tuple[str, ...], SystemScore] = {}
    for score in scores:  # the best of a test set comes first
        if score.answer_set.startswith("closed"):
            row = score.rows[0]
            best.setdefault((score.corpus, row.digest, row.split, score.fold, *row.classes), score)
    read = cache(_references)
    return [
        _beside(one, score, None if one.answers is None else read(score))
        for one in results
        for score in best.values()
        if score.corpus == one.corpus
    ]


def _beside(other: OtherResult, score: SystemScore, ours: pd.Series | None) -> Published:
    means = score.summary.mean
    figures: dict[str, tuple[float, float | None]] = {
        name: (means[name], other.figures.get(name)) for name in METRICS if name in means
    }
    tested = f"{other.n} test utterances" + (f" in {other.classes} classes" if other.classes else "")
    difference, note = _test_part(other, score, ours)
    differs = [*difference, UNKNOWN_TRAINING]
    classes = len(score.rows[0].classes)
    if other.classes not in (None, classes):
        differs.insert(0, f"{other.classes} classes there, {classes} here")
    return Published(
        source=other.tool,
        where=f"measured elsewhere, {other.path}",
        protocol=f"{tested}; training and split are not stated",
        model=other.model,
        train=score.train,
        score=score,
        figures=figures,
        differs=tuple(differs),
        note="; ".join(text for text in (other.note, note) if text),
    )


def _test_part(other: OtherResult, score: SystemScore, ours: pd.Series | None) -> tuple[list[str], str]:
    """Return the known differences of the test utterances, and a note if these are the same.

    ours: the references of our test files, None if they are not known.
    """
    if other.answers is None or ours is None:
        numbers = f"{other.n} test utterances there, {score.n} here"
        return ([numbers] if other.n != score.n else [f"which {other.n} utterances were tested is not stated"]), ""
    common = ours.index.intersection(other.answers.index)
    if not len(common) == len(ours) == len(other.answers):
        return [f"{len(common)} of its {len(other.answers)} test files are among our {len(ours)}"], ""
    changed = int((ours[common] != other.answers[common]).sum())
    if changed:
        return [f"{changed} of the {len(common)} test utterances have another reference"], ""
    return [], "the same test utterances with the same references"


def _references(score: SystemScore) -> pd.Series | None:
    """Return the reference of each of our test files, by its stem; None if they are not known, or not one each."""
    try:
        tables = [read_predictions(*pair) for pair in zip(score.runs, score.rows, strict=True)]
    except InputError:
        return None
    table = pd.concat(tables).drop_duplicates("utterance")  # several seeds have the same
    if "file" not in table or table["file"].isna().any():
        return None
    stems = stems_of(table["file"])
    return table["reference"].set_axis(stems) if stems.is_unique else None
