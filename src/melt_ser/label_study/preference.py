"""From judgements to how often the second source's label is preferred: overall, by class, and how far raters agree.

Raters and clips are both samples, of people and of speech, so intervals resample both, independently of each other
(the pigeonhole bootstrap, whose intervals are somewhat wider than need be: Owen 2007). That of alpha resamples clips
alone: a rater drawn twice would agree with themselves.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from melt_ser.core.errors import SetupError
from melt_ser.evaluation.comparison import holm
from melt_ser.evaluation.metrics import Floats
from melt_ser.evaluation.statistics import RESAMPLES
from melt_ser.label_study.listening_answers import Judgements
from melt_ser.label_study.mixed_effects import mixed_test
from melt_ser.label_study.reliability import coincidences_of_items, krippendorffs_alpha

SCHEMA_VERSION = 1
Preference = dict[str, Any]


def preference(judgements: Judgements, resamples: int = RESAMPLES, seed: int = 0) -> Preference:
    """All that is said of the judgements, as JSON has it; fractions in 0..1, None where a value is not defined."""
    table = judgements.table
    matrix = _matrix(table)
    draw = {"resamples": resamples, "seed": seed}
    return {
        "schema_version": SCHEMA_VERSION,
        "sources": judgements.sources,
        "raters": judgements.raters,
        "left_out": judgements.left_out,
        "not_played": judgements.not_played,
        "clips": int(table["item"].nunique()),
        "overall": _preferred(table, **draw),
        "classes": {source: _classes(table, source, **draw) for source in ("second", "first")},
        "left_side": {
            "chosen": float((table["side"] == "left").mean()),
            "binomial_p": _binomial(table["side"] == "left"),
        },
        "agreement": _agreement(matrix, **draw),
    }


def _preferred(table: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    """How often the second source is preferred, with its interval and both tests."""
    matrix = _matrix(table)
    found = {
        "n": len(table),
        "clips": matrix.shape[1],
        "second": float(table["prefers_second"].mean()),
        "second_ci95": crossed_interval(matrix, resamples, seed),
        "binomial_p": _binomial(table["prefers_second"]),
    }
    try:
        test = mixed_test(
            table["prefers_second"].to_numpy(dtype=np.float64),
            pd.factorize(table["rater"])[0].astype(np.int64),
            pd.factorize(table["item"])[0].astype(np.int64),
        )
    except SetupError as error:
        return {**found, "mixed": None, "mixed_skipped": str(error)}
    reason = None if test else "it needs two raters and two clips, and raters and clips that differ."
    return {**found, "mixed": asdict(test) if test else None, "mixed_skipped": reason}


def _classes(table: pd.DataFrame, source: str, resamples: int, seed: int) -> list[dict[str, Any]]:
    """`_preferred` of the clips to which a source gave each label; p-values are corrected over the labels (Holm)."""
    rows = [
        {"label": str(label), **_preferred(group, resamples, seed)} for label, group in table.groupby(source, sort=True)
    ]
    for row, corrected in zip(rows, holm([row["binomial_p"] for row in rows]), strict=True):
        row["binomial_p_holm"] = corrected
    tested = [row for row in rows if row["mixed"]]
    for row, corrected in zip(tested, holm([row["mixed"]["p"] for row in tested]), strict=True):
        row["mixed_p_holm"] = corrected
    return rows


def crossed_interval(matrix: Floats, resamples: int = RESAMPLES, seed: int = 0) -> list[float]:
    """The 95 % interval [low, high] of the mean of judgements, (raters, clips), NaN where there is none.

    A single rater is not resampled: the interval is then of this one's judgements on other clips. Judgements that are
    all the same are the same in every resample; theirs is the exact binomial interval of the fewer of raters and clips.
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
    """How often each of `count` is drawn, (resamples, count)."""
    return generator.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)


def _matrix(table: pd.DataFrame) -> Floats:
    """(raters, clips): 1 where the second source is preferred, 0 the first, NaN where there is no judgement."""
    wide = table.assign(value=table["prefers_second"].astype(float)).pivot(
        index="rater", columns="item", values="value"
    )
    return np.asarray(wide, dtype=np.float64)


def _agreement(matrix: Floats, resamples: int, seed: int) -> dict[str, Any]:
    """Alpha with its interval, and the share of pairs of raters who say the same of a clip."""
    counts = np.stack([(matrix == 0).sum(axis=0), (matrix == 1).sum(axis=0)], axis=1).astype(np.int64)
    whole = coincidences_of_items(counts)
    if not whole.sum():
        return {"alpha": None, "alpha_ci95": None, "same": None}
    each = np.stack([coincidences_of_items(clip[None]) for clip in counts])
    times = _times_drawn(len(counts), resamples, np.random.default_rng(seed))
    drawn = krippendorffs_alpha(np.einsum("bc,cij->bij", times, each))
    alpha = float(krippendorffs_alpha(whole))
    defined = drawn[~np.isnan(drawn)]
    low_high = np.quantile(defined, [0.025, 0.975]).tolist() if len(defined) and not np.isnan(alpha) else None
    pairs = counts.sum(axis=1)
    same = (counts * (counts - 1)).sum() / (pairs * (pairs - 1)).sum()
    return {"alpha": None if np.isnan(alpha) else alpha, "alpha_ci95": low_high, "same": float(same)}


def _binomial(hits: pd.Series) -> float:
    """The exact two-sided p of one half, which takes each judgement for itself."""
    from scipy.stats import binomtest  # takes a second to import

    return float(binomtest(int(hits.sum()), len(hits)).pvalue)
