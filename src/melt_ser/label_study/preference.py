"""Score a listening test: how often raters prefer the second source's label, and how far the raters agree.

Raters and clips are both samples, of people and of speech, so intervals resample both, independently of each other (the
pigeonhole bootstrap; its intervals are somewhat wider than necessary: Owen 2007). The interval of alpha resamples clips
alone, since a rater drawn twice would agree with themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from melt_ser.core.counting import counted
from melt_ser.core.errors import SetupError
from melt_ser.evaluation.comparison import holm
from melt_ser.evaluation.metrics import Floats, p_text, percent
from melt_ser.evaluation.statistics import RESAMPLES, ROUNDING
from melt_ser.label_study.listening_answers import Judgements
from melt_ser.label_study.mixed_effects import MixedTest, mixed_test
from melt_ser.label_study.reliability import coincidences_of_items, krippendorffs_alpha
from melt_ser.reporting.small_report import Section, percent_with_interval, value_with_interval

SCHEMA_VERSION = 1
COLUMNS = ("n", "clips", "second preferred %", "binomial p", "mixed p")


class Preferred(msgspec.Struct, frozen=True, kw_only=True):
    """How often the second source is preferred, with two tests against one half."""

    n: int  # judgements
    clips: int
    second: float  # share of judgements that prefer the second source, 0..1
    second_ci95: list[float]  # low, high
    binomial_p: float  # treats all judgements as independent
    mixed: MixedTest | None
    mixed_skipped: str | None  # why there is no mixed test


class ClassPreferred(Preferred, frozen=True, kw_only=True):
    """The preference on the clips with one label from one source; p-values also corrected over labels (Holm)."""

    label: str
    binomial_p_holm: float
    mixed_p_holm: float | msgspec.UnsetType = msgspec.UNSET  # absent without a mixed test


class LeftSide(msgspec.Struct, frozen=True):
    """How often raters chose the label on the left."""

    chosen: float  # 0..1
    binomial_p: float


class RaterAgreement(msgspec.Struct, frozen=True):
    """The agreement of raters; None if no clip has two raters, or the value is not defined."""

    alpha: float | None  # Krippendorff's
    alpha_ci95: list[float] | None
    same: float | None  # share of pairs of raters with the same choice on a clip, 0..1


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of a listening test."""

    schema_version: int = SCHEMA_VERSION
    sources: dict[str, str]  # names, by "first" and "second"
    raters: list[str]  # who passed the checks and judged
    left_out: dict[str, str]  # reason, by rater
    not_played: int  # clips that did not play for a rater
    clips: int
    overall: Preferred
    classes: dict[str, list[ClassPreferred]]  # by the labels of the "second" and of the "first" source
    left_side: LeftSide
    agreement: RaterAgreement
    about: dict[str, dict[str, str]] = {}  # the answers of raters about themselves, by question


def preference(judgements: Judgements, resamples: int = RESAMPLES, seed: int = 0) -> Preference:
    """Return the scores of a listening test; the bootstrap uses `resamples` and `seed`."""
    table = judgements.table
    draw = {"resamples": resamples, "seed": seed}
    on_the_left = table["side"] == "left"
    return Preference(
        sources=judgements.sources,
        raters=judgements.raters,
        left_out=judgements.left_out,
        not_played=judgements.not_played,
        clips=int(table["item"].nunique()),
        overall=Preferred(**_preferred(table, **draw)),
        classes={source: _classes(table, source, **draw) for source in ("second", "first")},
        left_side=LeftSide(float(on_the_left.mean()), _binomial(on_the_left)),
        agreement=_agreement(_matrix(table), **draw),
        about=judgements.about,
    )


