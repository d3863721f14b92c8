"""Check an annotator's descriptions of voices: described loudness and pitch against eGeMAPS features of the audio.

As in the MELT paper, the measured values are binned: the bottom 30 % of all values are low, the middle 40 % mid, the
top 30 % high. UAR scores the described words with the bins as reference; chance is a third. Within speakers, each
speaker's own values are binned: then "high" means high for this speaker.
Sources: Jing et al., Interspeech 2025; Eyben et al. 2016, "The Geneva Minimalistic Acoustic Parameter Set".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from melt_ser.annotation.fields import LEVELS
from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.decode import read_audio
from melt_ser.audio.egemaps import make_smile
from melt_ser.audio.sound import Waveform
from melt_ser.core.console import progress
from melt_ser.core.errors import InputError, did_you_mean
from melt_ser.corpora.table import Skipped
from melt_ser.evaluation.metrics import Floats, confusion_matrix, percent, recall, unweighted_accuracy
from melt_ser.evaluation.statistics import bootstrap_intervals
from melt_ser.reporting.small_report import Section, percent_with_interval

SCHEMA_VERSION = 1
BOTTOM, TOP = 0.3, 0.7  # quantiles of the measured values that separate the bins
FEWEST = 10  # measured utterances of a speaker (or another group) whose values are binned
FEATURES = {"loudness": "loudness_sma3_amean", "pitch": "F0semitoneFrom27.5Hz_sma3nz_amean"}  # described: measured
WORDS = {
    **dict.fromkeys(("low", "soft", "quiet"), "low"),
    **dict.fromkeys(("mid", "medium", "moderate"), "mid"),
    **dict.fromkeys(("high", "loud"), "high"),
}
Measure = Callable[[Waveform], dict[str, float]]


class FeatureCheck(msgspec.Struct, frozen=True):
    """The descriptions of one feature against its measurements; shares in 0..1."""

    described: str  # column of the labels file
    measured: str  # eGeMAPS feature
    n: int  # utterances with both
    bounds: list[float]  # the upper bounds of low and mid, in the feature's unit; within groups: none
    confusion: list[list[int]]  # utterances; rows are measured levels, columns described ones, in the order of LEVELS
    recall: list[float | None]  # of each measured level; None if no value is in it
    ua: float  # the mean recall over the levels that are measured
    chance: float  # of `ua`: one over the number of these levels
    ua_ci95: list[float] | None
    interval_note: str  # why there is no interval, or what limits it; "" for neither
    ci_unit: str  # the resampled unit: speaker or utterance
    left_out: dict[str, int]  # utterances, by reason


class AcousticCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The checks of all described features."""

    schema_version: int = SCHEMA_VERSION
    n: int  # rows of the labels file
    left_out: Mapping[str, int]  # rows that only one of two files has, by reason
    within: str | None = None  # the column in whose groups the values are binned; None: all values together
    checks: list[FeatureCheck]


def egemaps() -> Measure:
    """Return a function that measures FEATURES in samples at 16 kHz. Raises SetupError without opensmile.

    Pitch is NaN if the samples have no voice.
    """
    smile = make_smile("Measuring loudness and pitch")

    def measure(waveform: Waveform) -> dict[str, float]:
        row = smile.process_signal(waveform, SAMPLE_RATE).iloc[0]
        values = {name: float(row[feature]) for name, feature in FEATURES.items()}
        return values | {"pitch": values["pitch"] or np.nan}  # openSMILE's mean is 0 without voiced frames

    return measure


def measure_all(table: pd.DataFrame, root: Path, measure: Measure) -> tuple[pd.DataFrame, list[Skipped]]:
    """Measure FEATURES of each row's audio; return a table with the same index, and the rows that have no measurement.

    `audio` is a path below `root`; `start` and `end`, in seconds, cut it. A row without measurement has NaN.
    """
    skipped: list[Skipped] = []
    rows = [_measured(row, root, measure, skipped) for row in _records(table)]
    return pd.DataFrame(rows, table.index, columns=list(FEATURES), dtype="float64"), skipped


def _records(table: pd.DataFrame) -> Iterator[dict[str, str]]:
    for row in progress(table.to_dict("records"), len(table), "measuring audio"):
        yield {str(name): value for name, value in row.items()}


def _measured(row: dict[str, str], root: Path, measure: Measure, skipped: list[Skipped]) -> dict[str, float]:
    path = root / row["audio"]
    try:
        start, end = (float(row[name]) if row.get(name) else None for name in ("start", "end"))
        return measure(read_audio(path, start, end))
    except ValueError:
        reason = f"{path}: start and end are not times in seconds."
    except InputError as error:
        reason = str(error)
    skipped.append(Skipped("", row["audio"], reason))
    return {}


def acoustic_check(
    table: pd.DataFrame,
    measured: pd.DataFrame,
    left_out: Mapping[str, int],
    seed: int = 0,
    within: str | None = None,
) -> AcousticCheck:
    """Return the check of each feature that the table describes.

    `measured` has FEATURES for the rows of the table, `within` is a column such as the speaker. Described words outside
    WORDS are counted and left out. Raises InputError if no feature is described, the column is missing, or too few
    utterances have both a description and a measurement.
    """
    if within is not None and within not in table:
        raise InputError(f"The labels have no column '{within}' (--within); {did_you_mean(within, table.columns)}")
    described = [name for name in FEATURES if name in table]
    if not described:
        raise InputError(f"The labels describe neither {' nor '.join(FEATURES)}; give a file that `annotate` wrote.")
    checks = [_check(name, table, measured[name].to_numpy(dtype=np.float64), seed, within) for name in described]
    return AcousticCheck(n=len(table), left_out=left_out, checks=checks, within=within)


