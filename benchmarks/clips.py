"""Make clips of noise with the distribution of MELT's lengths, as wav files and as a corpus.

MELT's 8,818 utterances last 3.67 s in the mean by the times in its two released tables (utterances of 0.1 to 45 s; the
standard deviation is 2.44 s). The lengths here come from a log-normal distribution that begins at 0.2 s, is fitted by
the mean and standard deviation of log(seconds - 0.2), and ends at 20 s. Quantiles of both:

             1 %   5 %  10 %  25 %  50 %  75 %  90 %  95 %   99 %   mean   computed per second, in random batches of
    MELT    1.04  1.25  1.47  2.00  2.96  4.55  6.96  8.47  12.09   3.67   8: 2.13   32: 3.00
    drawn   0.87  1.22  1.48  2.07  3.04  4.53  6.52  8.12  12.33   3.65   8: 2.09   32: 3.00

The last two columns decide how much padding costs: padded seconds for each second of audio.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

SHIFT, LOG_MEAN, LOG_DEVIATION, LONGEST = 0.2, 1.045, 0.623, 20.0  # seconds, log seconds
CLASSES = ("angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")  # MELT's seven
RATE = 16_000
TABLE = "clips.csv"
NOISE_SECONDS = 60


def draw_seconds(count: int, seed: int, lengths: Path | None = None) -> np.ndarray:
    """Return the seconds of `count` clips, (count,): drawn like MELT's, or read from a file, one number a line."""
    generator = np.random.default_rng(seed)
    if lengths is not None:
        known = np.loadtxt(lengths, ndmin=1)
        return generator.choice(known, count, replace=count > len(known))
    return np.minimum(SHIFT + generator.lognormal(LOG_MEAN, LOG_DEVIATION, count), LONGEST)


def make_clips(folder: Path, seconds: np.ndarray, seed: int) -> pd.DataFrame:
    """Write a wav (16 kHz, 16 bit, mono) for each length; return audio (the file name), duration and label of each."""
    generator = np.random.default_rng([seed, 1])
    noise = (3000 * generator.standard_normal(NOISE_SECONDS * RATE)).astype(np.int16)
    samples = np.round(seconds * RATE).astype(int)
    names = [f"clip{number:05}.wav" for number in range(len(seconds))]
    folder.mkdir(parents=True, exist_ok=True)
    for name, length in zip(names, samples, strict=True):
        first = int(generator.integers(len(noise) - length))
        soundfile.write(folder / name, noise[first : first + length], RATE)
    return pd.DataFrame({"audio": names, "duration": samples / RATE, "label": np.resize(CLASSES, len(names))})


def make_corpus(folder: Path, seconds: np.ndarray, scored: np.ndarray, seed: int) -> None:
    """Make clips of these lengths the train part of a corpus (`dataset=csv`); `scored`: lengths of dev and test."""
    table = make_clips(folder, np.concatenate([seconds, scored, scored]), seed)
    table["split"] = ["train"] * len(seconds) + ["dev"] * len(scored) + ["test"] * len(scored)
    table.to_csv(folder / TABLE, index=False)
