"""The agreement of two label sources as sections of text and as a page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from melt_ser.evaluation.metrics import percent
from melt_ser.reporting.pages import confusion_lines, render
from melt_ser.reporting.sections import Section, percent_with_interval, value_with_interval

Agreement = dict[str, Any]
MOST_VALUES = 12  # of what divides the utterances; the JSON has 200


def sections(found: Agreement) -> list[Section]:
    """What `annotation.agreement.agreement` found."""
    parts = [
        Section(
            "Agreement of labels", list(_sentences(found)), ("", "n", "changed %", "kappa", "alpha"), _overall(found)
        ),
        Section(
            "Classes",
            ["Utterances by label, within the set; F1 is the same whichever source is the reference."],
            ("label", "first", "second", "both", "F1 %"),
            [
                [
                    one["label"],
                    *(f"{one[key]:,}" for key in ("first", "second", "both")),
                    percent_with_interval(one, "f1"),
                ]
                for one in found["classes"]
            ],
        ),
        Section(
            "Confusion",
            ["Utterances with the label of the row by the first source and that of the column by the second."],
            ["first \\ second", *found["categories"]],
            [
                [name, *map(str, row)]
                for name, row in zip(found["categories"], found["confusion"], strict=True)
                if any(row)
            ],
        ),
        Section(
            "Shift",
            ["Net moves: utterances that go from the row's label to the column's, less those that go back."],
            ["from \\ to", *found["categories"], "all"],
            shift_rows(found),
        ),
    ]
    for name, rows, left_out in slices(found):
        more = [f"… and {left_out} more values."] if left_out else []
        heads = (name, "n", "changed %", "kappa", "alpha")
        parts.append(
            Section(
                f"By {name}",
                more,
                heads,
                [[str(one["value"] or "not said, or of the rest"), *_measures(one)] for one in rows],
            )
        )
    return parts


def agreement_page(found: Agreement) -> str:
    """The page, like that of `report`: self-contained, without a script."""
    return render(
        "agreement.html",
        found=found,
        sentences=list(_sentences(found)),
        confusion=confusion_lines(found["categories"], found["confusion"]),
        shift=shift_rows(found),
        slices=list(slices(found)),
        percent=percent,
        percent_with_interval=percent_with_interval,
        value_with_interval=value_with_interval,
    )


def shift_rows(found: Agreement) -> list[list[str]]:
    """The label, its net moves to each other one, and their sum: by how much it has fewer utterances."""
    return [
        [name, *(f"{move:+d}" if move else "0" for move in [*moves, sum(moves)])]
        for name, moves in zip(found["categories"], found["shift"], strict=True)
    ]


def slices(found: Agreement) -> Iterator[tuple[str, list[dict[str, Any]], int]]:
    """By what divides the utterances: its largest values, and how many more there are."""
    for name, group in groupby(found["slices"], key=lambda one: str(one["by"])):
        values = list(group)
        yield name, values[:MOST_VALUES], max(len(values) - MOST_VALUES, 0)


def _overall(found: Agreement) -> list[list[str]]:
    rows = [["as given", *_measures(found["as_given"])]]
    return [*rows, ["within the set", *_measures(found["within"])]] if any(found["outside"].values()) else rows


def _measures(one: dict[str, Any]) -> list[str]:
    return [
        f"{one['n']:,}",
        percent_with_interval(one, "changed"),
        value_with_interval(one, "kappa"),
        value_with_interval(one, "alpha"),
    ]


def _sentences(found: Agreement) -> Iterator[str]:
    yield f"First: {found['first']}. Second: {found['second']}."
    yield f"The set: {', '.join(found['labels'])}."
    for side, counts in found["outside"].items():
        if counts:
            listed = ", ".join(f"{label} ({count})" for label, count in counts.items())
            yield (
                f"Outside the set: {sum(counts.values())} labels of the {side} source, {listed}. As given, each is a "
                "category of its own; within the set, their utterances are left out."
            )
    for reason, count in found["left_out"].items():
        yield f"Left out: {count} ({reason})."
    yield f"95 % intervals by bootstrap over {found['as_given']['ci_unit']}s."
