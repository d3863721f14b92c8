"""What a report says, whatever it is written as: collected runs, their standings, and what must be known of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from melt_ser.reporting.collect import FoundRuns, Note, Run
from melt_ser.reporting.matrix import Matrix, matrices
from melt_ser.reporting.overview import SystemScore, system_scores
from melt_ser.reporting.published import Published, published_beside
from melt_ser.reporting.ranking import Ranking, rank_methods


@dataclass
class Dropped:
    """Utterances of a corpus that runs did not use, and why; `part` is "trained on" or the split that was scored."""

    corpus: str
    part: str
    reason: str
    count: int
    runs: int


@dataclass
class ReportData:
    """Everything that the formats for people show."""

    collected: FoundRuns
    system_scores: list[SystemScore]
    matrices: list[Matrix]
    ranking: Ranking | None
    published: list[Published]
    warnings: dict[str, list[Run]]  # the runs that say each sentence, what most say first
    dropped: list[Dropped]

    @property
    def unscored(self) -> list[Note]:
        """The test corpora that runs could not score, with the reason."""
        entries = ((run.folder, entry) for run in self.runs for entry in run.result.get("unscored", []))
        return [Note(folder, f"{entry['corpus']} is not scored: {entry['reason']}") for folder, entry in entries]

    @property
    def runs(self) -> list[Run]:
        return self.collected.runs


def make_report_data(collected: FoundRuns) -> ReportData:
    """The contents of a report on these runs."""
    found = system_scores(collected.runs)
    warnings: dict[str, list[Run]] = defaultdict(list)
    for run in collected.runs:
        for sentence in dict.fromkeys(run.result["warnings"]):
            warnings[sentence].append(run)
    by_number = dict(sorted(warnings.items(), key=lambda item: -len(item[1])))
    return ReportData(
        collected,
        found,
        matrices(found),
        rank_methods(found),
        published_beside(found),
        by_number,
        _dropped(collected.runs),
    )


def _dropped(runs: list[Run]) -> list[Dropped]:
    counts: Counter[tuple[str, str, str, int]] = Counter()
    for run in runs:
        train = run.result["train"]
        said = {(train["corpus"], "trained on", reason, n) for reason, n in train.get("dropped", {}).items()}
        for row in run.whole_evals():
            said |= {(row["corpus"], row["split"], reason, n) for reason, n in row["dropped"].items()}
        counts.update(said)
    return [Dropped(*what, runs) for what, runs in sorted(counts.items())]
