"""The labels file: a row for each line with the input's columns, the label, and the answer that it comes from.

For a table like MELD's, the file has the columns of MELT's release in their order, with the label in `llm_label`,
then the input's other columns, then `split` and our own columns. The fields of an answer of the user's own are in
columns that begin with `llm_`. A corpus can use the file: `dataset=melt dataset.label_file=labels.csv`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import shorten

import pandas as pd

from melt_ser.annotation.answers import Answer
from melt_ser.annotation.consensus import LINES_PER_LABEL, Consensus, dawid_skene, majority, one_coin
from melt_ser.annotation.fields import PAPER_COLUMNS, Field, main_field
from melt_ser.annotation.summary import columns_of, consensus_of, summary_of, vote_of
from melt_ser.core import files
from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.corpora.label_file import read_labelled
from melt_ser.corpora.lines import LABEL_COLUMN, RELEASE_COLUMNS, Line

ABOUT = (
    *("model", "prompt", "prompt_version", "temperature", "sample", "samples", "confidence", "entropy"),
    "reason",  # why a line has no label
)
PROVENANCE = ("answered_by", "fingerprint", "finish_reason", "address", "options", "answered_at")
CONFIDENCE = "confidence_"  # prefix of the columns with each label's share or probability
FIELD = "llm_"  # prefix of the columns with the fields of an answer of the user's own
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
    described = {"label_raw": ""} | {column: cell for column, cell in shown.columns.items() if _is_field(column)}
    distinct = {
        column: " + ".join(dict.fromkeys(row.columns.get(column, "") for row, _ in given))
        for column in ("model", "prompt", "prompt_version", "temperature")
    }
    return LabelledLine(line, Origin(**distinct), consensus, described, path.name, len(given))


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
    return column in ("split", *ABOUT, *PROVENANCE) or _is_field(column) or column.startswith((CONFIDENCE, FIELD))


def _is_field(column: str) -> bool:
    is_own = column.startswith(FIELD) and column != LABEL_COLUMN
    return column in ("label_raw", *PAPER_COLUMNS) or is_own
