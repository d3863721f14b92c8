"""Measure how far any number of label sources agree: alpha over all of them, and each pair.

Labels are nominal (the same or not), ordinal (in an order, by ranks) or interval (numbers). Krippendorff's alpha takes
the distances of its level. Cohen's kappa is plain, weighted by the steps between ordered labels, or by squared
differences of numbers. Numbers may be many, such as means: then what counts utterances by label is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import msgspec
import numpy as np
import pandas as pd
from scipy import sparse

from melt_ser.core.errors import InputError, SetupError
from melt_ser.evaluation.metrics import Floats, Integers
from melt_ser.evaluation.statistics import RESAMPLES, Units, count_per_unit, resample, resampling_units
from melt_ser.label_study.agreement import Bounds, in_one_spelling, with_interval
from melt_ser.label_study.label_sources import LabelTable
from melt_ser.label_study.reliability import (
    alpha_of_numbers,
    alpha_of_ranks,
    cohens_kappa,
    coincidences_of_items,
    kappa_of_numbers,
    krippendorffs_alpha,
    steps,
)

SCHEMA_VERSION = 1
MOST_LABELS = 50  # with more numbers, the figures that count equal ones say nothing
Level = Literal["nominal", "ordinal", "interval"]


class PairAgreement(msgspec.Struct, frozen=True, kw_only=True):
    """The agreement of two sources on the utterances that both labelled; None if a figure is not defined."""

    first: str
    second: str
    n: int
    changed: float | None  # share of utterances with two different labels, 0..1; None for many numbers
    changed_ci95: Bounds | None
    kappa: float | None  # Cohen's, weighted for ordinal and interval labels; None for many ordinal numbers
    kappa_ci95: Bounds | None


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers that one source gives."""

    n: int
    mean: float
    deviation: float  # of the numbers, not of their mean
    lowest: float
    highest: float


class SourceAgreement(msgspec.Struct, frozen=True, kw_only=True):
    """The agreement of several label sources."""

    schema_version: int = SCHEMA_VERSION
    level: Level
    labels: list[str]  # the set, in its order
    sources: dict[str, dict[str, int]]  # utterances of each source, by label
    numbers: dict[str, Numbers]  # of each source; empty unless the level is interval
    outside: dict[str, dict[str, int]]  # labels outside the set, which count as no label
    n: int  # utterances with two or more labels of the set
    left_out: dict[str, int]
    ci_unit: str  # the resampled unit: speaker or utterance
    alpha: float | None  # Krippendorff's
    alpha_ci95: Bounds | None
    pairs: list[PairAgreement]

    @property
    def by_label(self) -> bool:
        """Whether the labels are few enough to count utterances by them."""
        return len(self.labels) <= MOST_LABELS


