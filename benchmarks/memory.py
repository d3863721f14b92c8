"""Measure if memory grows with the corpus or the recording: two tables.

    python benchmarks/memory.py training [--rows 1000 1000000] [--workers 0 4]
    python benchmarks/memory.py predict [--minutes 10 600]

training: 20 steps of hubert_tiny_random from a synthetic table of the given rows, which name the same 16 clips.
`table` is the memory of the table and its arrays, `training` the largest increase during training, `workers` the
unshared memory of all decoding processes together. predict: a new process labels a synthetic recording of the given
minutes, whole, by windows of 10 s, by turns of 7 s and by voice activity (noise has none, so that the detector alone
works), with a model smaller than tiny; `peak` is the peak memory of that process.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

RATE = 16_000
CLASSES = ["angry", "happy", "neutral", "sad"]
STEPS = 20
SMALL = [
    "backbone=hubert_tiny_random",
    "+backbone.architecture.num_hidden_layers=1",
    "+backbone.architecture.conv_dim=[8,8,8,8,8,8,8]",
]


def status(name: str, process: int | str = "self") -> float:
    """Return a line of /proc/<process>/status, such as VmRSS, in MiB."""
    line = next(line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def own_memory_of_children() -> float:
    """Return the memory that child processes do not share with others, in MiB."""
    children = Path("/proc/self/task").glob("*/children")
    total = 0
    for child in itertools.chain.from_iterable(path.read_text().split() for path in children):
        lines = Path(f"/proc/{child}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Private"))
    return total / 1024


def train(rows: int, workers: int, folder: Path) -> dict[str, float]:
    """Train some steps from a table with this number of rows."""
    import torch

    from melt_ser.audio.augment import Crop
    from melt_ser.cli.compose import load_config
    from melt_ser.data.batches import ShuffledBatches
    from melt_ser.data.datasets import WaveformDataset
    from melt_ser.data.stage import Stage
    from melt_ser.runs.fold import build_model
    from melt_ser.training import fit
    from melt_ser.training.device import make_accelerator

    worker_memory = [0.0]

    class FewBatches(ShuffledBatches):
        def steps(self, epoch: int) -> Iterator[list[list[int]]]:
            for step in itertools.islice(super().steps(epoch), STEPS):
                worker_memory.append(own_memory_of_children())
                yield step

    fit.ShuffledBatches = FewBatches  # type: ignore[misc]
    for number in range(16):
        noise = 0.1 * np.random.default_rng(number).standard_normal(2 * RATE)
        soundfile.write(folder / f"clip{number:02}.wav", noise, RATE)
    settings = ("backbone=hubert_tiny_random", "device=cpu", "head=linear", "augment=nothing", "trainer.batch_size=8")
    config = load_config(*settings, "trainer.epochs=1", f"trainer.workers={workers}")
    model = build_model(config, CLASSES)
    model(torch.zeros(8, 2 * RATE), torch.full((8,), 2 * RATE)).sum().backward()  # memory of any training
    before = status("VmRSS")
    numbers = np.arange(rows)
    table = pd.DataFrame({"audio": pd.Series(numbers % 16).map(lambda number: f"clip{number:02}.wav").astype("str")})
    table["utterance"] = ("utterance" + pd.Series(numbers).astype("str")).astype("str")
    table = table.assign(start=np.nan, end=np.nan, duration=2.0)
    table["class"] = pd.Series(np.array(CLASSES)[numbers % 4], dtype="str")
    data = WaveformDataset(table, folder, CLASSES, True, crop=Crop(15.0))
    data.keeps_decoded = False
    dev = WaveformDataset(table.head(8), folder, CLASSES, True)
    loaded = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    fit.fit(config.trainer, model, Stage.nothing, data, dev, 0, folder, make_accelerator("cpu"))
    return {
        "rows": rows,
        "workers": workers,
        "table MiB": loaded - before,
        "training MiB": status("VmHWM") - loaded,
        "workers MiB": max(worker_memory),
    }


def write_recording(path: Path, minutes: int) -> None:
    minute = np.random.default_rng(0).integers(-8, 9, 60 * RATE, dtype=np.int16)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(minutes):
            file.write(minute)
    turns = [f"{second},{second + 7}\n" for second in range(0, 60 * minutes - 10, 10)]
    path.with_suffix(".csv").write_text("".join(["start,end\n", *turns]))


def predict(minutes: int, folder: Path, *more: str) -> dict[str, float | str]:
    """Label a recording in a process of its own."""
    command = [sys.executable, "-m", "melt_ser.predict", str(folder / "model"), str(folder / f"{minutes}.flac")]
    started = time.perf_counter()
    with subprocess.Popen([*command, *more, "--format", "json", "--device", "cpu"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        rows = json.loads(process.stdout.read())
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
    found = {"minutes": minutes, "asked": " ".join(more), "rows": len(rows), "peak MiB": usage.ru_maxrss / 1024}
    return {**found, "seconds": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("training", "predict", "once"))
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 4])
    parser.add_argument("--minutes", type=int, nargs="+", default=[10, 600])
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.what == "once":
            print(json.dumps(train(options.rows[0], options.workers[0], folder)))
            return
        if options.what == "training":  # each in a process of its own, since freed memory stays with one
            for rows, workers in itertools.product(options.rows, options.workers):
                once = [sys.executable, __file__, "once", "--rows", str(rows), "--workers", str(workers)]
                done = subprocess.run(once, capture_output=True, text=True)
                assert done.returncode == 0, done.stderr
                found.append(json.loads(done.stdout.splitlines()[-1]))
        else:
            from melt_ser.cli.compose import load_config
            from melt_ser.models.export import save_model
            from melt_ser.runs.fold import build_model

            save_model(build_model(load_config(*SMALL), CLASSES), folder / "model")
            for minutes in options.minutes:
                write_recording(folder / f"{minutes}.flac", minutes)
                turns = ("--turns", str(folder / f"{minutes}.csv"))
                for more in ((), ("--window", "10"), turns, ("--voice-activity",)):
                    found.append(predict(minutes, folder, *more))
    print(pd.DataFrame(found).round(1).to_string(index=False))


if __name__ == "__main__":
    main()
