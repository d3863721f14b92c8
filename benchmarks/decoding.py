"""How long a clip takes to be decoded at 16 kHz, by format, and to be read from the audio cache: a table.

    python benchmarks/decoding.py [--clips 100] [--rounds 3]

Synthetic clips of 1 to 6 s. Decoded as training does, one after the other on one thread, the files in the page cache;
the best of the rounds. `mp4` is AAC in stereo, as MELD's.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import soundfile
import torch

from melt_ser.audio.decode import read_audio
from melt_ser.config import CacheConfig, DatasetConfig
from melt_ser.corpora.corpus import load_corpus
from melt_ser.corpora.verification import CACHE_VARIABLE
from melt_ser.data.audio_cache import open_audio_cache

FORMATS = [("wav", 16_000), ("wav", 22_050), ("wav", 44_100), ("wav", 48_000), ("flac", 16_000), ("flac", 48_000)]
FORMATS += [("ogg", 16_000), ("mp3", 44_100), ("mp4", 48_000)]


def write_mp4(path: Path, waveform: np.ndarray, rate: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.stack([waveform, waveform]), format="fltp", layout="stereo")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def milliseconds(task: Callable[[Any], object], items: Sequence[Any], rounds: int) -> float:
    """The time of `task` for one of the items, in the best of the rounds."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        for item in items:
            task(item)
        times.append(time.perf_counter() - started)
    return min(times) / len(items) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    seconds = generator.uniform(1, 6, options.clips)
    print(f"{options.clips} clips of {seconds.mean():.1f} s on average; milliseconds a clip")
    for suffix, rate in FORMATS:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            os.environ[CACHE_VARIABLE] = str(folder / "cache")
            for number, length in enumerate(seconds):
                noise = (0.1 * generator.standard_normal(int(length * rate))).astype(np.float32)
                path = folder / f"{number}.{suffix}"
                write_mp4(path, noise, rate) if suffix == "mp4" else soundfile.write(path, noise, rate)
            names = [f"{number}.{suffix}" for number in range(options.clips)]
            rows = pd.DataFrame({"audio": names, "label": ["sad", "happy"] * (options.clips // 2)})
            rows.to_csv(folder / "table.csv", index=False)
            decode = milliseconds(read_audio, [folder / name for name in names], options.rounds)
            line = f"{suffix:<5} {rate:>6} Hz   decoded {decode:7.2f}"
            corpus = load_corpus(DatasetConfig(name="clips", reader="csv", root=str(folder), table="table.csv"))
            cache = open_audio_cache(corpus, CacheConfig())
            if cache is None:
                print(f"{line}   not cached", flush=True)
                continue
            clips = cache.numbers(corpus.table)
            for name, clip in zip(corpus.table["audio"], clips, strict=True):
                cache.write(clip, read_audio(folder / name))
            read = milliseconds(cache.read, clips, options.rounds)
            print(f"{line}   from the cache {read:5.2f}", flush=True)


if __name__ == "__main__":
    main()
