"""Described loudness and pitch against measured ones, as sections of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from melt_ser.evaluation.metrics import percent
from melt_ser.label_study.acoustics import LEVELS
from melt_ser.reporting.sections import Section, percent_with_interval


def sections(found: dict[str, Any]) -> list[Section]:
    """What the verb `acoustics` found."""
    summary = Section(
        "Described and measured voice",
        list(_sentences(found)),
        ("described", "n", "UAR %", *(f"recall of {level} %" for level in LEVELS)),
        [
            [one["described"], f"{one['n']:,}", percent_with_interval(one, "ua"), *map(_percent, one["recall"])]
            for one in found["checks"]
        ],
    )
    return [summary, *(_confusion(one) for one in found["checks"])]


def _sentences(found: dict[str, Any]) -> Iterator[str]:
    yield (
        "The bottom 30 % of the measured values are low, the next 40 % mid, the top 30 % high; UAR is that of the "
        "described words. Chance is 33.3 %; 95 % intervals by bootstrap over "
        f"{found['checks'][0]['ci_unit']}s."
    )
    for reason, count in found["left_out"].items():
        yield f"Left out: {count} ({reason})."
    for one in found["checks"]:
        for reason, count in one["left_out"].items():
            if count:
                yield f"Left out of {one['described']}: {count} ({reason})."


def _confusion(one: dict[str, Any]) -> Section:
    low, high = one["bounds"]
    return Section(
        f"{one['described']}: utterances",
        [f"{one['measured']} up to {low:.3g} is low, above {high:.3g} high."],
        ("measured \\ described", *LEVELS),
        [[level, *map(str, row)] for level, row in zip(LEVELS, one["confusion"], strict=True)],
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else percent(value)
