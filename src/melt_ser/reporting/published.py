"""Show published figures next to ours, with the differences of the protocols; `published.yaml` has the facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from melt_ser.reporting.overview import SystemScore
from melt_ser.reporting.systems import method_of


@dataclass(frozen=True)
class Published:
    """Published figures of a model on a corpus, and ours: fractions, or differences of fractions if `note` says a gain.

    A published figure is None if it is not known. `where` begins with its certainty: first-hand or second-hand.
    `differs` lists the known differences of the protocols. `score` is the one of ours that it stands next to.
    """

    source: str
    where: str
    protocol: str
    model: str
    train: str
    score: SystemScore
    figures: dict[str, tuple[float, float | None]]  # by metric: ours and theirs
    differs: tuple[str, ...]
    note: str = ""

    @property
    def corpus(self) -> str:
        """Return the test corpus."""
        return self.score.corpus

    @property
    def system(self) -> str:
        """Return the name of our system."""
        return self.score.system


@cache
def facts() -> dict[str, Any]:
    """Return the content of `published.yaml`."""
    read: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return read


def published_next_to(system_scores: list[SystemScore]) -> list[Published]:
    """Return the published figures with the corpus and model family of one of these scores."""
    closed = [score for score in system_scores if score.answer_set.startswith("closed")]
    figures = [figure for score in closed for table in facts()["tables"] for figure in _of_table(table, score)]
    return figures + [figure for gain in facts()["gains"] for figure in _gains(gain, closed)]


def _of_table(table: dict[str, Any], score: SystemScore) -> list[Published]:
    """Return the figures of a table for the training and test corpus of a score, by models of its family."""
    config = score.runs[0].result.config
    names = [f"{score.train} -> {score.corpus}", *([score.corpus] if score.train == score.corpus else [])]
    published = []
    for column, model in enumerate(table["models"]):
        known = facts()["models"][model]
        theirs = {
            metric: by_corpus[name][column]
            for metric, by_corpus in table["figures"].items()
            for name in names
            if name in by_corpus
        }
        if not theirs or known["family"] != config["backbone"]["family"]:
            continue
        same = table["same"] | {"backbone.checkpoint": known["checkpoint"]}
        same |= table.get("same_for", {}).get(score.corpus, {})
        differs = (*_differences(same, score), *table.get("differs", ()))
        note = table.get("notes", {}).get(score.corpus, "")
        pairs: dict[str, tuple[float, float | None]] = {
            metric: (score.summary.mean[metric], percent / 100) for metric, percent in theirs.items()
        }
        source = (table["source"], _where(table), table["protocol"], model, score.train)
        published.append(Published(*source, score, pairs, differs, note))
    return published


def _where(table: dict[str, Any]) -> str:
    return f"{table['certainty']}, {table['where']}"


def _gains(gain: dict[str, Any], system_scores: list[SystemScore]) -> list[Published]:
    """Return the gain of training on one corpus rather than another, for systems that are otherwise the same."""
    published = []
    rivals = {_comparable(score): score for score in system_scores if score.train == gain["rather_than"]}
    for score in system_scores:
        rival = rivals.get(_comparable(score)) if score.train == gain["train"] else None
        checkpoint = score.runs[0].result.config["backbone"].get("checkpoint")
        if rival is None or checkpoint not in gain["figures"] or score.corpus not in gain["words"]:
            continue
        percent = (gain["figures"][checkpoint] or {}).get(score.corpus)
        metric, trained = gain["metric"], f"{gain['train']} rather than {gain['rather_than']}"
        ours = score.summary.mean[metric] - rival.summary.mean[metric]
        pairs = {metric: (ours, None if percent is None else percent / 100)}
        differs = (*_differences(gain["same"], score), *(gain["differs"] if percent is not None else ()))
        source = (gain["source"], _where(gain), gain["protocol"], checkpoint, trained)
        note = "a gain" if percent is not None else f"a gain; {gain['words'][score.corpus]}"
        published.append(Published(*source, score, pairs, differs, note))
    return published


def _comparable(score: SystemScore) -> tuple[Any, ...]:
    """Return a key that systems share if only their training corpus differs and they choose the same rows of it."""
    rows = score.runs[0].result.config["dataset"].get("both_labels")
    return method_of(score.key), score.corpus, rows


def _differences(same: dict[str, Any], score: SystemScore) -> list[str]:
    """Return a phrase for each setting in which a score differs from the publication."""
    of_row = {"fold": score.fold or None, "classes": len(score.rows[0].classes)}
    return differences(same, score.runs[0].result.config, of_row)


def differences(same: Mapping[str, Any], config: Mapping[str, Any], of_row: Mapping[str, Any]) -> list[str]:
    """Return a phrase for each setting in which a run differs from the publication.

    same: the published settings, by their keys. config: that of the run. of_row: our values of the keys without a
    group, such as `fold`, which belong to the row of the result.
    """
    phrases = []
    for key, theirs in same.items():
        group, _, name = key.partition(".")
        ours = config.get(group, {}).get(name) if name else of_row[key]
        if ours != theirs:
            phrases.append(f"{key} is {_shown(theirs)} there, {_shown(ours)} here")
    return phrases


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
