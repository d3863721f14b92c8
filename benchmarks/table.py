"""Time the loading of a verified corpus of a million rows, with its peak memory: a table, then one line of JSON.

    python benchmarks/table.py [--rows 1000000] [--rounds 3]

The corpus is a user's own CSV with nine columns; its rows are segments of 1,000 recordings. It counts as verified (the
script writes its measurements, without decoding). Loading reads and validates the table, looks at every file, joins
the measurements, applies the rules, maps the labels and computes the digest. Each round is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILES = 1000


def make_corpus(folder: Path, rows: int) -> None:
    """Write the table, its (empty) files and the measurements of its segments."""
    import numpy as np
    import pandas as pd

    from melt_ser.corpora.table import make_table
    from melt_ser.corpora.verification import KEY, Measurements, _stamps

    number = np.arange(rows)
    recording, segment = number % FILES, number // FILES
    table = pd.DataFrame(
        {
            "utterance": [f"show{show:04}_turn{turn:06}" for show, turn in zip(recording, segment, strict=True)],
            "audio": [f"audio/show{show:04}.wav" for show in recording],
            "start": segment * 2.5,
            "end": segment * 2.5 + 2.25,
            "split": np.array(["train", "train", "train", "dev", "test"])[recording % 5],
            "speaker": [f"speaker{show // 2}" for show in recording],
            "gender": np.array(["female", "male"])[recording % 2],
            "text": [
                f"what was said in turn {turn} of show {show}" for show, turn in zip(recording, segment, strict=True)
            ],
            "label": np.array(["angry", "happy", "neutral", "sad"])[number % 4],
        }
    )
    (folder / "audio").mkdir()
    for name in table["audio"].unique():
        (folder / name).touch()
    table.to_csv(folder / "table.csv", index=False)
    keys = make_table(table)[["audio", "start", "end"]]
    clips = pd.concat([keys, _stamps(folder, keys["audio"])], axis=1)[list(KEY)]
    hashes = [f"{value:032x}" for value in np.random.default_rng(0).integers(2**62, size=rows)]
    Measurements(folder).add(
        clips.assign(duration=2.25, sample_rate=16_000, peak=0.5, clipped=0.0, content_hash=hashes, found="")
    )


def load(folder: Path) -> None:
    """Load the corpus in this process; its CPU seconds tell a busy machine from a slow program."""
    started = time.perf_counter()
    from melt_ser.config import DatasetConfig
    from melt_ser.corpora.load import load_corpus

    imported, imported_cpu = time.perf_counter(), time.process_time()
    corpus = load_corpus(DatasetConfig(name="table", reader="csv", root=str(folder), table="table.csv", language="en"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    done = time.perf_counter()
    figures = {
        "rows": len(corpus.table),
        "import_seconds": imported - started,
        "load_seconds": done - imported,
        "load_cpu_seconds": time.process_time() - imported_cpu,
        "peak_MiB": peak,
    }
    print(json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        return load(arguments.load)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "corpus"
        folder.mkdir()
        os.environ["MELT_SER_CACHE"] = str(Path(temporary) / "cache")
        make_corpus(folder, arguments.rows)
        command = [sys.executable, __file__, "--load", str(folder)]
        rounds = [json.loads(subprocess.check_output(command)) for _ in range(arguments.rounds)]
    medians = {name: round(statistics.median(found[name] for found in rounds), 3) for name in rounds[0]}
    for name, median in medians.items():
        print(f"{name:<18}{median:12.2f}")
    print(json.dumps(medians))


if __name__ == "__main__":
    main()
