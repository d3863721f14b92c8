"""Measure fine-tuning on a GPU: clips a second, operations, and the share of the time in which kernels run.

    python benchmarks/gpu_step.py [--families ...] [--size base] [--batch-sizes 8 32] [--batches 150] [--out FILE]
        [--overrides ...]

Each family and batch size is trained with and without recorded graphs (`trainer.cuda_graphs`), in a process of its own:
once by the clock and once under torch's profiler. Features of the frozen convolutions come from the cache, as is the
default. Each row is appended to FILE as a line of JSON. On a CPU the script only shows that it runs;
the columns of kernels are empty there.

    clips/s      of the steps after the first, which records graphs
    TFLOP/s      by the formula of flops.py, for the clips' own lengths
    of peak      share of a square matrix product in the same precision on the same device
    in kernels   share of the time in which a kernel runs
    kernels      started by the CPU for each step; a graph counts as one
    first step s the time to the end of the first step, with the recording of its graph
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from checkpoints import model_config, save_checkpoint
from clips import CLASSES, RATE, draw_seconds, make_corpus
from common import (
    Figures,
    add_model_options,
    add_precision_option,
    make_parser,
    peak_memory,
    print_result,
    resolve_device,
    resolve_precision,
    run_process,
)
from finetune import SCORED, Job, MeltSer
from flops import PRECISIONS, matrix_rate, step_flops
from sampling import EpochSample

GRAPHS = {False: "no", True: "yes"}
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx", "cudaGraphLaunch")


def timed_steps(job: Job, folder: Path, batches: int) -> tuple[list[float], Any]:
    """Train some batches of an epoch; return the seconds to the end of each step, and the sample of the epoch."""
    system = MeltSer(job)
    sample = EpochSample(system.seconds, batches, job.seed)
    times = [0.0]

    def step(*_: object) -> None:
        times.append(time.perf_counter())

    with mock.patch("melt_ser.training.progress.TrainingProgress.step", step):
        started = time.perf_counter() - system.train(sample, folder)
    if job.device == "cuda":
        torch.cuda.synchronize()
    times[-1] = max(times[-1], started)
    return times[1:], sample


def kernel_share(job: Job, folder: Path, batches: int) -> Figures:
    """Return the share of the profiled time in which kernels run, and the kernels that the CPU starts in a step."""
    if job.device != "cuda":
        return {"in kernels": None, "kernels": None}
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        timed_steps(job, folder, batches)
    events = profiler.events()
    kernels = sorted(
        (event.time_range.start, event.time_range.end)
        for event in events
        if event.device_type == torch.autograd.DeviceType.CUDA
    )
    begin, end = kernels[len(kernels) // 4][0], kernels[-1][1]  # without the start, which records graphs
    busy, reached = 0.0, begin
    for first, last in kernels:
        busy += max(0.0, last - max(first, reached))
        reached = max(reached, last)
    starts = sum(event.name in LAUNCHES for event in events)
    return {"in kernels": round(busy / (end - begin), 3), "kernels": round(starts / batches)}


def measure(job: Job, batches: int) -> Figures:
    """Return the figures of one training in this process."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["MELT_SER_CACHE"] = str(folder / "cache")
        timed_steps(job, folder / "warm-up", batches)  # fills the cache
        started = time.perf_counter()
        ends, sample = timed_steps(job, folder / "timed", batches)
        seconds = ends[-1] - ends[0]
        samples = np.round(sample.chosen_seconds * RATE).astype(int)[job.batch_size :]  # without the first step
        config = model_config(job.family, Path(job.checkpoint).name.rpartition("_")[2])
        operations = sum(step_flops(config, int(each), len(CLASSES), kept=True) for each in samples)
        peak = matrix_rate(job.device, PRECISIONS[job.precision])
        return {
            "clips/s": round(len(samples) / seconds, 1),
            "TFLOP/s": round(operations / seconds / 1e12, 3),
            "of peak": round(operations / seconds / peak, 4),
            "first step s": round(ends[0] - started, 2),
            "peak MiB": round(peak_memory(job.device)),
            **kernel_share(job, folder / "profiled", min(batches, 40)),
        }


def main() -> None:
    parser = make_parser(__doc__)
    add_model_options(parser, clips=1600)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[8, 32])
    add_precision_option(parser)
    parser.add_argument("--batches", type=int, default=150, help="steps of a training (default: 150)")
    parser.add_argument("--out", type=Path, help="append each row to this file as it is known")
    parser.add_argument("--job", help="(for the processes)")
    options = parser.parse_args()
    if options.job:
        return print(json.dumps(measure(Job(**json.loads(options.job)), options.batches)))
    device = resolve_device(options.device)
    precision = resolve_precision(options.precision, device)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_corpus(folder / "clips", draw_seconds(options.clips, options.seed, options.lengths), SCORED, options.seed)
        for family in options.families:
            checkpoint = folder / f"{family}_{options.size}"
            save_checkpoint(family, options.size, checkpoint, options.seed)
            for batch_size in options.batch_sizes:
                job = Job("melt_ser", family, str(checkpoint), str(folder / "clips"), batch_size, device, precision, 0)
                for graphs, name in GRAPHS.items():
                    overrides = [f"trainer.cuda_graphs={str(graphs).lower()}", *options.overrides]
                    chosen = json.dumps(dataclasses.asdict(dataclasses.replace(job, overrides=overrides)))
                    figures = run_process(__file__, "--job", chosen, "--batches", options.batches)
                    row = {"family": family, "size": options.size, "batch": batch_size, "graphs": name} | figures
                    rows.append(row)
                    if options.out:
                        with options.out.open("a") as file:
                            file.write(json.dumps(row) + "\n")
    print_result("gpu_step", device, rows, overrides=options.overrides, precision=precision)


if __name__ == "__main__":
    main()
