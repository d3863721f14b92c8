"""One labels file from several, of other models, other prompts or people: a consensus of labels, the mean of scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

from melt_ser.annotation.consensus import FEWEST_RATERS, LINES_PER_LABEL, MODELS, Consensus, majority
from melt_ser.annotation.labels_file import LabelledLine, Origin, is_field
from melt_ser.annotation.summary import DEVIATION
from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.corpora.label_file import read_labelled
from melt_ser.corpora.lines import FIELD, LABEL_COLUMN, Line

FEWEST_FILES = {"majority": 2} | dict.fromkeys(MODELS, FEWEST_RATERS)  # for each method
Rater = Mapping[str, Line]  # the lines of a file, by utterance


def combine(paths: Sequence[Path], method: str = "majority") -> list[LabelledLine]:
    """Combine labels files of several models, prompts or people; return a consensus for each line of any file.

    Lines keep the order of the first file that has them. For `majority`, an empty label is a vote outside the set, and
    the first file wins among equal counts. For `dawid_skene` and `one_coin`, an empty label is no vote; they need three
    files to tell the raters' errors apart. A score (a column `llm_…` of numbers) is the mean of the files that have it.
    Files of scores alone do not vote on the label.

    Raises SetupError for an unknown method, too few files, or a method without labels to use it on; InputError if a
    file has neither labels nor scores, or no file has a label in its column of labels.
    """
    if method not in FEWEST_FILES:
        raise SetupError(f"There is no method '{method}' to combine labels: {did_you_mean(method, FEWEST_FILES)}")
    raters: list[Rater] = [{line.utterance: line for line in read_labelled(path, needs_label=False)} for path in paths]
    scores = _score_columns(raters)
    with_labels = [any(LABEL_COLUMN in line.columns for line in rater.values()) for rater in raters]
    for rater, path, has_labels in zip(raters, paths, with_labels, strict=True):
        if not has_labels and not any(scores & line.columns.keys() for line in rater.values()):
            raise InputError(
                f"{path} has neither a label (a column {LABEL_COLUMN}, label or emotion) nor scores (columns "
                f"{FIELD}… of numbers); name its column so."
            )
    if method != "majority" and not any(with_labels):
        raise SetupError(f"The files have scores alone, which are combined by their mean; leave --method {method} out.")
    number = len(raters) if method == "majority" else sum(with_labels)
    if number < FEWEST_FILES[method]:
        raise SetupError(
            f"{method} needs {FEWEST_FILES[method]} labels files or more, not {number}; give more files"
            + (", or --method majority." if method != "majority" else ".")
        )
    names = list(dict.fromkeys(name for rater in raters for name in rater))
    raters = _in_one_spelling(raters)
    consensuses = _consensuses(raters, names, method, paths) if any(with_labels) else dict.fromkeys(names)
    labelled = []
    for name in names:
        given = [(rater[name], path) for rater, path in zip(raters, paths, strict=True) if name in rater]
        labelled.append(_combined(given, consensuses[name], scores, any(with_labels)))
    return labelled


def few_lines(labelled: Sequence[LabelledLine], method: str) -> str:
    """Return a caution if Dawid and Skene's model had few lines to learn each file's errors from; otherwise ""."""
    labels = {name for line in labelled if line.consensus for name in line.consensus.confidences}
    if method != "dawid_skene" or len(labelled) >= LINES_PER_LABEL * len(labels):
        return ""
    return (
        f"caution: {len(labelled):,} lines with {len(labels)} labels are few for dawid_skene, which estimates "
        f"{len(labels)} x {len(labels)} errors of each file and can be worse than a vote; from about "
        f"{LINES_PER_LABEL * len(labels):,} lines on it is better. Compare with --method majority or one_coin."
    )


def _score_columns(raters: Sequence[Rater]) -> set[str]:
    """Return the columns of scores: fields of which every cell is a number or empty, in every file that has them."""
    cells: dict[str, set[str]] = {}
    for rater in raters:
        for line in rater.values():
            for column, cell in line.columns.items():
                if column.startswith(FIELD) and column != LABEL_COLUMN and not column.endswith(DEVIATION):
                    cells.setdefault(column, set()).add(cell)
    return {column for column, found in cells.items() if found != {""} and all(map(_is_score, found))}


def _is_score(cell: str) -> bool:
    try:
        return not cell or math.isfinite(float(cell))
    except ValueError:
        return False


def _in_one_spelling(raters: Sequence[Rater]) -> list[Rater]:
    """Return the lines with one spelling of each label: JOY in one file is joy in another, and the first is kept."""
    spelled: dict[str, str] = {}
    return [
        {
            name: replace(line, columns={**line.columns, LABEL_COLUMN: spelled.setdefault(label.casefold(), label)})
            if (label := line.columns.get(LABEL_COLUMN))
            else line
            for name, line in rater.items()
        }
        for rater in raters
    ]


def _consensuses(
    raters: Sequence[Rater], names: Sequence[str], method: str, paths: Sequence[Path]
) -> dict[str, Consensus | None]:
    """Return the consensus of each line; None for one that is in files of scores alone."""
    rows = [
        [rater[name] for rater in raters if name in rater and LABEL_COLUMN in rater[name].columns] for name in names
    ]
    labels = sorted({vote for row in rows for vote in map(_vote, row) if vote})
    if not labels:
        raise InputError(f"{', '.join(map(str, paths))} have no label to combine; check their column llm_label.")
    if method == "majority":
        found = [majority([_vote(line) for line in row], labels) if row else None for row in rows]
        return dict(zip(names, found, strict=True))
    votes = [[_vote(rater.get(name)) for rater in raters] for name in names]
    unknown = majority([None], labels)  # for a line without a vote, instead of the most frequent label
    fitted = zip(names, rows, votes, MODELS[method](votes, labels), strict=True)
    return {name: (consensus if any(votes) else unknown) if row else None for name, row, votes, consensus in fitted}


def _vote(line: Line | None) -> str | None:
    return line.columns.get(LABEL_COLUMN) or None if line else None


def _combined(
    given: Sequence[tuple[Line, Path]], consensus: Consensus | None, scores: set[str], has_labels: bool
) -> LabelledLine:
    """Return a line with its consensus and its mean scores.

    Args:
        given: its row in each file that has it; the first row with its label is shown.
        consensus: of its labels.
        scores: the columns of scores.
        has_labels: whether the file has a column of labels.
    """
    label = consensus.label if consensus else None
    shown, path = next((row for row in given if _vote(row[0]) == label), given[0])
    described: dict[str, object] = {"label_raw": ""} if has_labels else {}
    for column, cell in shown.columns.items():
        if is_field(column) and column not in scores and not column.endswith(DEVIATION):
            described[column] = cell
    for column in sorted(scores):
        values = [float(line.columns[column]) for line, _ in given if line.columns.get(column)]
        described[column] = f"{fmean(values):.6g}" if values else ""
        described[column + DEVIATION] = f"{stdev(values):.6g}" if len(values) > 1 else ""
    distinct = {
        column: " + ".join(dict.fromkeys(line.columns.get(column, "") for line, _ in given))
        for column in ("model", "prompt", "prompt_version", "temperature")
    }
    return LabelledLine(given[0][0], Origin(**distinct), consensus, described, path.name, len(given))
