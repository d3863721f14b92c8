"""One labels file from several: of other models, other prompts, or people who write such files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from melt_ser.annotation.answers import FIELDS, Answer
from melt_ser.annotation.consensus import Consensus, dawid_skene, majority
from melt_ser.annotation.labels_file import Asked, LabelledLine
from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.corpora.lines import LABEL_COLUMN, Line, read_labelled

METHODS = {"majority": 2, "dawid_skene": 3}  # and how many files each needs


def combine(paths: Sequence[Path], method: str = "majority") -> list[LabelledLine]:
    """The consensus of labels files, for each line of any of them, in the order of the first that has it.

    An empty label is a vote outside the set for the majority (of equal counts the first file's wins), and none for
    Dawid-Skene, which needs three files to tell the raters' errors apart. Raises SetupError where files are too few.
    """
    if method not in METHODS:
        raise SetupError(f"There is no way '{method}' to combine labels: {did_you_mean(method, METHODS)}")
    if len(paths) < METHODS[method]:
        raise SetupError(f"{method} needs {METHODS[method]} labels files or more, not {len(paths)}.")
    raters = [{line.utterance: line for line in read_labelled(path)} for path in paths]
    lines = {name: line for rater in reversed(raters) for name, line in rater.items()}
    names = list(dict.fromkeys(name for rater in raters for name in rater))
    votes = [[_vote(rater.get(name)) for rater in raters] for name in names]
    labels = sorted({vote for row in votes for vote in row if vote})
    if not labels:
        raise InputError(f"{', '.join(map(str, paths))} have no label; there is nothing to combine.")
    if method == "majority":
        found = [majority([_vote(rater[name]) for rater in raters if name in rater], labels) for name in names]
    else:
        fitted = dawid_skene(votes, labels)
        unknown = majority([None], labels)  # not the most frequent label, which the model would guess
        found = [consensus if any(row) else unknown for row, consensus in zip(votes, fitted, strict=True)]
    return [
        _labelled(lines[name], consensus, name, raters, paths) for name, consensus in zip(names, found, strict=True)
    ]


def _vote(line: Line | None) -> str | None:
    return line.columns[LABEL_COLUMN] or None if line else None


def _labelled(
    line: Line, consensus: Consensus, name: str, raters: Sequence[dict[str, Line]], paths: Sequence[Path]
) -> LabelledLine:
    """A line with its consensus; shown is the answer of the first file that has its label."""
    given = [(rater[name], path) for rater, path in zip(raters, paths, strict=True) if name in rater]
    shown, path = next((one for one in given if _vote(one[0]) == consensus.label), given[0])
    described = {field: shown.columns.get(field, "") for field in FIELDS}
    answer = Answer(shown.columns.get("label_raw", ""), probabilities=None, **described)
    distinct = {
        column: " + ".join(dict.fromkeys(one.columns.get(column, "") for one, _ in given))
        for column in ("model", "prompt", "prompt_version", "temperature")
    }
    return LabelledLine(line, Asked(**distinct), consensus, answer, path.name, len(given))
