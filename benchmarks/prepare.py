"""Compare the time of `prepare` with bare decoding of the same files: a table, then one line of JSON.

    python benchmarks/prepare.py [--files 13708] [--rounds 3] [--folder DIR]

Half of the clips are wav, half flac: 1 to 3 seconds of noise at 16 kHz, 16 bit. Bare decoding reads each file whole
with soundfile in as many threads as `prepare` uses. Preparing reads the table, decodes, measures, hashes, stores the
outcome, applies the rules and writes the report; `again` is the same with everything verified. Rounds alternate.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from melt_ser.config import DatasetConfig, LabelsConfig
from melt_ser.core.package import CACHE_VARIABLE
from melt_ser.corpora.load import load_corpus
from melt_ser.reporting.preparation import summarise, write_report

RATE = 16_000


def make_clips(folder: Path, files: int) -> list[str]:
    """Write clips of noise and their table; return their names."""
    generator = np.random.default_rng(0)
    noise = (3000 * generator.standard_normal(20 * RATE)).astype(np.int16)
    names = [f"clip{number:06}.{'flac' if number % 2 else 'wav'}" for number in range(files)]
    for name in names:
        first = int(generator.integers(len(noise) - 3 * RATE))
        soundfile.write(folder / name, noise[first : first + int(generator.uniform(1, 3) * RATE)], RATE)
    rows = "".join(f"{name},{('happy', 'sad')[number % 2]}\n" for number, name in enumerate(names))
    (folder / "table.csv").write_text(f"audio,label\n{rows}")
    return names


def seconds(task: Callable[[], object]) -> float:
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=13_708)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="for the clips (about 55 kB each); a temporary one otherwise")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        os.environ[CACHE_VARIABLE] = str(folder / "cache")
        names = make_clips(folder, arguments.files)
        config = DatasetConfig(name="clips", reader="csv", root=str(folder), table="table.csv", language="en")

        def bare() -> None:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(lambda name: len(soundfile.read(folder / name, dtype="float32")[0]), names))

        def prepare(force: bool) -> None:
            corpus = load_corpus(config, force=force)
            write_report(corpus, summarise(corpus, LabelsConfig()))

        bare()  # reads the files into the page cache, so that no round waits for the disk
        tasks = {"bare": bare, "prepare": lambda: prepare(True), "again": lambda: prepare(False)}
        times: dict[str, list[float]] = {name: [] for name in tasks}
        for _ in range(arguments.rounds):
            for name, task in tasks.items():
                times[name].append(seconds(task))
    medians = {name: round(statistics.median(found), 3) for name, found in times.items()}
    for name, median in medians.items():
        print(f"{name:<8}{median:8.2f} s {arguments.files / median:8.0f} clips/s")
    ratio = round(medians["prepare"] / medians["bare"], 3)
    print(f"prepare / bare = {ratio}")
    print(json.dumps({"files": arguments.files, "threads": os.cpu_count(), "seconds": medians, "ratio": ratio}))


if __name__ == "__main__":
    main()