def source_agreement(
    given: LabelTable,
    labels: Sequence[str] | None = None,
    level: Level = "nominal",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> SourceAgreement:
    """Return the agreement of two or more label sources.

    Args:
        given: the labels of each source.
        labels: the set, in its order for `ordinal`; None: all labels that occur, numbers in their order.
        level: of the labels.
        resamples: of the bootstrap, over speakers if all are known and otherwise over utterances.
        seed: of the bootstrap.

    Raises InputError for more than 50 labels that are no numbers of their level, SetupError for a set that does not
    fit.
    """
    table = given.labels if level == "nominal" else given.labels.apply(_plain_numbers)
    chosen = _label_set(table, labels, level)
    spelled = {label.casefold(): label for label in chosen}
    table = table.apply(in_one_spelling, spelled=spelled)
    codes = np.column_stack([pd.Categorical(table[name], chosen).codes for name in table]).astype(np.int64)
    enough = (codes >= 0).sum(axis=1) >= 2
    if not enough.any():
        raise InputError(f"No utterance has two labels of the set {_shown(chosen)}; set --labels or --columns.")
    beyond = {"without two labels of the set": int((~enough).sum())} if not enough.all() else {}
    speakers = None if given.speakers is None else given.speakers[enough]
    values = np.array([_number(label, level) for label in chosen]) if level == "interval" else None
    counted = _Counted(codes[enough], len(chosen), speakers, level, values, resamples, seed)
    alpha, alpha_interval = counted.alpha()
    sources = {str(name): table[name] for name in table}
    numbers = {} if values is None else dict(zip(sources, map(_numbers, _values_of(codes, values).T), strict=True))
    return SourceAgreement(
        level=level,
        labels=chosen,
        sources={name: _counts(column[column.isin(chosen)]) for name, column in sources.items()},
        numbers={name: found for name, found in numbers.items() if found is not None},
        outside={name: _counts(column[~column.isin([*chosen, ""])]) for name, column in sources.items()},
        n=int(enough.sum()),
        left_out=given.left_out | beyond,
        ci_unit=counted.units.kind,
        alpha=alpha,
        alpha_ci95=alpha_interval,
        pairs=[counted.pair(*pair, list(sources)) for pair in combinations(range(len(sources)), 2)],
    )


class _Counted:
    """The utterances of each pattern of labels, in all and on each resample; the measures are functions of these."""

    def __init__(
        self,
        codes: Integers,
        categories: int,
        speakers: pd.Series | None,
        level: Level,
        values: Floats | None,
        resamples: int,
        seed: int,
    ) -> None:
        """Count and resample the rows of `codes`, (utterances, sources); -1 is no label."""
        self.codes, self.level, self.values, self.categories = codes, level, values, categories
        self.by_label = categories <= MOST_LABELS
        self.patterns, pattern_of_row = np.unique(codes, axis=0, return_inverse=True)
        pattern_of_row = pattern_of_row.ravel()
        self.units: Units = resampling_units(len(codes), speakers)
        times = np.bincount(pattern_of_row)
        if self.units.kind == "speaker":
            drawn = resample(count_per_unit(pattern_of_row, len(times), self.units.of_row), resamples, seed)
        else:
            drawn = np.random.default_rng(seed).multinomial(len(codes), times / len(codes), size=resamples)
        self.counts = np.vstack([times, drawn])  # (1 + resamples, patterns): the first row has all utterances

    def alpha(self) -> tuple[float, Bounds | None] | tuple[None, None]:
        """Return Krippendorff's alpha with its interval."""
        if self.values is not None:
            return self._with_interval(alpha_of_numbers(_values_of(self.patterns, self.values), self.counts))
        if self.level == "ordinal":
            return self._with_interval(alpha_of_ranks(self.patterns, self.counts))
        labels = (self.patterns[:, :, None] == np.arange(self.categories)).sum(axis=1)  # (patterns, categories)
        matrices = [coincidences_of_items(row[None]).ravel() for row in labels]
        return self._with_interval(krippendorffs_alpha(self._summed(sparse.csr_matrix(np.asarray(matrices)))))

    def pair(self, first: int, second: int, names: Sequence[str]) -> PairAgreement:
        """Return the agreement of two sources, by their numbers."""
        both = np.flatnonzero((self.patterns[:, [first, second]] >= 0).all(axis=1))
        units = self.units.among((self.codes[:, first] >= 0) & (self.codes[:, second] >= 0))
        ours, theirs = self.patterns[both, first], self.patterns[both, second]
        times = self.counts[:, both]
        changed: tuple[float, Bounds | None] | tuple[None, None] = (None, None)
        kappa = changed
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample may have no utterance that both labelled
            if self.by_label:
                changed = self._with_interval(1 - times @ (ours == theirs) / times.sum(axis=1), units, least=0.0)
            if self.values is not None:
                kappa = self._with_interval(kappa_of_numbers(self.values[ours], self.values[theirs], times), units)
            elif self.by_label:
                kappa = self._with_interval(self._kappa(both, ours, theirs), units)
        return PairAgreement(
            first=names[first],
            second=names[second],
            n=int(times[0].sum()),
            changed=changed[0],
            changed_ci95=changed[1],
            kappa=kappa[0],
            kappa_ci95=kappa[1],
        )

    def _kappa(self, both: Integers, ours: Integers, theirs: Integers) -> Floats:
        shape = (len(self.patterns), self.categories**2)
        cells = ours * self.categories + theirs
        confusions = self._summed(sparse.csr_matrix((np.ones(len(both)), (both, cells)), shape=shape)).astype(np.int64)
        return cohens_kappa(confusions, steps(self.categories) if self.level == "ordinal" else None)

    def _summed(self, matrices: sparse.csr_matrix) -> Floats:
        """Return the sums of a matrix of each pattern, (1 + resamples, categories, categories)."""
        return np.asarray(self.counts @ matrices).reshape(-1, self.categories, self.categories)

    def _with_interval(
        self, values: Floats, units: Units | None = None, least: float = -1.0
    ) -> tuple[float, Bounds | None] | tuple[None, None]:
        """Return a value with its interval; `units`: those that the value is over, if they are not all."""
        return with_interval(float(values[0]), values[1:], units or self.units, least)


def _label_set(table: pd.DataFrame, labels: Sequence[str] | None, level: Level) -> list[str]:
    """Return the set in its order: the given labels, or all that occur."""
    found = sorted({label.casefold() for name in table for label in table[name]} - {""})
    given = list(labels or []) if level == "nominal" else [_plain_number(label) for label in labels or []]
    chosen = given or (found if level == "nominal" else sorted(found, key=lambda label: _number(label, level)))
    if given and len({label.casefold() for label in given}) < max(2, len(given)):
        raise SetupError(f"The label set needs two or more different labels, not: {_shown(chosen)}.")
    if len(chosen) > MOST_LABELS and (level == "nominal" or given):
        raise InputError(
            f"There are {len(chosen)} different labels (such as '{chosen[0]}'), and agreement reads at most "
            f"{MOST_LABELS}; for numbers give --level interval, or choose the columns with --columns."
        )
    return chosen


def _number(label: str, level: Level) -> float:
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        fix = "give --labels in their order" if level == "ordinal" else "choose the columns with --columns"
        raise SetupError(f"The label '{label}' is no number, so its place is not known; {fix}.")
    return number


def _shown(labels: Sequence[str]) -> str:
    return ", ".join(labels if len(labels) <= MOST_LABELS else [*labels[:3], "…", labels[-1]])


def _values_of(codes: Integers, values: Floats) -> Floats:
    """Return the numbers of codes; NaN for -1."""
    return np.where(codes >= 0, values[codes], np.nan)


def _numbers(values: Floats) -> Numbers | None:
    given = values[~np.isnan(values)]
    if not given.size:
        return None
    mean, deviation = float(given.mean()), float(given.std())
    return Numbers(n=given.size, mean=mean, deviation=deviation, lowest=float(given.min()), highest=float(given.max()))


def _plain_number(text: str) -> str:
    """Return a number in its shortest form, so that 5.0 is 5; other text as it is.

    >>> _plain_number("5.0"), _plain_number("joy")
    ('5', 'joy')
    """
    try:
        return f"{float(text):.10g}"
    except ValueError:
        return text


def _plain_numbers(column: pd.Series) -> pd.Series:
    return column.map(_plain_number)


def _counts(labels: pd.Series) -> dict[str, int]:
    return {str(label): int(count) for label, count in labels.value_counts().sort_index().items()}
