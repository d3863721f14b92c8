"""One row for each system: its runs, its weights, and its UA on its own corpus and elsewhere."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from melt_ser.evaluation.metrics import percent
from melt_ser.reporting.collect import Run
from melt_ser.reporting.overview import SystemScore
from melt_ser.reporting.scores import METRIC, is_whole, tested_part, with_interval


@dataclass
class SystemRow:
    """A system; `own` is its score on its training corpus, `elsewhere` its mean UA over `corpora` other corpora."""

    system: str
    key: str
    train: str
    weights: str
    runs: list[Run]
    own: SystemScore | None
    elsewhere: float | None
    corpora: int

    @property
    def trained(self) -> str:
        """Return the seeds and folds of the runs: "2 seeds, all folds"; "–" for a published classifier."""
        if self.runs[0].result.is_published:
            return "–"
        numbers = len({run.result.run.seed for run in self.runs})
        folds = sorted(
            {str(run.result.config["dataset"].get("fold")) for run in self.runs}, key=lambda one: one.zfill(4)
        )
        split = all(run.result.train.folds[0].fold is None for run in self.runs if run.result.train.folds)
        numbered = ", ".join(fold for fold in folds if fold != "all")
        parts = [f"fold {numbered}" if numbered else "", "all folds" if "all" in folds else ""]
        told = "its own split" if split else " and ".join(filter(None, parts))
        return f"{numbers} seed{'s' if numbers > 1 else ''}, {told}"

    @property
    def own_text(self) -> str:
        if self.own is None:
            return "–"
        part = tested_part(self.own)
        return with_interval(self.own) + (f" ({part})" if part else "")

    @property
    def elsewhere_text(self) -> str:
        if self.elsewhere is None:
            return "–"
        return f"{percent(self.elsewhere)} ({self.corpora} {'corpus' if self.corpora == 1 else 'corpora'})"


def system_rows(scores: list[SystemScore]) -> list[SystemRow]:
    """Return a row for each system, by name and training corpus (answer set closed)."""
    by_system: dict[str, dict[tuple[str, str], SystemScore]] = defaultdict(dict)
    runs: dict[str, dict[int, Run]] = defaultdict(dict)
    for score in sorted(scores, key=lambda score: (is_whole(score), score.n)):
        runs[score.key].update({id(run): run for run in score.runs})
        if score.answer_set.startswith("closed"):
            by_system[score.key][score.corpus, score.rows[0].digest] = score  # the last is on most data
    rows = [_row(list(found.values()), list(runs[key].values())) for key, found in by_system.items()]
    return sorted(rows, key=lambda row: (row.system, row.train))


def _row(scores: list[SystemScore], runs: list[Run]) -> SystemRow:
    first = scores[0]
    values = [score.summary.mean[METRIC] for score in scores if score.corpus != first.train]
    return SystemRow(
        first.system,
        first.key,
        first.train,
        runs[0].weights,
        runs,
        next((score for score in scores if score.corpus == first.train), None),
        sum(values) / len(values) if values else None,
        len(values),
    )
