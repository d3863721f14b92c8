"""The labels file: a row for each line with the input's columns, the label, and the answer that it comes from.

For a table like MELD's, the file has the columns of MELT's release in their order, with the label in `llm_label`,
then the input's other columns, then `split` and our own columns. The fields of an answer of the user's own are in
columns that begin with `llm_`. A corpus can use the file: `dataset=melt dataset.label_file=labels.csv`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten

import pandas as pd

from melt_ser.annotation.answers import Answer
from melt_ser.annotation.consensus import Consensus
from melt_ser.annotation.fields import PAPER_COLUMNS, Field, main_field
from melt_ser.annotation.summary import columns_of, consensus_of, summary_of, vote_of
from melt_ser.core import files
from melt_ser.corpora.lines import CONFIDENCE, FIELD, LABEL_COLUMN, RELEASE_COLUMNS, Line

ABOUT = (
    *("model", "prompt", "prompt_version", "temperature", "sample", "samples", "confidence", "entropy"),
    "reason",  # why a line has no label
)
PROVENANCE = ("answered_by", "fingerprint", "finish_reason", "address", "options", "answered_at")
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
    """A line with its label and the rest of its answers."""

    line: Line
    origin: Origin
    consensus: Consensus | None  # None: no readable answer, or answers without labels
    described: Mapping[str, object]  # the columns of the answer: `label_raw` if it has a label, and its fields
    sample: str  # number of the answer that is shown; after several files are combined, its file
    samples: int  # number of readable answers; after several files are combined, of files that have the line
    reason: str = ""  # why there is no label
    provenance: Mapping[str, str] = field(default_factory=dict)  # of the answer, by column of PROVENANCE

    @property
    def label(self) -> str:
        """The label; "" if it is none of the set."""
        return (self.consensus.label or "") if self.consensus else ""

    @property
    def is_labelled(self) -> bool:
        """Whether the line has what was asked for: a label, or an answer if the prompt asks for no label."""
        return bool(self.label) or (self.samples > 0 and self.consensus is None)


def label_line(
    line: Line, answers: Mapping[int, Answer], fields: Sequence[Field], rules: Mapping[str, str], origin: Origin
) -> LabelledLine:
    """Return a line with the label and the fields from its answers.

    The label is the most probable by the mean of the answers' probabilities if the engine scores labels, otherwise the
    majority, or the largest mean share. The answer shown is the first one with that label. A line without a label shows
    the first answer whose label is outside the set; if there is none, the first answer.

    Args:
        line: the line.
        answers: its readable answers, by number of the sample.
        fields: the fields that the prompt asks for.
        rules: maps a label outside the set to the label of the set that replaces it.
        origin: the model and the prompt.
    """
    if not answers:
        return LabelledLine(line, origin, None, dict.fromkeys(columns_of(fields), ""), "", 0)
    main = main_field(fields)
    in_order = [answers[number] for number in sorted(answers)]
    consensus, shown = None, min(answers)
    if main is not None:
        consensus = consensus_of(in_order, main, rules)
        tops = {number: vote_of(answers[number], main, rules) for number in sorted(answers)}
        with_label = (number for number, vote in tops.items() if max(vote, key=vote.__getitem__) == consensus.label)
        shown = next(with_label, shown)
    described = summary_of(in_order, answers[shown], fields, rules)
    return LabelledLine(line, origin, consensus, described, str(shown), len(answers))


def outside_the_set(labelled: Sequence[LabelledLine]) -> str:
    """Return a sentence that counts the raw labels outside the set, the most frequent ones by name; "" if none are."""
    outside = Counter(str(line.described["label_raw"]) for line in labelled if line.consensus and not line.label)
    if not outside:
        return ""
    counts = [f"{shorten(label, LONGEST_SHOWN)} {count:,}" for label, count in outside.most_common(MOST_COUNTED)]
    counts += [f"{len(outside) - MOST_COUNTED:,} others"] if len(outside) > MOST_COUNTED else []
    reason = f"since their answers are outside the prompt's set ({', '.join(counts)})"
    return f"{sum(outside.values()):,} lines have no label, {reason}; see --map"


def write_labels(path: Path, labelled: Iterable[LabelledLine]) -> None:
    """Write the labels file, a row for each line. Raises OutputError if that fails."""
    described: dict[str, None] = {}
    rows = []
    for line in labelled:
        rows.append(_row(line))
        described |= dict.fromkeys(line.described)
    frame = pd.DataFrame(rows, dtype=object)
    frame = frame.drop(columns=[column for column in PROVENANCE if column in frame and not _differs(frame, column)])
    files.write_csv(path, frame[_in_order([str(column) for column in frame], list(described))].fillna(""))


def _differs(frame: pd.DataFrame, column: str) -> bool:
    """Return whether a column of the provenance tells something: it differs between lines, or from the model asked."""
    values = frame[column].fillna("")
    return values.nunique() > 1 or (column == "answered_by" and bool((values != frame["model"]).any() and values.any()))


def _in_order(columns: Sequence[str], described: Sequence[str]) -> list[str]:
    """Return the columns of MELT's release, then the input's own, then ours."""
    confidences = [column for column in columns if column.startswith(CONFIDENCE)]
    ours = ["split", *described, *ABOUT, *PROVENANCE, *confidences]
    theirs = [column for column in columns if column not in RELEASE_COLUMNS and column not in ours]
    return [column for column in (*RELEASE_COLUMNS, *theirs, *ours) if column in columns]


def _row(labelled: LabelledLine) -> dict[str, object]:
    consensus = labelled.consensus
    row: dict[str, object] = dict(input_columns(labelled.line))
    row |= {"split": labelled.line.split, **labelled.described}
    row |= {LABEL_COLUMN: labelled.label} if "label_raw" in labelled.described else {}
    row |= vars(labelled.origin)
    row |= {"sample": labelled.sample, "samples": labelled.samples, "reason": labelled.reason}
    row |= labelled.provenance
    if consensus:
        row |= {"confidence": consensus.confidence, "entropy": consensus.entropy}
        row |= {CONFIDENCE + name: share for name, share in consensus.confidences.items()}
    return row


def input_columns(line: Line) -> dict[str, str]:
    """Return the input's columns without those of a labels file; a line like MELD's also gets its clip's file name."""
    clip = {} if "Dialogue_ID" not in line.columns else {"filename": f"dia{line.dialogue}_utt{line.position}.wav"}
    is_ours = "prompt_version" in line.columns
    return clip | {column: cell for column, cell in line.columns.items() if not (is_ours and _is_ours(column))}


def replaced_columns(lines: Sequence[Line], fields: Sequence[Field]) -> list[str]:
    """Return the columns of the input that the labels file replaces by the model's, other than those of annotation."""
    ours = {*columns_of(fields), *ABOUT, *PROVENANCE} - {LABEL_COLUMN}
    return sorted({column for line in lines for column in input_columns(line)} & ours)


def _is_ours(column: str) -> bool:
    return column in ("split", *ABOUT, *PROVENANCE) or is_field(column) or column.startswith((CONFIDENCE, FIELD))


def is_field(column: str) -> bool:
    """Return whether a column of a labels file is a field of the answer, other than the label."""
    is_own = column.startswith(FIELD) and column != LABEL_COLUMN
    return column in ("label_raw", *PAPER_COLUMNS) or is_own
