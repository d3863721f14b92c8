"""Say each warning once and briefly: sentences that differ only in names and numbers are one kind."""

from __future__ import annotations

import re
from dataclasses import dataclass

from melt_ser.reporting.collect import Run

CORPUS = re.compile(r"^[\w.-]+(?:, [\w.-]+)?: (?=[A-Z])")  # a test corpus, and its attribute, before a sentence
VARYING = re.compile(r"'[^']*'|\d[\d,.]*\d|\d")  # quoted names and numbers
CLAUSE = re.compile(r"(?<=.{12})(?:[:;.] .*| \(.*)$", re.DOTALL)  # all after the first clause
LONGEST = 110


@dataclass(frozen=True)
class Notice:
    """A kind of warning: its first clause, the number of runs that have it, and the whole sentences."""

    short: str
    runs: int
    sentences: list[str]


def notices(warnings: dict[str, list[Run]]) -> list[Notice]:
    """Return the kinds of warnings, the most frequent first; `warnings` has the runs of each sentence."""
    kinds: dict[str, list[str]] = {}
    for sentence in warnings:
        kinds.setdefault(VARYING.sub("…", CORPUS.sub("", sentence)), []).append(sentence)
    found = []
    for kind, sentences in kinds.items():
        runs = {id(run) for sentence in sentences for run in warnings[sentence]}
        found.append(Notice(_short(sentences[0] if len(sentences) == 1 else kind), len(runs), sentences))
    return sorted(found, key=lambda notice: -notice.runs)


def _short(sentence: str) -> str:
    clause = CLAUSE.sub("", sentence).rstrip(".")
    return clause if len(clause) <= LONGEST else clause[: LONGEST - 1].rstrip() + "…"
