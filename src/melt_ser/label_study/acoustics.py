"""Does a voice sound as the text's annotator described it? Described loudness and pitch against eGeMAPS of the audio.

As in the MELT paper, measured values are binned: of all that are measured the bottom 30 % are low, the middle 40 % mid,
the top 30 % high. UAR is that of the described words, with the bins as reference; chance is a third.
Sources: Jing et al., Interspeech 2025; Eyben et al. 2016, "The Geneva Minimalistic Acoustic Parameter Set".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.decode import Waveform, read_audio
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.table import Skipped
from melt_ser.evaluation.metrics import Floats, confusion_matrix, recall, unweighted_accuracy
from melt_ser.evaluation.statistics import bootstrap_intervals

SCHEMA_VERSION = 1
LEVELS = ("low", "mid", "high")
BOTTOM, TOP = 0.3, 0.7  # shares of the utterances at which the bins part
FEATURES = {"loudness": "loudness_sma3_amean", "pitch": "F0semitoneFrom27.5Hz_sma3nz_amean"}  # described: measured
WORDS = {
    **dict.fromkeys(("low", "soft", "quiet"), "low"),
    **dict.fromkeys(("mid", "medium", "moderate"), "mid"),
    **dict.fromkeys(("high", "loud"), "high"),
}
Measure = Callable[[Waveform], dict[str, float]]


def egemaps() -> Measure:
    """What measures FEATURES in samples at 16 kHz (pitch: NaN where no voice is); SetupError without opensmile."""
    try:
        import opensmile
    except ImportError:
        raise SetupError("Measuring loudness and pitch needs opensmile: pip install 'melt-ser[acoustics]'.") from None
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)

    def measure(waveform: Waveform) -> dict[str, float]:
        row = smile.process_signal(waveform, SAMPLE_RATE).iloc[0]
        values = {name: float(row[feature]) for name, feature in FEATURES.items()}
        return values | {"pitch": values["pitch"] or np.nan}  # its mean over voiced frames is 0 where there are none

    return measure


def measure_all(table: pd.DataFrame, root: Path, measure: Measure) -> tuple[pd.DataFrame, list[Skipped]]:
    """The measured FEATURES of the table's audio (`audio` below `root`, `start` and `end` in seconds), and failures."""
    problems: list[Skipped] = []
    rows = [_measured(row, root, measure, problems) for row in _records(table)]
    return pd.DataFrame(rows, table.index, columns=list(FEATURES), dtype="float64"), problems


def _records(table: pd.DataFrame) -> Iterator[dict[str, str]]:
    from melt_ser.core.console import progress

    for row in progress(table.to_dict("records"), len(table), "measuring audio"):
        yield {str(name): value for name, value in row.items()}


def _measured(row: dict[str, str], root: Path, measure: Measure, problems: list[Skipped]) -> dict[str, float]:
    path = root / row["audio"]
    try:
        start, end = (float(row[name]) if row.get(name) else None for name in ("start", "end"))
        return measure(read_audio(path, start, end))
    except ValueError:
        reason = f"{path}: start and end are no times in seconds."
    except InputError as error:
        reason = str(error)
    problems.append(Skipped("", row["audio"], reason))
    return {}


def acoustic_check(table: pd.DataFrame, measured: pd.DataFrame, seed: int = 0) -> list[dict[str, Any]]:
    """For each feature that the table describes: n, bins, confusion, recall, UAR with its interval, what is left out.

    `measured` has FEATURES for the rows of the table. A described word that is none of WORDS is counted and left out.
    """
    described = [name for name in FEATURES if name in table]
    if not described:
        raise InputError(f"The labels describe neither {' nor '.join(FEATURES)}; give a file that `annotate` wrote.")
    return [_check(name, table, measured[name].to_numpy(dtype=np.float64), seed) for name in described]


def _check(name: str, table: pd.DataFrame, values: Floats, seed: int) -> dict[str, Any]:
    words = table[name].str.casefold()
    level = words.map(WORDS)
    usable = (level.notna() & ~np.isnan(values)).to_numpy()
    if usable.sum() < len(LEVELS):
        raise InputError(
            f"There are {int(usable.sum())} utterances with a described and a measured {name}; "
            f"describe it as {', '.join(LEVELS)}, and check --root."
        )
    bounds = np.nanquantile(values, [BOTTOM, TOP])
    reference = [LEVELS[at] for at in np.digitize(values[usable], bounds, right=True)]
    prediction = level[usable].tolist()
    speakers = table["speaker"][usable] if "speaker" in table else None
    confusion = confusion_matrix(reference, prediction, LEVELS)
    intervals = bootstrap_intervals(reference, prediction, LEVELS, speakers, seed=seed)
    unknown = words[level.isna() & (words != "")].value_counts()
    return {
        "described": name,
        "measured": FEATURES[name],
        "n": int(usable.sum()),
        "bounds": bounds.tolist(),
        "confusion": confusion.tolist(),
        "recall": [None if np.isnan(value) else value for value in recall(confusion).tolist()],
        "ua": float(unweighted_accuracy(confusion)),
        "ua_ci95": intervals.of["ua"],
        "ci_unit": intervals.unit,
        "left_out": {
            "not described": int((words == "").sum()),
            **{f"described as '{word}'": int(count) for word, count in unknown.items()},
            "not measured": int(np.isnan(values).sum()),
        },
    }
