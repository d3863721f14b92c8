"""Seconds to collect and report many runs: copies of a real small run with other ids, seeds and figures.

    python benchmarks/report.py RUN [--runs 10000]

RUN is the folder of a finished run. Each format is written once, after one collection on its own.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import tempfile
import time
from pathlib import Path

from melt_ser.report import FORMATS, write
from melt_ser.reporting.collect import collect

BACKBONES = ("wav2vec2_tiny", "hubert_tiny", "wavlm_tiny", "data2vec_tiny")


def copy_runs(run: Path, out: Path, number: int) -> None:
    """`number` run folders with everything that a report reads; figures are drawn anew, so that nothing ties."""
    generator = random.Random(0)
    original = (run / "result.json").read_text()
    for copy in range(number):
        result = json.loads(original)
        backbone = BACKBONES[copy % len(BACKBONES)]
        result["run"]["id"] = f"seed{copy // 4}-{copy:012x}"
        result["run"]["seed"] = result["config"]["seed"] = copy // 4 % 5
        result["config"]["backbone"]["name"] = backbone
        result["config"]["trainer"]["learning_rate"] = 1e-3 + 1e-6 * (copy // 20)
        for row in result["evals"]:
            row["ua"] = generator.random()
        folder = out / backbone / result["train"]["corpus"] / result["run"]["id"]
        for name in ("predictions", "folds"):
            if (run / name).is_dir():
                shutil.copytree(run / name, folder / name, ignore=shutil.ignore_patterns("model", "*.safetensors"))
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("metrics.csv", "splits.csv"):
            if (run / name).is_file():
                shutil.copyfile(run / name, folder / name)
        (folder / "result.json").write_text(json.dumps(result, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--runs", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        runs = Path(temporary) / "runs"
        copy_runs(options.run, runs, options.runs)
        begin = time.perf_counter()
        found = collect([runs])
        seconds = time.perf_counter() - begin
        size = sum((run.folder / "result.json").stat().st_size for run in found.runs) / len(found.runs)
        print(f"{len(found.runs)} runs, {size / 1024:.1f} KiB a result: collected in {seconds:.2f} s")
        for form in FORMATS:
            out = Path(temporary) / f"report.{form}"
            begin = time.perf_counter()
            write(found, form, out)
            seconds = time.perf_counter() - begin
            print(f"{form}: {seconds:.2f} s more, {out.stat().st_size / 2**20:.2f} MiB")
    print(f"largest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
