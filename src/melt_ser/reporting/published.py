"""Published figures next to ours, with the differences of their protocols; the facts are in `published.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from melt_ser.reporting.overview import SystemScore
from melt_ser.reporting.systems import method_of


@dataclass(frozen=True)
class Published:
    """Published figures of a model on a corpus beside ours: fractions, or differences of fractions (`note`: a gain).

    Theirs is None where it is not known. `differs` says in what the protocols differ; it is empty where they are the
    same as far as is known.
    """

    source: str
    where: str
    protocol: str
    model: str
    train: str
    corpus: str
    system: str
    figures: dict[str, tuple[float, float | None]]  # by metric: ours and theirs
    differs: tuple[str, ...]
    note: str = ""


@cache
def _facts() -> dict[str, Any]:
    facts: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return facts


def published_next_to(system_scores: list[SystemScore]) -> list[Published]:
    """Every published figure of a corpus and model family that one of these standings has too."""
    closed = [score for score in system_scores if score.answer_set.startswith("closed")]
    found = [one for score in closed for table in _facts()["tables"] for one in _of_table(table, score)]
    return found + [one for gain in _facts()["gains"] for one in _gains(gain, closed)]


def _of_table(table: dict[str, Any], score: SystemScore) -> list[Published]:
    names = (f"{score.train} -> {score.corpus}", score.corpus if score.train == score.corpus else None)
    figures: dict[str, list[float]] = next((table["figures"][name] for name in names if name in table["figures"]), {})
    found = []
    for model, values in figures.items():
        known = _facts()["models"][model]
        config = score.runs[0].result.config
        if known["family"] != config["backbone"]["family"]:
            continue
        same = table["same"] | {"backbone.checkpoint": known["checkpoint"]}
        same |= table.get("same_for", {}).get(score.corpus, {})
        differs = (*_differences(same, score), *table.get("differs", ()))
        note = table.get("notes", {}).get(score.corpus, "")
        theirs = zip(table["metrics"], values, strict=True)
        pairs: dict[str, tuple[float, float | None]] = {
            metric: (score.summary.mean[metric], percent / 100) for metric, percent in theirs
        }
        head = (table["source"], table["where"], table["protocol"], model, score.train, score.corpus)
        found.append(Published(*head, score.system, pairs, differs, note))
    return found


def _gains(gain: dict[str, Any], system_scores: list[SystemScore]) -> list[Published]:
    """The gain of training on one corpus rather than another, of systems that are otherwise alike."""
    found = []
    rivals = {_alike(one): one for one in system_scores if one.train == gain["rather_than"]}
    for one in system_scores:
        rival = rivals.get(_alike(one)) if one.train == gain["train"] else None
        checkpoint = one.runs[0].result.config["backbone"].get("checkpoint")
        if rival is None or checkpoint not in gain["figures"] or one.corpus not in gain["words"]:
            continue
        percent = (gain["figures"][checkpoint] or {}).get(one.corpus)
        metric, trained = gain["metric"], f"{gain['train']} rather than {gain['rather_than']}"
        ours = one.summary.mean[metric] - rival.summary.mean[metric]
        pairs = {metric: (ours, None if percent is None else percent / 100)}
        differs = (*_differences(gain["same"], one), *(gain["differs"] if percent is not None else ()))
        head = (gain["source"], gain["where"], gain["protocol"], checkpoint, trained, one.corpus)
        note = "a gain" if percent is not None else f"a gain; {gain['words'][one.corpus]}"
        found.append(Published(*head, one.system, pairs, differs, note))
    return found


def _alike(score: SystemScore) -> tuple[Any, ...]:
    """What two systems share that differ in nothing but the corpus of their training; which rows of it is a setting."""
    rows = score.runs[0].result.config["dataset"].get("both_labels")
    return method_of(score.key), score.corpus, rows


def _differences(same: dict[str, Any], score: SystemScore) -> list[str]:
    """What a score has otherwise than the publication, one phrase each."""
    found = []
    for key, theirs in same.items():
        if key == "fold":
            ours: Any = score.fold or None
        elif key == "classes":
            ours = len(score.rows[0].classes)
        else:
            group, name = key.split(".")
            ours = score.runs[0].result.config[group].get(name)
        if ours != theirs:
            found.append(f"{key} is {_shown(theirs)} there, {_shown(ours)} here")
    return found


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
