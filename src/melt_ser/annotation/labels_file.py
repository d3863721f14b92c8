"""The labels file: a row for each line, first what the input says of it, then its label and how that came about.

A table like MELD's keeps the columns of MELT's release in their order, with the label in `llm_label`; after them stand
`split` and ours. A corpus takes the file as its labels: `dataset=melt dataset.label_file=labels.csv`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from melt_ser.annotation.answers import FIELDS, Answer, label_of
from melt_ser.annotation.consensus import Consensus, by_probability, majority
from melt_ser.annotation.prompts import DESCRIBED
from melt_ser.core import files
from melt_ser.corpora.lines import LABEL_COLUMN, RELEASE_COLUMNS, Line

OURS = ("label_raw", *DESCRIBED, *(field for field in FIELDS if field not in DESCRIBED))
OURS += ("model", "prompt", "prompt_version", "temperature", "sample", "samples", "confidence", "entropy")
CONFIDENCE = "confidence_"  # and a label: the share or probability of each


@dataclass(frozen=True)
class Asked:
    """Who was asked, and how; of several raters the distinct values, joined."""

    model: str
    prompt: str
    prompt_version: str
    temperature: str


@dataclass(frozen=True)
class LabelledLine:
    """A line with its label (None: no answer could be read) and the answer that is shown beside it."""

    line: Line
    asked: Asked
    consensus: Consensus | None
    answer: Answer | None
    sample: str  # the number of the answer that is shown; of several raters, its file
    samples: int  # how many answers (of several raters, labels) there are

    @property
    def label(self) -> str:
        """The label, "" where there is none of the set."""
        return (self.consensus.label or "") if self.consensus else ""


def label_line(
    line: Line, answers: Mapping[int, Answer], labels: Sequence[str], rules: Mapping[str, str], asked: Asked
) -> LabelledLine:
    """The label of a line by its answers, which are numbered by sample.

    By the mean of their probabilities where the engine scores the labels, else by majority. Shown is the first answer
    that says the label; where none of the set is given, the first.
    """
    if not answers:
        return LabelledLine(line, asked, None, None, "", 0)
    votes = {number: label_of(answers[number].label_raw, labels, rules) for number in sorted(answers)}
    scored = [answer.probabilities for answer in answers.values() if answer.probabilities is not None]
    if len(scored) == len(answers):
        means = {name: sum(given[name] for given in scored) / len(scored) for name in labels}
        consensus = by_probability(means, labels)
    else:
        consensus = majority(list(votes.values()), labels)
    shown = next((number for number, vote in votes.items() if vote == consensus.label), min(votes))
    return LabelledLine(line, asked, consensus, answers[shown], str(shown), len(answers))


def write_labels(path: Path, labelled: Iterable[LabelledLine]) -> None:
    """Write the labels file, a row for each line; OutputError where that fails."""
    frame = pd.DataFrame([_row(one) for one in labelled], dtype=object)
    files.write_csv(path, frame[_in_order([str(column) for column in frame])].fillna(""))


def _in_order(columns: Sequence[str]) -> list[str]:
    """The input's own columns between those of MELT's release and ours."""
    confidences = [column for column in columns if column.startswith(CONFIDENCE)]
    ours = ["split", *OURS, *confidences]
    theirs = [column for column in columns if column not in RELEASE_COLUMNS and column not in ours]
    return [column for column in (*RELEASE_COLUMNS, *theirs, *ours) if column in columns]


def _row(one: LabelledLine) -> dict[str, object]:
    answer, consensus = one.answer, one.consensus
    row: dict[str, object] = dict(input_columns(one.line))
    row |= {LABEL_COLUMN: one.label, "split": one.line.split, "label_raw": answer.label_raw if answer else ""}
    row |= {field: getattr(answer, field) if answer else "" for field in FIELDS}
    row |= vars(one.asked)
    row |= {"sample": one.sample, "samples": one.samples}
    if consensus:
        row |= {"confidence": consensus.confidence, "entropy": consensus.entropy}
        row |= {CONFIDENCE + name: share for name, share in consensus.confidences.items()}
    return row


def input_columns(line: Line) -> dict[str, str]:
    """What the input says of a line, without what a labels file says beyond it; of one like MELD's, with its clip."""
    clip = {} if "text" in line.columns else {"filename": f"dia{line.dialogue}_utt{line.position}.wav"}
    theirs = {
        column: value
        for column, value in line.columns.items()
        if column not in ("split", LABEL_COLUMN, *OURS) and not column.startswith(CONFIDENCE)
    }
    return clip | theirs
