"""The rows of a report: one an evaluation, and one a system with its mean over seeds or folds."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from melt_ser.evaluation.summary import Summary, summarise
from melt_ser.reporting.collect import Evaluation, Run
from melt_ser.reporting.systems import system_names
from melt_ser.runs.table import merged

Over = Literal["seed", "fold"]

# What the rows of a result have that is shown as it is; older results lack some.
FIGURES = ("n", "ua", "wa", "macro_f1", "weighted_f1", "ece", "overlap")
COLUMNS = (
    *("system", "backbone", "train", "corpus", "split", "fold", "protocol", "seed", "classes"),
    *("n", "dropped", "ua", "ua_low", "ua_high", "wa", "wa_low", "wa_high", "macro_f1", "weighted_f1"),
    *("ece", "ece_with_temperature", "overlap", "synthetic", "warnings", "experiment", "seconds", "digest"),
    *("run", "folder", "command"),
)


def overview(runs: list[Run]) -> pd.DataFrame:
    """COLUMNS, one row a run, corpus, split, fold and protocol; fractions in 0..1, empty where nothing is known."""
    names = system_names(runs)
    rows = [_row(run, names[run.system], row) for run in runs for row in run.evals]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(run: Run, system: str, row: Evaluation) -> dict[str, Any]:
    result = run.result
    return {
        "system": system,
        "backbone": run.backbone,
        "train": result["train"]["corpus"],
        **{key: row[key] for key in ("corpus", "split", "fold", "protocol", "digest")},
        "seed": result["run"]["seed"],
        "classes": " ".join(row["classes"]),
        "dropped": sum(row["dropped"].values()),
        **{key: row.get(key) for key in FIGURES},
        "ece_with_temperature": row.get("calibration", {}).get("ece_with_temperature"),
        **{f"{metric}_low": row[f"{metric}_ci95"][0] for metric in ("ua", "wa")},
        **{f"{metric}_high": row[f"{metric}_ci95"][1] for metric in ("ua", "wa")},
        "synthetic": bool(result["config"]["dataset"].get("synthetic")),
        "warnings": len(result["warnings"]),
        "experiment": result["run"].get("experiment"),
        "seconds": result["run"]["seconds"],
        "run": result["run"]["id"],
        "folder": str(run.folder),
        "command": run.command,
    }


@dataclass
class SystemScore:
    """A system on one test corpus under one protocol: the rows of its runs, and their summary."""

    system: str
    key: str  # of `Run.system`
    train: str
    protocol: str  # "closed", "open", or "closed = open" where both decide among the same classes
    runs: list[Run]
    rows: list[Evaluation]  # one a run
    summary: Summary

    @property
    def corpus(self) -> str:
        corpus: str = self.rows[0]["corpus"]
        return corpus

    @property
    def fold(self) -> str:
        """ "all", "" (the release's own split), or the numbers of the folds that were run."""
        return ", ".join(sorted({str(row["fold"]) for row in self.rows if row["fold"] is not None}))


def system_scores(runs: list[Run]) -> list[SystemScore]:
    """Every system on every test corpus. Runs of other seeds are summarised over seeds, else those of other folds."""
    names = system_names(runs)
    together: dict[tuple[str, ...], list[tuple[Run, Evaluation]]] = defaultdict(list)
    for run in runs:
        key = run.system
        for row, protocol in merged(run.whole_evals()):
            scored = (row["corpus"], row["digest"], row["split"], " ".join(row["classes"]))
            together[key, protocol, *scored].append((run, row))
    found = []
    for (key, protocol, *_), pairs in together.items():
        for part in _summarisable(pairs):
            part.sort(key=lambda pair: (pair[0].result["run"]["seed"], str(pair[1]["fold"])))
            part_runs, rows = [run for run, _ in part], [row for _, row in part]
            over: Over = "fold" if len({row["fold"] for row in rows}) > 1 else "seed"
            train = part_runs[0].result["train"]["corpus"]
            found.append(SystemScore(names[key], key, train, protocol, part_runs, rows, summarise(rows, over)))
    return sorted(found, key=lambda one: (one.corpus, one.protocol, one.fold, -one.summary.mean["ua"]))


def _summarisable(pairs: list[tuple[Run, Evaluation]]) -> list[list[tuple[Run, Evaluation]]]:
    """The rows of a system, in parts that differ in the seed alone, or else in the fold alone."""
    by_fold: dict[Any, list[tuple[Run, Evaluation]]] = defaultdict(list)
    for run, row in pairs:
        by_fold[row["fold"]].append((run, row))
    numbered = [part for fold, part in by_fold.items() if isinstance(fold, int)]
    one_seed = len({run.result["run"]["seed"] for part in numbered for run, _ in part}) == 1
    if len(numbered) > 1 and one_seed:
        rest = [part for fold, part in by_fold.items() if not isinstance(fold, int)]
        return [[pair for part in numbered for pair in part], *rest]
    return list(by_fold.values())