def _preferred(table: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    """Return the fields of `Preferred` for these judgements."""
    matrix = _matrix(table)
    skipped = None
    try:
        test = mixed_test(
            table["prefers_second"].to_numpy(dtype=np.float64),
            pd.factorize(table["rater"])[0].astype(np.int64),
            pd.factorize(table["item"])[0].astype(np.int64),
        )
        if test is None:
            skipped = (
                "it needs two or more raters and clips, whose judgements differ by more than their effects explain."
            )
    except SetupError as error:
        test, skipped = None, str(error)
    return {
        "n": len(table),
        "clips": matrix.shape[1],
        "second": float(table["prefers_second"].mean()),
        "second_ci95": crossed_interval(matrix, resamples, seed),
        "binomial_p": _binomial(table["prefers_second"]),
        "mixed": test,
        "mixed_skipped": skipped,
    }


def _classes(table: pd.DataFrame, source: str, resamples: int, seed: int) -> list[ClassPreferred]:
    groups = {str(label): _preferred(group, resamples, seed) for label, group in table.groupby(source, sort=True)}
    binomial = holm([row["binomial_p"] for row in groups.values()])
    tested = {label: row["mixed"].p for label, row in groups.items() if row["mixed"]}
    mixed = dict(zip(tested, holm(list(tested.values())), strict=True))
    return [
        ClassPreferred(label=label, **row, binomial_p_holm=corrected, mixed_p_holm=mixed.get(label, msgspec.UNSET))
        for (label, row), corrected in zip(groups.items(), binomial, strict=True)
    ]


def crossed_interval(matrix: Floats, resamples: int = RESAMPLES, seed: int = 0) -> list[float]:
    """Return the 95 % interval [low, high] of the mean of judgements, (raters, clips), NaN for a missing one.

    A single rater is not resampled; the interval then covers this rater's judgements on other clips. If all judgements
    are the same, so are all resamples; the interval is then the exact binomial one of the fewer of raters and clips.
    """
    if np.nanmin(matrix) == np.nanmax(matrix):
        fewer = min(matrix.shape) if min(matrix.shape) > 1 else max(matrix.shape)
        margin = 1 - 0.025 ** (1 / fewer)  # Clopper & Pearson 1934
        return [1 - margin, 1.0] if np.nanmax(matrix) else [0.0, margin]
    generator = np.random.default_rng(seed)
    judged = ~np.isnan(matrix)
    of_raters, of_clips = (_times_drawn(count, resamples, generator) for count in matrix.shape)
    sums, counts = (
        np.einsum("br,rc,bc->b", of_raters, cells, of_clips, optimize=True)
        for cells in (np.where(judged, matrix, 0.0), judged.astype(np.float64))
    )
    low, high = np.quantile(sums[counts > 0] / counts[counts > 0], [0.025, 0.975])
    return [float(low), float(high)]


def _times_drawn(count: int, resamples: int, generator: np.random.Generator) -> Floats:
    """Return how often each of `count` is drawn, (resamples, count)."""
    return generator.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)


def _matrix(table: pd.DataFrame) -> Floats:
    """Return (raters, clips): 1 for a preference of the second source, 0 for the first, NaN without a judgement."""
    wide = table.assign(value=table["prefers_second"].astype(float)).pivot(
        index="rater", columns="item", values="value"
    )
    return np.asarray(wide, dtype=np.float64)


def _agreement(matrix: Floats, resamples: int, seed: int) -> RaterAgreement:
    counts = np.stack([(matrix == 0).sum(axis=0), (matrix == 1).sum(axis=0)], axis=1).astype(np.int64)
    whole = coincidences_of_items(counts)
    if not whole.sum():
        return RaterAgreement(None, None, None)
    each = np.stack([coincidences_of_items(clip[None]) for clip in counts])
    times = _times_drawn(len(counts), resamples, np.random.default_rng(seed))
    drawn = krippendorffs_alpha(np.einsum("bc,cij->bij", times, each))
    alpha = float(krippendorffs_alpha(whole))
    defined = drawn[~np.isnan(drawn)]
    spread = float(np.ptp(defined)) if len(defined) and not np.isnan(alpha) else 0.0
    bounds = np.quantile(defined, [0.025, 0.975]).tolist() if spread > ROUNDING else None  # a width of 0 says nothing
    pairs = counts.sum(axis=1)
    same = (counts * (counts - 1)).sum() / (pairs * (pairs - 1)).sum()
    return RaterAgreement(None if np.isnan(alpha) else alpha, bounds, float(same))


