"""The scores of a listening test as sections of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from melt_ser.evaluation.metrics import percent
from melt_ser.reporting.sections import Section, percent_with_interval, value_with_interval

HEADS = ("n", "clips", "second preferred %", "binomial p", "mixed p")


def sections(found: dict[str, Any]) -> list[Section]:
    """What `annotation.preference.preference` found."""
    overall = found["overall"]
    parts = [
        Section(
            "Listening test",
            list(_sentences(found)),
            ("", *HEADS),
            [["all", *_figures(overall, "binomial_p", _mixed_p(overall))]],
        )
    ]
    for source, rows in found["classes"].items():
        parts.append(
            Section(
                f"By the {source} source's label",
                ["p-values are corrected over the labels (Holm)."],
                ("label", *HEADS),
                [[row["label"], *_figures(row, "binomial_p_holm", row.get("mixed_p_holm"))] for row in rows],
            )
        )
    parts.append(Section("Raters", list(_raters(found))))
    return parts


def _sentences(found: dict[str, Any]) -> Iterator[str]:
    yield f"First: {found['sources']['first']}. Second: {found['sources']['second']}."
    yield (
        f"{len(found['raters'])} raters, {found['clips']} clips, {found['overall']['n']} judgements. 95 % intervals by "
        "bootstrap over raters and clips."
    )
    yield (
        "The binomial test takes each judgement for itself; the mixed test knows that those of a rater, and those of a "
        "clip, are alike."
    )
    mixed = found["overall"]["mixed"]
    if mixed:
        low, high = mixed["interval"]
        yield (
            f"Mixed model: the second is preferred in {percent(mixed['mean'])} % [{percent(low)}, {percent(high)}]; "
            f"standard deviation {percent(mixed['of_raters'])} points between raters, {percent(mixed['of_clips'])} "
            f"between clips{'' if mixed['converged'] else '; the fit did not converge'}."
        )
    else:
        yield f"No mixed test: {found['overall']['mixed_skipped']}"


def _raters(found: dict[str, Any]) -> Iterator[str]:
    agreement = found["agreement"]
    if agreement["same"] is None:
        yield "No clip was judged by two raters, so that nothing can be said of their agreement."
    else:
        yield (
            f"Two raters say the same of a clip in {percent(agreement['same'])} %; Krippendorff's alpha "
            f"{value_with_interval(agreement, 'alpha')}."
        )
    left = found["left_side"]
    yield f"The label on the left was chosen in {percent(left['chosen'])} % (binomial p {_p(left['binomial_p'])})."
    if found["not_played"]:
        yield f"{found['not_played']} clips did not play for a rater and were skipped."
    for rater, reason in found["left_out"].items():
        yield f"Left out: {rater} ({reason})."


def _figures(one: dict[str, Any], binomial: str, mixed: float | None) -> list[str]:
    return [f"{one['n']:,}", str(one["clips"]), percent_with_interval(one, "second"), _p(one[binomial]), _p(mixed)]


def _mixed_p(one: dict[str, Any]) -> float | None:
    return one["mixed"]["p"] if one["mixed"] else None


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
