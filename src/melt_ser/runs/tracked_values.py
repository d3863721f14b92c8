"""What a tracker gets of a run, in plain values: settings, scores, the table of evaluations, and facts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from melt_ser.evaluation.metrics import METRICS, table_metrics
from melt_ser.evaluation.results import Evaluation, RatingScore, Result
from melt_ser.runs.table import merged


def scores_of(result: Result) -> dict[str, float]:
    """Return the scores of each corpus over all folds, and those on dev that chose the epoch.

    A metric of classes is test/<corpus>/<answer set>/<metric>. If both answer sets of a corpus have the same classes,
    only the first is there. That of an attribute or of votes is test/<corpus>/<attribute>/<metric>.
    """
    train = result.train
    scores = {"best_dev_ua": train.dev_ua, "best_epoch": train.best_epoch}
    if train.dev_metric != "ua":
        scores[f"best_dev_{train.dev_metric}"] = train.dev_value
    for row, _ in merged(result.whole_evals()):
        place = f"test/{Path(row.predictions).stem}/{row.answer_set}"
        scores |= {f"{place}/{name}": row.value(name) for name in table_metrics()}
    for rating in result.whole_ratings():
        place = f"test/{Path(rating.predictions).stem}/{rating.of}"
        scores |= {f"{place}/{name}": value for name, value in rating.values.items()}
    return finite(scores)


def table_of(result: Result) -> pd.DataFrame:
    """Return a row for each evaluation: its metrics, the bounds of their 95 % intervals, and what these are over.

    If there are no bounds, their columns stay, and `interval_note` has the reason. An answer set that equals the other
    one has no row.
    """
    rows = [*map(_class_row, (row for row, _ in merged(result.evals))), *map(_rating_row, result.ratings)]
    table = pd.DataFrame(rows)
    unused = [
        column
        for name in METRICS
        if name in table and table[name].isna().all()  # results of schema version 1 lack some metrics
        for column in (name, f"{name}_low", f"{name}_high")
    ]
    table = table.drop(columns=[column for column in unused if column in table])
    texts = [column for column in ("answer_set", "of") if column in table]  # a row has one of them
    table[texts] = table[texts].fillna("")
    last = [column for column in ("interval_over", "interval_note") if column in table]
    return table[[*(column for column in table if column not in last), *last]]


def facts_of(result: Result) -> dict[str, str]:
    """Return what the numbers rest on, by the names of `result.json`: digests, weights, versions and hardware."""
    run, train = result.run, result.train
    facts: dict[str, str | None] = {"train.digest": train.digest, "train.weights": train.weights}
    facts |= {f"test.{row.corpus}.digest": row.digest for row in result.evals}
    facts |= {f"test.{row.corpus}.digest": row.digest for row in result.ratings}
    facts |= {f"run.versions.{name}": version for name, version in run.versions.items()}
    facts |= {"run.device": run.device, "run.precision": run.precision, "run.command": run.command}
    if run.git is not None:
        facts["run.git.commit"] = run.git.commit + ("" if run.git.clean else " with changed files")
    return {name: value for name, value in facts.items() if value}


def finite(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the finite numbers among values; a training without a dev part has none of dev."""
    return {
        f"{prefix}{name}": float(value)
        for name, value in values.items()
        if value is not None and name != "epoch" and math.isfinite(value)
    }


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str | float]:
    """Return settings by their full names, {"trainer.epochs": 10}; lists, mappings and null as JSON."""
    named: dict[str, str | float] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and not prefix:
            named |= flat(value, f"{key}.")
        else:
            is_plain = isinstance(value, str | int | float)
            named[f"{prefix}{key}"] = value if is_plain else json.dumps(value, ensure_ascii=False)
    return named


def _class_row(row: Evaluation) -> dict[str, Any]:
    values = {"corpus": row.corpus, "split": row.split, "fold": _fold(row), "answer_set": row.answer_set, "n": row.n}
    for name, metric in METRICS.items():
        values |= _scored(name, row.value(name), row.interval(name), metric.has_interval)
    return values | _interval(row)


def _rating_row(row: RatingScore) -> dict[str, Any]:
    values: dict[str, Any] = {"corpus": row.corpus, "split": row.split, "fold": _fold(row), "of": row.of, "n": row.n}
    for name, value in row.values.items():
        values |= _scored(name, value, row.ci95.get(name), name in row.ci95)
    return values | _interval(row)


def _scored(name: str, value: float | None, bounds: list[float] | None, has_interval: bool) -> dict[str, float | None]:
    low, high = bounds or (math.nan, math.nan)
    return {name: value} | ({f"{name}_low": low, f"{name}_high": high} if has_interval else {})


def _fold(row: Evaluation | RatingScore) -> str:
    return "" if row.fold is None else str(row.fold)


def _interval(row: Evaluation | RatingScore) -> dict[str, str]:
    return {"interval_over": row.ci_unit, "interval_note": row.interval_note}
