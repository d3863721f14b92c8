"""Write the report in Markdown. Text from corpora and settings is escaped, so that it shows unchanged."""

from __future__ import annotations

from collections.abc import Iterator

from melt_ser.core.counting import counted
from melt_ser.core.markdown import code, escaped, raw_table, table
from melt_ser.evaluation.metrics import percent, table_metrics
from melt_ser.reporting import label_sources, published_ratings, rated_pairs, together
from melt_ser.reporting.blocks import Block
from melt_ser.reporting.contents import ReportData
from melt_ser.reporting.matrix import Cell
from melt_ser.reporting.overview import figure, next_to, over
from melt_ser.reporting.ranking import Ranking
from melt_ser.reporting.rated import ONE_RATER, ONE_RATER_MEANING, tables
from melt_ser.reporting.scores import interval_shown
from melt_ser.runs.table import interval_legend

LEGEND = (
    "UA in % with its 95 % interval; **bold**: the best on these test data. † and ‡: below the best at p < 0.05 and "
    "0.01. ±: standard deviation over seeds, folds, or the models of a mean; the interval of a mean over seeds is the "
    "mean of theirs."
)
NAMES = (
    "A system is named by what differs among the runs of this report: the backbone, then the trainer, head, labels and "
    "augmentation, then single settings. The head and the augmentation that a named trainer brings are left out. "
    "#… stands for more settings than a name holds, and digest for another table of the corpus."
)


def markdown(contents: ReportData) -> str:
    """Return the whole report as Markdown."""
    return "\n".join(_lines(contents)) + "\n"


def _lines(contents: ReportData) -> Iterator[str]:
    collected = contents.collected
    yield "# Report\n"
    yield (
        f"{counted(len(collected.runs), 'finished run')}, {len(collected.unfinished)} unfinished, "
        f"{len(collected.failed)} failed, {len(collected.unreadable)} not readable."
    )
    if contents.system_scores:
        legend = interval_legend([row for score in contents.system_scores for row in score.interval_rows], ["ua"])
        yield f"\n{escaped(' '.join([*legend[:1], '[–]: no interval; the reasons stand under Every score.']))}"
    yield from _best(contents)
    for matrix, blocks in zip(contents.matrices, contents.blocks, strict=True):
        if not matrix.rows:
            continue
        yield f"\n## Trained and tested on each corpus, answer set {matrix.answer_set}\n\n{LEGEND}"
        for block in blocks:
            yield f"\n### {escaped(block.title)}{', ' + block.seeds if block.seeds else ''}\n"
            yield from _block(block)
        yield from (f"\n{escaped(note)}" for note in filter(None, [matrix.compared, *matrix.notes]))
    if contents.ranking:
        yield "\n## Ranks over corpora\n"
        yield from _ranking(contents.ranking)
    for title, meaning, heads, rows in tables(contents.rated):
        yield f"\n## {title}\n\n{escaped(meaning)}\n"
        yield from table(heads, rows)
    if contents.rated_pairs.pairs or contents.rated_pairs.notes:
        yield f"\n## Attributes and votes, compared with the best\n\n{escaped(rated_pairs.MEANING)}\n"
        yield from table(rated_pairs.COLUMNS, (pair.cells for pair in contents.rated_pairs.pairs))
        yield from (f"\n{escaped(note)}" for note in contents.rated_pairs.notes)
    if contents.published_ratings:
        yield f"\n## Published ratings next to ours\n\n{published_ratings.MEANING}\n"
        yield from table(published_ratings.COLUMNS, (row.cells for row in contents.published_ratings))
        yield ""
        origins = dict.fromkeys(row.origin for row in contents.published_ratings)
        yield from (f"- {escaped(origin)}" for origin in origins)
    if contents.one_rater:
        yield f"\n## One rater against the others\n\n{escaped(ONE_RATER_MEANING)}\n"
        yield from table(ONE_RATER, contents.one_rater)
    sources = contents.label_sources
    if sources.pairs or sources.notes:
        yield f"\n## Label sources\n\n{escaped(label_sources.MEANING)}\n"
        yield from table(label_sources.COLUMNS, (pair.cells for pair in sources.pairs))
        yield from (f"\n{escaped(note)}" for note in sources.notes)
    if contents.together.pairs or contents.together.notes:
        yield f"\n## Speech and text together\n\n{escaped(together.MEANING)}\n"
        yield from table(together.COLUMNS, (pair.cells for pair in contents.together.pairs))
        yield from (f"\n{escaped(note)}" for note in contents.together.notes)
    if contents.systems:
        yield "\n## Systems\n"
        yield from _systems(contents)
        yield "\n## Every score\n"
        yield from _results(contents)
    if contents.published:
        yield "\n## Figures from elsewhere next to ours\n"
        yield from _published(contents)
    if contents.dropped:
        yield "\n## Dropped data\n"
        columns = ("corpus", "part", "reason", "utterances", "runs")
        yield from table(columns, ([row.corpus, row.part, row.reason, row.count, row.runs] for row in contents.dropped))
    for title, notes in (
        ("Unfinished runs", collected.unfinished),
        ("Failed runs", collected.failed),
        ("Not scored", contents.unscored),
        ("Not readable", collected.unreadable),
        ("Copies of runs", collected.copies),
    ):
        if notes:
            yield f"\n## {title}\n"
            yield from (f"- {code(str(note.folder))}: {escaped(note.reason)}" for note in notes)
    yield from _warnings(contents)
    yield "\n## Runs\n"
    for run in contents.runs:
        yield f"- {code(str(run.folder))}: {code(run.command)}"