def _binomial(hits: pd.Series) -> float:
    """Return the exact two-sided p-value of the share of hits against one half, for independent judgements."""
    from scipy.stats import binomtest  # takes a second to import

    return float(binomtest(int(hits.sum()), len(hits)).pvalue)


def sections(result: Preference) -> list[Section]:
    """Return the scores as sections of text."""
    overall = result.overall
    mixed_p = overall.mixed.p if overall.mixed else None
    cells = [["all", *_cells(overall, overall.binomial_p, mixed_p)]]
    parts = [Section("Listening test", list(_sentences(result)), ("", *COLUMNS), cells)]
    for source, rows in result.classes.items():
        parts.append(
            Section(
                f"By the {source} source's label",
                ["p-values are corrected over the labels (Holm)."],
                ("label", *COLUMNS),
                [[row.label, *_cells(row, row.binomial_p_holm, row.mixed_p_holm)] for row in rows],
            )
        )
    parts.append(Section("Raters", list(_rater_sentences(result))))
    if result.about:
        questions = list(dict.fromkeys(name for answers in result.about.values() for name in answers))
        told = [[rater, *(answers.get(name, "") for name in questions)] for rater, answers in result.about.items()]
        parts.append(Section("Raters about themselves", [], ("rater", *questions), told))
    return parts


def _sentences(result: Preference) -> Iterator[str]:
    yield f"First: {result.sources['first']}. Second: {result.sources['second']}."
    yield (
        f"{counted(len(result.raters), 'rater')}, {counted(result.clips, 'clip')}, "
        f"{counted(result.overall.n, 'judgement')}. 95 % intervals by "
        "bootstrap over raters and clips."
    )
    yield (
        "The binomial test treats all judgements as independent; the mixed test takes into account that those of "
        "one rater, and those of one clip, resemble each other."
    )
    mixed = result.overall.mixed
    if mixed:
        low, high = mixed.interval
        yield (
            f"Mixed model: the second is preferred in {percent(mixed.mean)} % [{percent(low)}, {percent(high)}]; "
            f"standard deviation {percent(mixed.of_raters)} points between raters, {percent(mixed.of_clips)} "
            f"between clips{'' if mixed.converged else '; the fit did not converge'}."
        )
    else:
        yield f"No mixed test: {result.overall.mixed_skipped}"


def _rater_sentences(result: Preference) -> Iterator[str]:
    agreement = result.agreement
    if agreement.same is None:
        yield "No clip was judged by two raters, so their agreement is not known."
    else:
        alpha = value_with_interval(msgspec.structs.asdict(agreement), "alpha")
        yield f"Two raters agree on a clip in {percent(agreement.same)} %; Krippendorff's alpha {alpha}."
    left = result.left_side
    yield f"The label on the left was chosen in {percent(left.chosen)} % (binomial p {_p(left.binomial_p)})."
    if result.not_played:
        yield f"{result.not_played} clips did not play for a rater and were skipped."
    for rater, reason in result.left_out.items():
        yield f"Left out: {rater} ({reason})."


def _cells(row: Preferred, binomial_p: float, mixed_p: float | msgspec.UnsetType | None) -> list[str]:
    share = percent_with_interval(msgspec.structs.asdict(row), "second")
    return [f"{row.n:,}", str(row.clips), share, _p(binomial_p), _p(mixed_p)]


def _p(value: float | msgspec.UnsetType | None) -> str:
    if value is None or isinstance(value, msgspec.UnsetType):
        return "–"
    return p_text(value)
