"""The agreement of two label sources as sections of text and as a page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import msgspec

from melt_ser.core.counting import counted
from melt_ser.label_study.agreement import Agreement, Measures, Slice
from melt_ser.reporting.pages import confusion_lines, render
from melt_ser.reporting.small_report import (
    Section,
    missing_intervals,
    percent_with_interval,
    value_with_interval,
)

MOST_VALUES = 12  # of a dividing column; the JSON has 200
COLUMNS = ("n", "changed %", "kappa", "alpha")


def sections(result: Agreement) -> list[Section]:
    """Return the agreement as sections of text."""
    parts = [
        Section("Agreement of labels", list(_sentences(result)), ("", *COLUMNS), _overall(result)),
        Section(
            "Classes",
            ["Utterances by label, within the set. F1 is the same for either source as the reference."],
            ("label", "first", "second", "both", "F1 %"),
            [
                [row.label, f"{row.first:,}", f"{row.second:,}", f"{row.both:,}", _percent(row, "f1")]
                for row in result.classes
            ],
        ),
        Section(
            "Confusion",
            ["Utterances with the label of the row by the first source and that of the column by the second."],
            ["first \\ second", *result.categories],
            [[name, *map(str, row)] for name, row in zip(result.categories, result.confusion, strict=True) if any(row)],
        ),
        Section(
            "Shift",
            ["Net moves: utterances that go from the row's label to the column's, less those that go back."],
            ["from \\ to", *result.categories, "all"],
            shift_rows(result),
        ),
    ]
    for name, rows, left_out in slices(result):
        more = [f"… and {left_out} more values."] if left_out else []
        cells = [[str(row.value or "unknown or any other"), *_cells(row)] for row in rows]
        parts.append(Section(f"By {name}", more, (name, *COLUMNS), cells))
    return parts


def agreement_page(result: Agreement) -> str:
    """Return the page: self-contained like that of `report`, without a script."""
    return render(
        "agreement.html",
        "melt_ser.label_study",
        result=result,
        sentences=list(_sentences(result)),
        confusion=confusion_lines(result.categories, result.confusion),
        shift=shift_rows(result),
        slices=list(slices(result)),
        percent_with_interval=_percent,
        value_with_interval=_value,
    )


def shift_rows(result: Agreement) -> list[list[str]]:
    """Return a row for each label: its net moves to each other label, and their sum, the utterances that it loses."""
    return [
        [name, *(f"{move:+d}" if move else "0" for move in [*moves, sum(moves)])]
        for name, moves in zip(result.categories, result.shift, strict=True)
    ]


def slices(result: Agreement) -> Iterator[tuple[str, list[Slice], int]]:
    """Yield each dividing column with the slices of its largest values and the number of further values."""
    for name, group in groupby(result.slices, key=lambda row: row.by):
        values = list(group)
        yield name, values[:MOST_VALUES], max(len(values) - MOST_VALUES, 0)


def _overall(result: Agreement) -> list[list[str]]:
    rows = [["as given", *_cells(result.as_given)]]
    return [*rows, ["within the set", *_cells(result.within)]] if any(result.outside.values()) else rows


def _cells(measures: Measures) -> list[str]:
    return [f"{measures.n:,}", _percent(measures, "changed"), _value(measures, "kappa"), _value(measures, "alpha")]


def _percent(row: msgspec.Struct, name: str) -> str:
    return percent_with_interval(msgspec.structs.asdict(row), name)


def _value(row: msgspec.Struct, name: str) -> str:
    return value_with_interval(msgspec.structs.asdict(row), name)


def _sentences(result: Agreement) -> Iterator[str]:
    yield f"First: {result.first}. Second: {result.second}."
    yield f"The set: {', '.join(result.labels)}."
    for side, counts in result.outside.items():
        if counts:
            listed = ", ".join(f"{label} ({count})" for label, count in counts.items())
            yield (
                f"Outside the set: {counted(sum(counts.values()), 'label')} of the {side} source, {listed}. As given, "
                "each is a category of its own; within the set, their utterances are left out."
            )
    for reason, count in result.left_out.items():
        yield f"Left out: {count} ({reason})."
    by_speaker = "; those of a single speaker are over its utterances" if result.as_given.ci_unit == "speaker" else ""
    yield f"95 % intervals by bootstrap over {result.as_given.ci_unit}s{by_speaker}."
    rows = [result.as_given, result.within, *result.classes, *result.slices]
    yield from missing_intervals(rows)
