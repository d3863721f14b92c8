"""From the answers about a line, by one model, to its label and its columns of the labels file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from melt_ser.annotation.answers import Answer, label_of
from melt_ser.annotation.consensus import Consensus, by_probability, by_share
from melt_ser.annotation.fields import Field, Value, in_order, main_field

DEVIATION = "_deviation"  # suffix of the column with the standard deviation of several answers' scores
JOINED = " + "  # between several labels in one cell


def consensus_of(answers: Sequence[Answer], field: Field, rules: Mapping[str, str]) -> Consensus:
    """Return the consensus of answers on a field with labels, by their probabilities if all have them, or by votes."""
    scored = [answer.probabilities for answer in answers if answer.probabilities is not None]
    if len(scored) == len(answers):
        means = {name: sum(probabilities[name] for probabilities in scored) / len(scored) for name in field.labels}
        return by_probability(means, field.labels)
    return by_share([vote_of(answer, field, rules) for answer in answers], field.labels)


def vote_of(answer: Answer, field: Field, rules: Mapping[str, str]) -> dict[str | None, float]:
    """Return the share of each label in one answer; None stands for labels outside the set.

    Several labels have equal shares. An answer that leaves the field out votes for None.
    """
    vote: dict[str | None, float] = {}
    for raw, share in _shares(answer.values.get(field.name)).items():
        label = label_of(raw, field.labels, rules)
        vote[label] = vote.get(label, 0.0) + share
    return vote or {None: 1.0}


def _shares(value: Value | None) -> Mapping[str, float]:
    if isinstance(value, Mapping):
        return value
    raw = value if isinstance(value, tuple) else () if value is None else (str(value),)
    return {label: 1.0 / len(raw) for label in raw}


def columns_of(fields: Sequence[Field]) -> list[str]:
    """Return the columns of the labels file that the fields of an answer fill, but for the label and its shares."""
    main, columns = main_field(fields), []
    for field in in_order(fields):
        if field is main:
            columns.append("label_raw")
        if field.kind == "distribution" and field is not main:
            columns += [f"{field.column}_{label}" for label in field.labels]
        elif field is not main or field.kind == "labels":
            columns.append(field.column)
    return sorted(columns, key=lambda column: column != "label_raw")


def summary_of(
    answers: Sequence[Answer], shown: Answer, fields: Sequence[Field], rules: Mapping[str, str]
) -> dict[str, object]:
    """Return the columns of a line's answers.

    Labels are the majority's, shares and scores are means; `label_raw` and texts are those of the answer `shown`.
    """
    main = main_field(fields)
    row: dict[str, object] = dict.fromkeys(columns_of(fields), "")
    for field in fields:
        values = [answer.values[field.name] for answer in answers if field.name in answer.values]
        if field is main:
            row["label_raw"] = _as_text(shown.values.get(field.name, ""))
        if not values:
            continue
        if field.kind == "text":
            row[field.column] = shown.values.get(field.name, "")
        elif field.kind == "score":
            scores = [value for value in values if isinstance(value, float)]
            row[field.column] = f"{fmean(scores):.6g}"
            row |= {field.column + DEVIATION: f"{stdev(scores):.6g}"} if len(answers) > 1 and len(scores) > 1 else {}
        else:
            given = [answer for answer in answers if field is main or field.name in answer.values]
            row |= _labels(given, field, rules if field is main else {}, field is main)
    return row


def _labels(answers: Sequence[Answer], field: Field, rules: Mapping[str, str], is_main: bool) -> dict[str, object]:
    """Return the columns of a field with labels; of the main field, several labels alone have one."""
    votes = [vote_of(answer, field, rules) for answer in answers]
    consensus = by_share(votes, field.labels)
    if field.kind == "labels":
        counts = Counter(label for vote in votes for label in vote)
        return {field.column: JOINED.join(label for label in field.labels if 2 * counts[label] > len(votes))}
    if is_main:
        return {}
    if field.kind == "distribution":
        return {f"{field.column}_{label}": f"{share:.6g}" for label, share in consensus.confidences.items()}
    return {field.column: consensus.label or ""}


def _as_text(value: Value) -> str:
    if isinstance(value, Mapping):
        return json.dumps({label: round(share, 4) for label, share in value.items()}, ensure_ascii=False)
    return JOINED.join(value) if isinstance(value, tuple) else str(value)
