"""The labels file: a row for each line with the input's columns, the label, and the answer that it comes from.

For a table like MELD's, the file has the columns of MELT's release in their order, with the label in `llm_label`,
then the input's other columns, then `split` and our own columns. A corpus can use the file:
`dataset=melt dataset.label_file=labels.csv`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten

import pandas as pd

from melt_ser.annotation.answers import FIELDS, Answer, label_of
from melt_ser.annotation.consensus import LINES_PER_LABEL, Consensus, by_probability, dawid_skene, majority, one_coin
from melt_ser.annotation.prompts import DESCRIBED
from melt_ser.core import files
from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.corpora.label_file import read_labelled
from melt_ser.corpora.lines import LABEL_COLUMN, RELEASE_COLUMNS, Line

OURS = ("label_raw", *DESCRIBED, *(field for field in FIELDS if field not in DESCRIBED))
OURS += ("model", "prompt", "prompt_version", "temperature", "sample", "samples", "confidence", "entropy")
CONFIDENCE = "confidence_"  # prefix of the columns with each label's share or probability
FEWEST_FILES = {"majority": 2, "dawid_skene": 3, "one_coin": 3}  # for each method
MOST_COUNTED = 10  # labels outside the set that a sentence counts
LONGEST_SHOWN = 40  # characters of each


@dataclass(frozen=True)
class Origin:
    """The origin of a label; after several files are combined, their distinct values, joined."""

    model: str
    prompt: str
    prompt_version: str
    temperature: str


@dataclass(frozen=True)
class LabelledLine:
    """A line with its label (consensus None: no readable answer) and the answer shown next to it."""

    line: Line
    origin: Origin
    consensus: Consensus | None
    answer: Answer | None
    sample: str  # number of the answer that is shown; after several files are combined, its file
    samples: int  # number of readable answers; after several files are combined, of files that have the line

    @property
    def label(self) -> str:
        """The label; "" if it is none of the set."""
        return (self.consensus.label or "") if self.consensus else ""


def label_line(
    line: Line, answers: Mapping[int, Answer], labels: Sequence[str], rules: Mapping[str, str], origin: Origin
) -> LabelledLine:
    """Return a line with the label from its answers.

    The label is the most probable by the mean of the answers' probabilities if the engine scores labels, otherwise the
    majority. The answer shown is the first one with that label. A line without a label shows the first answer whose
    label is outside the set; if there is none, the first answer.

    Args:
        line: the line.
        answers: its readable answers, by number of the sample.
        labels: the prompt's label set.
        rules: maps a label outside the set to the label of the set that replaces it.
        origin: the model and the prompt.
    """
    if not answers:
        return LabelledLine(line, origin, None, None, "", 0)
    votes = {number: label_of(answers[number].label_raw, labels, rules) for number in sorted(answers)}
    scored = [answer.probabilities for answer in answers.values() if answer.probabilities is not None]
    if len(scored) == len(answers):
        means = {name: sum(probabilities[name] for probabilities in scored) / len(scored) for name in labels}
        consensus = by_probability(means, labels)
    else:
        consensus = majority(list(votes.values()), labels)
    shown = next((number for number, vote in votes.items() if vote == consensus.label), min(votes))
    return LabelledLine(line, origin, consensus, answers[shown], str(shown), len(answers))


def outside_the_set(labelled: Sequence[LabelledLine]) -> str:
    """Return a sentence that counts the raw labels outside the set, the most frequent ones by name; "" if none are."""
    outside = Counter(line.answer.label_raw for line in labelled if line.answer is not None and not line.label)
    if not outside:
        return ""
    counts = [f"{shorten(label, LONGEST_SHOWN)} {count:,}" for label, count in outside.most_common(MOST_COUNTED)]
    counts += [f"{len(outside) - MOST_COUNTED:,} others"] if len(outside) > MOST_COUNTED else []
    reason = f"since their answers are outside the prompt's set ({', '.join(counts)})"
    return f"{sum(outside.values()):,} lines have no label, {reason}; see --map"


def combine(paths: Sequence[Path], method: str = "majority") -> list[LabelledLine]:
    """Combine labels files of several models, prompts or people; return a consensus for each line of any file.

    Lines keep the order of the first file that has them. For `majority`, an empty label is a vote outside the set, and
    the first file wins among equal counts. For `dawid_skene` and `one_coin`, an empty label is no vote; they need three
    files to tell the raters' errors apart. Raises SetupError for an unknown method or too few files, InputError if no
    file has a label.
    """
    if method not in FEWEST_FILES:
        raise SetupError(f"There is no method '{method}' to combine labels: {did_you_mean(method, FEWEST_FILES)}")
    if len(paths) < FEWEST_FILES[method]:
        raise SetupError(
            f"{method} needs {FEWEST_FILES[method]} labels files or more, not {len(paths)}; "
            "give more files, or --method majority."
        )
    raters = [{line.utterance: line for line in read_labelled(path)} for path in paths]
    lines = {name: line for rater in reversed(raters) for name, line in rater.items()}
    names = list(dict.fromkeys(name for rater in raters for name in rater))
    spelled: dict[str, str] = {}  # JOY in one file is joy in another: the first spelling is kept
    for rater in raters:
        for name, line in rater.items():
            label = spelled.setdefault(line.columns[LABEL_COLUMN].casefold(), line.columns[LABEL_COLUMN])
            rater[name] = replace(line, columns={**line.columns, LABEL_COLUMN: label})
    votes = [[_vote(rater.get(name)) for rater in raters] for name in names]
    labels = sorted({vote for row in votes for vote in row if vote})
    if not labels:
        raise InputError(f"{', '.join(map(str, paths))} have no label to combine; check their column llm_label.")
    if method == "majority":
        consensuses = [majority([_vote(rater[name]) for rater in raters if name in rater], labels) for name in names]
    else:
        fitted = {"dawid_skene": dawid_skene, "one_coin": one_coin}[method](votes, labels)
        unknown = majority([None], labels)  # for a line without a vote, instead of the most frequent label
        consensuses = [consensus if any(row) else unknown for row, consensus in zip(votes, fitted, strict=True)]
    labelled = []
    for name, consensus in zip(names, consensuses, strict=True):
        given = [(rater[name], path) for rater, path in zip(raters, paths, strict=True) if name in rater]
        labelled.append(_combined(lines[name], consensus, given))
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


def _vote(line: Line | None) -> str | None:
    return line.columns[LABEL_COLUMN] or None if line else None


def _combined(line: Line, consensus: Consensus, given: Sequence[tuple[Line, Path]]) -> LabelledLine:
    """Return a line with its consensus; `given` has its row in each file. The first row with its label is shown."""
    shown, path = next((row for row in given if _vote(row[0]) == consensus.label), given[0])
    described = {field: shown.columns.get(field, "") for field in FIELDS}
    answer = Answer(shown.columns.get("label_raw", ""), probabilities=None, **described)
    distinct = {
        column: " + ".join(dict.fromkeys(row.columns.get(column, "") for row, _ in given))
        for column in ("model", "prompt", "prompt_version", "temperature")
    }
    return LabelledLine(line, Origin(**distinct), consensus, answer, path.name, len(given))


def write_labels(path: Path, labelled: Iterable[LabelledLine]) -> None:
    """Write the labels file, a row for each line. Raises OutputError if that fails."""
    frame = pd.DataFrame([_row(line) for line in labelled], dtype=object)
    files.write_csv(path, frame[_in_order([str(column) for column in frame])].fillna(""))


def _in_order(columns: Sequence[str]) -> list[str]:
    """Return the columns of MELT's release, then the input's own, then ours."""
    confidences = [column for column in columns if column.startswith(CONFIDENCE)]
    ours = ["split", *OURS, *confidences]
    theirs = [column for column in columns if column not in RELEASE_COLUMNS and column not in ours]
    return [column for column in (*RELEASE_COLUMNS, *theirs, *ours) if column in columns]


def _row(labelled: LabelledLine) -> dict[str, object]:
    answer, consensus = labelled.answer, labelled.consensus
    row: dict[str, object] = dict(input_columns(labelled.line))
    row |= {LABEL_COLUMN: labelled.label, "split": labelled.line.split}
    row |= {"label_raw": answer.label_raw if answer else ""}
    row |= {field: getattr(answer, field) if answer else "" for field in FIELDS}
    row |= vars(labelled.origin)
    row |= {"sample": labelled.sample, "samples": labelled.samples}
    if consensus:
        row |= {"confidence": consensus.confidence, "entropy": consensus.entropy}
        row |= {CONFIDENCE + name: share for name, share in consensus.confidences.items()}
    return row


def input_columns(line: Line) -> dict[str, str]:
    """Return the input's columns without those of a labels file; a line like MELD's also gets its clip's file name."""
    clip = {} if "text" in line.columns else {"filename": f"dia{line.dialogue}_utt{line.position}.wav"}
    theirs = {
        column: value
        for column, value in line.columns.items()
        if column not in ("split", LABEL_COLUMN, *OURS) and not column.startswith(CONFIDENCE)
    }
    return clip | theirs