def _best(contents: ReportData) -> Iterator[str]:
    for main, title in ((True, "Best"), (False, "Best on other folds, parts or classes of a corpus")):
        found = [one for one in contents.test_sets if one.main == main]
        if found:
            yield f"\n## {title}\n"
            yield from (f"- {escaped(one.sentence)}" for one in found)
        if main:
            yield from (f"\n{escaped(sentence)}" for sentence in contents.several_tables)


def _warnings(contents: ReportData) -> Iterator[str]:
    if contents.warnings:
        yield "\n## Warnings\n"
    for sentence, runs in contents.warnings.items():
        yield f"- {escaped(sentence)} ({len(runs)} of {counted(len(contents.runs), 'run')})"


def _systems(contents: ReportData) -> Iterator[str]:
    yield escaped(NAMES) + " Elsewhere: the mean UA over other corpora.\n"
    columns = ("system", "trained on", "weights", "runs", "seeds and folds", "UA on its own corpus", "UA elsewhere")
    rows = (
        [row.system, row.train, row.weights, len(row.runs), row.trained, row.own_text, row.elsewhere_text]
        for row in contents.systems
    )
    yield from table(columns, rows)


def _results(contents: ReportData) -> Iterator[str]:
    metrics = table_metrics()
    columns = ("system", "trained on", "tested on", "split", "fold", "answer set", "mean of", "n", "chance")
    legend = interval_legend([row for score in contents.system_scores for row in score.interval_rows])
    told = "In %: mean ± standard deviation over seeds, folds or models (`mean of`), [95 % interval]; chance: guesses."
    yield " ".join([told, *legend]) + "\n"
    yield from table(
        [*columns, *(metric.label for metric in metrics.values())],
        (
            [row.system, row.train, row.corpus, row.rows[0].split, row.fold, row.answer_set, over(row), row.n]
            + [percent(row.chance)]
            + [figure(row, name) for name in metrics]
            for row in contents.system_scores
        ),
    )


def _block(block: Block) -> Iterator[str]:
    names = [
        f"{name} ({', '.join(filter(None, [block.part(corpus), f'chance {level}' if level else '']))})"
        for corpus, (name, level) in block.columns.items()
    ]
    rows = [
        [escaped(row), *(_cell(block, cells.get(corpus)) for corpus in block.columns)]
        for row, cells in block.rows.items()
    ]
    yield from raw_table([block.row_head, *map(escaped, names)], rows)


def _cell(block: Block, cell: Cell | None) -> str:
    if cell is None:
        return "–"
    text, data = figure(cell.score, "ua", interval=False) + cell.mark, block.data(cell)
    shown = f"**{text}**" if cell.best else text
    shown += escaped(interval_shown(cell.score))
    return shown + (f" ({escaped(data)})" if data else "")


def _ranking(ranking: Ranking) -> Iterator[str]:
    if ranking.rows:
        rows = ([row.method, f"{row.mean_rank:.2f}", percent(row.ua), row.letters] for row in ranking.rows)
        yield from table(("method", "mean rank", "mean UA (%)", "alike"), rows)
        yield ""
    yield escaped(" ".join(ranking.sentences))


def _published(contents: ReportData) -> Iterator[str]:
    yield "Ours (theirs, difference; – if not known). If the protocols differ, the figures cannot be compared.\n"
    metrics = table_metrics()
    labels = [metric.label for metric in metrics.values()]
    columns = ["system", "trained on", "tested on", *labels, "model", "source", "protocol differs in"]
    yield from table(
        columns,
        (
            [row.system, row.train, row.corpus, *(next_to(row.figures.get(name)) for name in metrics)]
            + [row.model, row.source + (f"; {row.note}" if row.note else ""), "; ".join(row.differs) or "nothing known"]
            for row in contents.published
        ),
    )
    yield ""
    for source in dict.fromkeys((row.source, row.where, row.protocol) for row in contents.published):
        yield "- " + escaped("{}: {}. Protocol: {}.".format(*source))