def _check(name: str, table: pd.DataFrame, values: Floats, seed: int, within: str | None) -> FeatureCheck:
    words = table[name].str.casefold()
    level = words.map(WORDS)
    groups = None if within is None else table[within]
    levels, alone = _levels(values, groups)
    binned = levels.set_axis(table.index)
    usable = (level.notna() & binned.notna()).to_numpy()
    if usable.sum() < len(LEVELS):
        raise InputError(
            f"Only {int(usable.sum())} utterances have a described and a measured {name}; "
            f"describe it as {', '.join(LEVELS)}, and check --root."
        )
    reference, prediction = binned[usable].tolist(), level[usable].tolist()
    speakers = table["speaker"][usable] if "speaker" in table else None
    confusion = confusion_matrix(reference, prediction, LEVELS)
    intervals = bootstrap_intervals(reference, prediction, LEVELS, speakers, seed=seed)
    unknown = words[level.isna() & (words != "")].value_counts()
    alone_reason = f"a {within} that is not known or has fewer than {FEWEST} measured utterances"
    return FeatureCheck(
        described=name,
        measured=FEATURES[name],
        n=int(usable.sum()),
        bounds=np.nanquantile(values, [BOTTOM, TOP]).tolist() if groups is None else [],
        confusion=confusion.tolist(),
        recall=[None if np.isnan(value) else value for value in recall(confusion).tolist()],
        ua=float(unweighted_accuracy(confusion)),
        chance=1 / len(set(reference)),
        ua_ci95=intervals.of["ua"],
        interval_note=intervals.note,
        ci_unit=intervals.unit,
        left_out={
            "not described": int((words == "").sum()),
            **{f"described as '{word}'": int(count) for word, count in unknown.items()},
            "not measured": int(np.isnan(values).sum()),
            **({alone_reason: alone} if alone else {}),
        },
    )


def _levels(values: Floats, groups: pd.Series | None) -> tuple[pd.Series, int]:
    """Return the level of each value, and how many values have none because their group is small or not known.

    values: (utterances,), NaN if not measured; groups: the group of each; None: all values together.
    """
    table = pd.DataFrame({"value": values, "group": "all" if groups is None else groups.to_numpy()})
    table["level"] = pd.Series(None, table.index, dtype=object)
    alone = 0
    for group, rows in table.dropna(subset="value").groupby("group")["value"]:
        if groups is not None and (group == "" or len(rows) < FEWEST):
            alone += len(rows)
            continue
        bins = np.digitize(rows, np.quantile(rows, [BOTTOM, TOP]), right=True)
        table.loc[rows.index, "level"] = [LEVELS[at] for at in bins]
    return table["level"], alone


def sections(result: AcousticCheck) -> list[Section]:
    """Return the result as sections of text."""
    summary = Section(
        "Described and measured voice",
        list(_sentences(result)),
        ("described", "n", "UAR %", "chance", *(f"recall of {level} %" for level in LEVELS)),
        [_summary_row(check) for check in result.checks],
    )
    return [summary, *(_confusion(check, result.within) for check in result.checks)]


def _summary_row(check: FeatureCheck) -> list[str]:
    recalls = ["–" if value is None else percent(value) for value in check.recall]
    shown = percent_with_interval(msgspec.structs.asdict(check), "ua")
    return [check.described, f"{check.n:,}", shown, percent(check.chance), *recalls]


def _sentences(result: AcousticCheck) -> Iterator[str]:
    of = "the measured values" if result.within is None else f"the measured values of each {result.within}"
    yield (
        f"The bottom 30 % of {of} are low, the next 40 % mid, the top 30 % high; UAR is that of the described words; "
        f"95 % intervals by bootstrap over {result.checks[0].ci_unit}s."
    )
    for check in result.checks:
        lacking = [level for level, value in zip(LEVELS, check.recall, strict=True) if value is None]
        if lacking:
            yield (
                f"No described {check.described} is measured as {' or '.join(lacking)}: its UAR is over "
                f"{len(LEVELS) - len(lacking)} of {len(LEVELS)} levels, and chance is {percent(check.chance)} %."
            )
        if check.interval_note:
            yield f"{check.described}: {check.interval_note}"
    for reason, count in result.left_out.items():
        yield f"Left out: {count} ({reason})."
    for check in result.checks:
        for reason, count in check.left_out.items():
            if count:
                yield f"Left out of {check.described}: {count} ({reason})."


def _confusion(check: FeatureCheck, within: str | None) -> Section:
    if check.bounds:
        low, high = check.bounds
        told = f"{check.measured} up to {low:.3g} is low, above {high:.3g} high."
    else:
        told = f"{check.measured} is binned within each {within}."
    return Section(
        f"{check.described}: utterances",
        [told],
        ("measured \\ described", *LEVELS),
        [[level, *map(str, row)] for level, row in zip(LEVELS, check.confusion, strict=True)],
    )
