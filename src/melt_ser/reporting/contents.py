"""Collect the content of a report, for every format except CSV: runs, scores, warnings and dropped data."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from melt_ser.evaluation.results import EvaluationSummary, RatingScore
from melt_ser.reporting.beside import other_results_next_to
from melt_ser.reporting.blocks import Block, blocks_of
from melt_ser.reporting.collect import CollectedRuns, Note, Run
from melt_ser.reporting.headline import TestSet, test_sets
from melt_ser.reporting.label_sources import LabelSources, compare_label_sources
from melt_ser.reporting.matrix import Matrix, matrices
from melt_ser.reporting.notices import Notice, notices
from melt_ser.reporting.other_tools import OtherResult
from melt_ser.reporting.overview import SystemScore, system_scores
from melt_ser.reporting.published import Published, published_next_to
from melt_ser.reporting.published_ratings import PublishedRating, published_ratings
from melt_ser.reporting.ranking import Ranking, rank_methods
from melt_ser.reporting.rated import RatedSystem, one_rater, rated_systems
from melt_ser.reporting.rated_pairs import RatedPairs, compare_rated
from melt_ser.reporting.several_tables import several_tables
from melt_ser.reporting.system_rows import SystemRow, system_rows
from melt_ser.reporting.systems import method_names
from melt_ser.reporting.together import Together, speech_and_text_together


@dataclass
class Dropped:
    """Utterances of a corpus that runs did not use, and the reason.

    `part`: the scored split, or "trained on" for the training corpus.
    """

    corpus: str
    part: str
    reason: str
    count: int
    runs: int


@dataclass
class ReportData:
    """The content of every format except CSV."""

    collected: CollectedRuns
    system_scores: list[SystemScore]
    systems: list[SystemRow]
    methods: dict[str, str]  # the names of `method_names`
    matrices: list[Matrix]
    blocks: list[list[Block]]  # the small tables of each matrix
    test_sets: list[TestSet]  # of the first matrix: answer set closed
    several_tables: list[str]  # sentences on corpora with several tables
    ranking: Ranking | None
    label_sources: LabelSources
    together: Together  # speech and text
    published: list[Published]  # figures of publications, and results of other tools
    rated: list[RatedSystem]  # scores of attributes and votes
    rated_pairs: RatedPairs
    published_ratings: list[PublishedRating]
    one_rater: list[list[str]]  # cells of rated.ONE_RATER
    warnings: dict[str, list[Run]]  # by sentence: the runs with it; the most frequent sentence first
    dropped: list[Dropped]

    @property
    def unscored(self) -> list[Note]:
        """Return the test corpora that could not be read, with the reason."""
        entries = ((run.folder, entry) for run in self.runs for entry in run.result.unscored)
        return [Note(folder, f"{entry.corpus} is not scored: {entry.reason}") for folder, entry in entries]

    @property
    def runs(self) -> list[Run]:
        return self.collected.runs

    @property
    def notices(self) -> list[Notice]:
        """Return the warnings by kind, the most frequent first."""
        return notices(self.warnings)


def make_report_data(collected: CollectedRuns, others: Sequence[OtherResult] = ()) -> ReportData:
    """Return the content of a report on these runs; `others` are results of other tools to stand next to them."""
    scores = system_scores(collected.runs)
    warnings: dict[str, list[Run]] = defaultdict(list)
    for run in collected.runs:
        for sentence in dict.fromkeys(run.result.warnings):
            warnings[sentence].append(run)
    by_number = dict(sorted(warnings.items(), key=lambda item: -len(item[1])))
    methods, tables = method_names(collected.runs), matrices(scores)
    rated = rated_systems(collected.runs)
    pairs = compare_rated(rated)
    return ReportData(
        collected,
        scores,
        system_rows(scores),
        methods,
        tables,
        [blocks_of(table, methods) for table in tables],
        test_sets(tables[0]),
        several_tables(scores),
        rank_methods(scores, methods),
        compare_label_sources(scores, methods),
        speech_and_text_together(scores),
        other_results_next_to(others, scores) + published_next_to(scores),
        pairs.marked(rated),
        pairs,
        published_ratings(rated),
        one_rater(collected.runs),
        by_number,
        _dropped(collected.runs),
    )


def _dropped(runs: list[Run]) -> list[Dropped]:
    counts: Counter[tuple[str, str, str, int]] = Counter()
    for run in runs:
        train = run.result.train
        dropped = {(train.corpus, "trained on", reason, n) for reason, n in train.dropped.items()}
        rows: list[EvaluationSummary | RatingScore] = [*run.whole_evals(), *run.result.whole_ratings()]
        for row in rows:
            dropped |= {(row.corpus, row.split, reason, n) for reason, n in row.dropped.items()}
        counts.update(dropped)
    return [Dropped(*key, runs) for key, runs in sorted(counts.items())]
