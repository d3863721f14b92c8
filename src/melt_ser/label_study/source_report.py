"""The agreement of several label sources as sections of text and as a page."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from melt_ser.core.counting import counted
from melt_ser.label_study.source_agreement import PairAgreement, SourceAgreement
from melt_ser.reporting.pages import render
from melt_ser.reporting.small_report import (
    Section,
    missing_intervals,
    percent_with_interval,
    value_with_interval,
)

PAIR_COLUMNS = ("first", "second", "n", "changed %", "kappa")
NUMBER_COLUMNS = ("mean", "deviation", "lowest", "highest")
KAPPAS = {
    "nominal": "Cohen's kappa",
    "ordinal": "Cohen's kappa, weighted by the steps between two labels",
    "interval": "Cohen's kappa, weighted by the squared difference",
}


def sections(result: SourceAgreement) -> list[Section]:
    """Return the agreement as sections of text."""
    return [
        Section(
            "Agreement of label sources",
            list(_sentences(result)),
            ("", "n", f"alpha ({result.level})"),
            [["all sources", f"{result.n:,}", alpha(result)]],
        ),
        Section(
            "Pairs", [f"On the utterances that both labelled; {KAPPAS[result.level]}."], PAIR_COLUMNS, pair_rows(result)
        ),
        Section("Sources", [sources_title(result)], source_columns(result), source_rows(result)),
    ]


def source_page(result: SourceAgreement) -> str:
    """Return the page: self-contained like that of `report`, without a script."""
    return render(
        "sources.html",
        "melt_ser.label_study",
        result=result,
        sentences=list(_sentences(result)),
        kappa=KAPPAS[result.level],
        alpha=alpha(result),
        pair_columns=[(name, number > 1) for number, name in enumerate(PAIR_COLUMNS)],
        pairs=pair_rows(result),
        sources_title=sources_title(result),
        source_columns=[(name, number > 0) for number, name in enumerate(source_columns(result))],
        sources=source_rows(result),
    )


def alpha(result: SourceAgreement) -> str:
    """Return alpha with its interval, or a dash if it is not defined."""
    return value_with_interval(msgspec.structs.asdict(result), "alpha")


def pair_rows(result: SourceAgreement) -> list[list[str]]:
    """Return the cells of PAIR_COLUMNS for each pair, the least alike first."""

    def key(pair: PairAgreement) -> float:
        return 1.0 if pair.kappa is None else pair.kappa

    entries = [msgspec.structs.asdict(pair) for pair in sorted(result.pairs, key=key)]
    return [
        [
            entry["first"],
            entry["second"],
            f"{entry['n']:,}",
            percent_with_interval(entry, "changed"),
            value_with_interval(entry, "kappa"),
        ]
        for entry in entries
    ]


def sources_title(result: SourceAgreement) -> str:
    """Return the sentence over the table of sources."""
    shown = ["numbers"] * bool(result.numbers) + ["utterances by label"] * result.by_label
    return f"{' and '.join(shown) or 'utterances'} of each source.".capitalize()


def source_columns(result: SourceAgreement) -> tuple[str, ...]:
    """Return the names of the columns of `source_rows`."""
    return ("source", "n", *(NUMBER_COLUMNS if result.numbers else ()), *(result.labels if result.by_label else ()))


def source_rows(result: SourceAgreement) -> list[list[str]]:
    """Return for each source its name and its utterances, the mean and spread of numbers, and those of each label."""
    rows = []
    for name, counts in result.sources.items():
        row = [name, f"{sum(counts.values()):,}"]
        if result.numbers:
            numbers = result.numbers.get(name)
            row += [f"{getattr(numbers, column):.4g}" if numbers else "–" for column in NUMBER_COLUMNS]
        rows.append([*row, *(f"{counts.get(label, 0):,}" for label in result.labels if result.by_label)])
    return rows


def _sentences(result: SourceAgreement) -> Iterator[str]:
    order = (", in this order" if result.by_label else ", by rank") if result.level == "ordinal" else ""
    shown = ", ".join(result.labels) if result.by_label else f"{len(result.labels):,} different numbers"
    yield f"{len(result.sources)} sources; {result.level} labels{order}: {shown}."
    if not result.by_label:
        kappa = "kappa by steps, " if result.level == "ordinal" else ""
        yield f"Of so many numbers, few are equal: {kappa}the share changed and utterances by label are left out."
    for name, counts in result.outside.items():
        if counts:
            listed = ", ".join(f"{label} ({count})" for label, count in counts.items())
            yield f"Outside the set, so no label: {sum(counts.values())} of {name}, {listed}."
    for reason, count in result.left_out.items():
        yield f"Left out: {counted(count, 'utterance')} {reason}."
    yield (
        f"Krippendorff's alpha takes every utterance with two or more labels. 95 % intervals by bootstrap over "
        f"{result.ci_unit}s."
    )
    yield from missing_intervals([result, *result.pairs])
