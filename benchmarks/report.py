"""Time the collection and the report of many runs: copies of a small real run with other ids, seeds and figures.

    python benchmarks/report.py RUN FOLDER [--runs 10000]

RUN is the folder of a finished run. The copies are made in FOLDER and stay there for the next time. One collection is
timed, then each format, written once from the collected runs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from melt_ser.report import FORMATS, write
from melt_ser.reporting.collect import collect

BACKBONES = ("wav2vec2_tiny_random", "hubert_tiny_random", "wavlm_tiny_random", "data2vec_tiny_random")


def copy_runs(run: Path, out: Path, number: int) -> None:
    """Make `number` run folders with everything that a report reads; figures are random, so that no two are equal."""
    generator = random.Random(0)
    files = out / ".files"  # the files of all copies; each copy has links to them
    shutil.copytree(run, files, ignore=shutil.ignore_patterns("model", "figures", "result.json"))
    original = (run / "result.json").read_text()
    for copy in range(number):
        result = json.loads(original)
        backbone = BACKBONES[copy % len(BACKBONES)]
        result["run"]["id"] = f"seed{copy // 4}-{copy:012x}"
        result["run"]["seed"] = result["config"]["seed"] = copy // 4 % 5
        result["config"]["backbone"]["name"] = backbone
        result["config"]["trainer"]["head_learning_rate"] = 1e-3 + 1e-6 * (copy // 20)
        for row in result["evals"]:
            row["ua"] = generator.random()
        folder = out / backbone / result["train"]["corpus"] / result["run"]["id"]
        shutil.copytree(files, folder, copy_function=os.link)
        (folder / "result.json").write_text(json.dumps(result, indent=2))


@contextmanager
def timed() -> Iterator[Callable[[], str]]:
    """Time a block by the clock and by the processor: other programs took the difference."""
    begin = time.perf_counter(), time.process_time()
    end = begin
    yield lambda: f"{end[0] - begin[0]:.2f} s ({end[1] - begin[1]:.2f} s of the processor)"
    end = time.perf_counter(), time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=10_000)
    options = parser.parse_args()
    runs = options.folder / f"runs-{options.runs}"
    if not runs.is_dir():
        copy_runs(options.run, runs, options.runs)
    with timed() as spent:
        found = collect([runs])
    size = sum((run.folder / "result.json").stat().st_size for run in found.runs) / len(found.runs)
    print(f"{len(found.runs)} runs, {size / 1024:.1f} KiB a result: collected in {spent()}", flush=True)
    for form in FORMATS:
        out = options.folder / f"report.{form}"
        with timed() as spent:
            write(found, form, out)
        print(f"{form}: {spent()} more, {out.stat().st_size / 2**20:.2f} MiB", flush=True)
    print(f"largest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
