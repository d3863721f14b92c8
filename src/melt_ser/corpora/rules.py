"""Refuse unusable clips: one versioned list of rules over the measurements of verification.

The version and the limits go into every result and every preparation report. Rules judge measurements, so a changed
limit needs no second decoding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from melt_ser.config import DatasetConfig

RULES_VERSION = 4  # raise it when a rule or the way of measuring changes; clips are then measured again
SILENCE = 1e-4  # of full scale, about -80 dBFS: any noise would hide it
CLIPPED = 1e-3  # share of samples at full scale from which a clip is listed; it stays in use
DESTROYED = 0.2  # share from which most of the loud half of the signal is cut off; the clip is refused


def rules(config: DatasetConfig) -> dict[str, Any]:
    """Return the rules in the order in which they are tried, as a result and a report state them."""
    return {
        "version": RULES_VERSION,
        "outside the root": "the path or its link leaves the corpus folder",
        "unreadable": "missing, empty, cut off, not decodable, or with NaN or infinite samples",
        "silent": f"no sample above {SILENCE:g} of full scale",
        "clipped": f"at least {100 * DESTROYED:g} % of the samples at full scale",
        "too short": f"under {config.minimum_seconds:g} s (dataset.minimum_seconds)",
        "too long": f"over {config.maximum_seconds:g} s (dataset.maximum_seconds)",
    }


def judge(clips: pd.DataFrame, config: DatasetConfig) -> pd.Series:
    """Return the reason why each clip is refused, or None; the word before the colon names the rule.

    `clips` has the measures of verification, and in `reason` why decoding failed (None: it did not).
    """
    duration, peak, clipped = (clips[column].to_numpy() for column in ("duration", "peak", "clipped"))
    free = clips["reason"].isna().to_numpy()
    reasons = clips["reason"].astype(object).where(~free, None).tolist()
    for refused, sentence in (
        (peak < SILENCE, "silent: no sample above -80 dBFS"),
        (clipped >= DESTROYED, "clipped: {percent:.0f} % of the samples are at full scale"),
        (duration < config.minimum_seconds, "too short: {seconds:.3f} s is under dataset.minimum_seconds={minimum}"),
        (duration > config.maximum_seconds, "too long: {seconds:.1f} s is over dataset.maximum_seconds={maximum}"),
    ):
        for row in np.flatnonzero(refused & free):
            reasons[row] = sentence.format(
                seconds=duration[row],
                percent=100 * clipped[row],
                minimum=config.minimum_seconds,
                maximum=config.maximum_seconds,
            )
        free = free & ~refused
    return pd.Series(reasons, index=clips.index, dtype=object)


def is_clipped(clips: pd.DataFrame) -> pd.Series:
    """Return, for each clip, whether enough samples are at full scale to list it."""
    listed: pd.Series = clips["clipped"] >= CLIPPED
    return listed
