"""The agreement of several label sources as sections of text and as a page."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from melt_ser.label_study.source_agreement import PairAgreement, SourceAgreement
from melt_ser.reporting.pages import render
from melt_ser.reporting.small_report import Section, percent_with_interval, value_with_interval

PAIR_COLUMNS = ("first", "second", "n", "changed %", "kappa")
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
        Section("Sources", ["Utterances by label."], ("source", "n", *result.labels), source_rows(result)),
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
        source_columns=[("source", False), ("n", True), *((label, True) for label in result.labels)],
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


def source_rows(result: SourceAgreement) -> list[list[str]]:
    """Return for each source its name, its utterances, and those of each label."""
    return [
        [name, f"{sum(counts.values()):,}", *(f"{counts.get(label, 0):,}" for label in result.labels)]
        for name, counts in result.sources.items()
    ]


def _sentences(result: SourceAgreement) -> Iterator[str]:
    order = ", in this order" if result.level == "ordinal" else ""
    yield f"{len(result.sources)} sources; {result.level} labels{order}: {', '.join(result.labels)}."
    for name, counts in result.outside.items():
        if counts:
            listed = ", ".join(f"{label} ({count})" for label, count in counts.items())
            yield f"Outside the set, so no label: {sum(counts.values())} of {name}, {listed}."
    for reason, count in result.left_out.items():
        yield f"Left out: {count} utterances {reason}."
    yield (
        f"Krippendorff's alpha takes every utterance with two or more labels. 95 % intervals by bootstrap over "
        f"{result.ci_unit}s."
    )
