"""Read the answers of a listening test and join them with its key: a row for each judgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from msgspec import Struct

from melt_ser.core.counting import counted
from melt_ser.core.errors import InputError
from melt_ser.label_study.answer_files import Given, read_answers, read_versioned


class Item(Struct):
    """An item of `key.json`: the two labels to choose from, and the labels by the first and the second source."""

    id: str
    labels: list[str]
    check: str | None  # the right answer of a check question; None for an item to judge
    first: str
    second: str


class Key(Struct):
    """`key.json` as `listen build` writes it: the sources' names by "first" and "second", and the items."""

    schema_version: int
    study: str
    sources: dict[str, str]
    items: list[Item]


@dataclass(frozen=True)
class Judgements:
    """The judgements of the raters who passed the checks.

    `table` has a row for each judgement: rater, item, side (left or right), first and second (the sources' labels), and
    prefers_second (true or false).
    """

    sources: dict[str, str]  # names, by "first" and "second"
    table: pd.DataFrame
    raters: list[str]  # who passed the checks and judged
    left_out: dict[str, str] = field(default_factory=dict)  # reason, by rater
    not_played: int = 0  # items that did not play for a rater
    about: dict[str, dict[str, str]] = field(default_factory=dict)  # what raters answered about themselves


def read_judgements(key_path: Path, answer_paths: Sequence[Path], allowed_failures: int = 0) -> Judgements:
    """Read the judgements of all raters who failed no more checks than allowed.

    A folder stands for its JSON files. Several files of one rater are joined. Raises SetupError if a file is missing,
    InputError if a file is damaged, belongs to another study, has an answer that the study does not offer, or
    contradicts another file of the same rater, or if no judgement is left.
    """
    key: Key = read_versioned(key_path, Key, "give the key.json that `listen build` wrote")
    items = {item.id: item for item in key.items}
    given, about = read_answers(answer_paths, key.study, key_path, {name: item.labels for name, item in items.items()})
    reasons = {rater: _failed(answers, items, allowed_failures) for rater, answers in given.items()}
    left_out = {rater: reason for rater, reason in reasons.items() if reason}
    passed = {rater: answers for rater, answers in given.items() if rater not in left_out}
    rows = [
        {
            "rater": rater,
            "item": name,
            "side": answer.side,
            "first": items[name].first,
            "second": items[name].second,
            "prefers_second": answer.chosen == items[name].second,
        }
        for rater, answers in passed.items()
        for name, answer in answers.items()
        if items[name].check is None and answer.chosen is not None
    ]
    judged = {row["rater"] for row in rows}
    left_out |= {rater: "judged no clip" for rater in passed if rater not in judged}
    if not rows:
        first = next(iter(left_out.values()), "")
        why = f" ({counted(len(left_out), 'rater')} left out, the first: {first})" if left_out else ""
        raise InputError(f"The answers have no judgement to score{why}; give the raters' answer files.")
    not_played = sum(answer.chosen is None for answers in passed.values() for answer in answers.values())
    table = pd.DataFrame(rows)
    return Judgements(key.sources, table, table["rater"].unique().tolist(), left_out, not_played, about)


def _failed(answers: dict[str, Given], items: dict[str, Item], allowed: int) -> str:
    """Return why a rater is left out, or "". A check that did not play or was not reached counts as passed."""
    asked = [(items[name].check, answer.chosen) for name, answer in answers.items() if items[name].check]
    failed = sum(chosen not in (None, check) for check, chosen in asked)
    return f"failed {failed} of {len(asked)} checks" if failed > allowed else ""
