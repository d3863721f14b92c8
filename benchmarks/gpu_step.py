"""Measure fine-tuning on a GPU: clips a second, operations, and the share of the time in which kernels run.

    python benchmarks/gpu_step.py [--families ...] [--size base] [--steps 8 32 240s auto] [--graphs no yes]
        [--batches 60] [--out FILE] [--overrides ...]

A step is a number of clips, or of seconds (`trainer.step_seconds`); `auto` is the most that fits, but at most an eighth
of the clips. Each family has a process of its own, which trains with each step, without and with recorded graphs
(`trainer.cuda_graphs`): two epochs of the same batches, of which the second is on the clock, and once more some steps
under torch's profiler. Features of the frozen convolutions come from the cache, as is the default. Each row is a line
of JSON, printed and appended to FILE as soon as it is known. On a CPU the script only shows that it runs; the columns
of kernels are empty there.

    clips/s      of the second epoch, in which every graph is recorded already
    TFLOP/s      by the formula of flops.py, for the clips' own lengths
    of peak      share of a square matrix product in the same precision on the same device
    in kernels   share of the time in which a kernel runs
    kernels      started by the CPU for each step; a graph counts as one
    first step s the time to the end of the first step, with the recording of its graph
    recording s  the seconds that the first epoch took more than the second
    fits s       of auto: the seconds that were found
    search s     of auto: the time to find them
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from checkpoints import model_config, save_checkpoint
from clips import CLASSES, RATE, draw_seconds, make_corpus
from common import (
    FAMILIES,
    Figures,
    add_model_options,
    add_precision_option,
    make_parser,
    peak_memory,
    print_result,
    resolve_device,
    resolve_precision,
)
from finetune import SCORED, Job, MeltSer
from flops import PRECISIONS, matrix_rate, step_flops
from sampling import EpochSample

AUTO = "auto"
FEWEST_STEPS = 8  # of an epoch with auto
PROFILED = 10  # steps
WARM_UP = 3  # steps
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx", "cudaGraphLaunch")


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def train(system: MeltSer, folder: Path, batches: int, on_step: Callable[[int], None]) -> EpochSample:
    """Train on the same batches in each epoch; call `on_step` with the number of each finished step, from 1."""
    number = 0
    sample = EpochSample(system.seconds, batches, system.job.seed)

    def step(*_: object) -> None:
        nonlocal number
        number += 1
        on_step(number)

    with mock.patch("melt_ser.training.progress.TrainingProgress.step", step):
        system.train(sample, folder)
    return sample


def timed(system: MeltSer, folder: Path, batches: int) -> tuple[Figures, np.ndarray, int]:
    """Return the times of a training; the seconds of the clips on the clock, (clips,); and the number of their steps.

    The steps of the second epoch count, without its first: an epoch begins with the scoring of dev.
    """
    ends = [time.perf_counter()]

    steps = number_of_steps(system, batches)

    def on_step(number: int) -> None:
        if number in (1, steps, steps + 1, 2 * steps):  # both ends of an epoch on the clock, when the GPU has computed
            synchronise(system.job.device)
            ends.append(time.perf_counter())

    sample = train(system, folder, batches, on_step)
    _, first, half, second, last = ends
    clips = [row for rows in sample.chosen[1:] for row in rows]
    times = {
        "seconds": last - second,
        "first step s": round(first - ends[0], 2),
        "recording s": round(max(0.0, (half - first) - (last - second)), 2),
    }
    return times, sample.seconds[clips], steps - 1


def number_of_steps(system: MeltSer, batches: int) -> int:
    """Return the number of steps that `train` takes in an epoch; RuntimeError if there are too few to time."""
    from melt_ser.data.batches import ShuffledBatches

    step_seconds = system.plan.config.trainer.step_seconds
    plan = ShuffledBatches(system.seconds, system.job.batch_size, system.job.seed, step_seconds=step_seconds)
    steps = min(batches, plan.steps_until(1))
    if steps < 2:
        raise RuntimeError("an epoch has one step; raise --clips")
    return steps


def kernel_figures(system: MeltSer, folder: Path, batches: int, step_seconds: float) -> Figures:
    """Return the share of the time in which kernels run, and the kernels that the CPU starts in a step.

    step_seconds: the time of a step without the profiler, which makes the CPU slower, but no kernel.
    """
    from torch.profiler import ProfilerActivity, profile

    device = system.job.device
    on_gpu = device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    steps = number_of_steps(system, batches)
    profiler = profile(activities=activities)

    def on_step(number: int) -> None:
        if number == steps + 1:
            synchronise(device)
            profiler.start()
        elif number == 2 * steps:
            synchronise(device)
            profiler.stop()

    train(system, folder, batches, on_step)
    events = profiler.events()
    kernels = sorted(
        (event.time_range.start, event.time_range.end)
        for event in events
        if event.device_type == torch.autograd.DeviceType.CUDA
    )
    if not kernels:
        return {"in kernels": None, "kernels": None}
    busy, reached = 0.0, kernels[0][0]
    for first, last in kernels:
        busy += max(0.0, last - max(first, reached))
        reached = max(reached, last)
    starts = sum(event.name in LAUNCHES for event in events)
    share = busy / 1e6 / (steps - 1) / step_seconds
    return {"in kernels": round(min(share, 1.0), 3), "kernels": round(starts / (steps - 1))}


def most_seconds(system: MeltSer) -> Figures:
    """Find the seconds of `trainer.step_seconds=auto`, and the time that this takes."""
    from melt_ser.runs.fold import build_model
    from melt_ser.runs.fold_inputs import FoldInputs
    from melt_ser.training import largest_step
    from melt_ser.training.device import make_accelerator

    plan = system.plan
    config, split = plan.config, plan.splits[0]
    accelerator = make_accelerator(config.device, config.trainer.precision)
    model = build_model(config, plan.classes).to(accelerator.device)
    inputs = FoldInputs(plan, split, model, accelerator)
    train_part = inputs.train()
    started = time.perf_counter()
    limit = 1e-3 if system.job.device == "cuda" else FEWEST_STEPS  # a CPU has no end
    with mock.patch.object(largest_step, "FEWEST_STEPS", limit):
        found = largest_step.largest_step_seconds(config.trainer, model, inputs.stage, train_part, accelerator)
    return {"fits s": found, "search s": round(time.perf_counter() - started, 2)}


def with_step(job: Job, step: str) -> tuple[Job, Figures]:
    """Return the job with a step, and the findings for it."""
    if step.isdigit():
        return dataclasses.replace(job, batch_size=int(step)), {}
    found: Figures = {}
    if step == AUTO:
        system = MeltSer(job)
        found = most_seconds(system)
        seconds = int(min(found["fits s"], system.seconds.sum() / FEWEST_STEPS))
    else:
        seconds = int(step.removesuffix("s"))
    return dataclasses.replace(job, overrides=[*job.overrides, f"trainer.step_seconds={seconds}"]), found


def measure(job: Job, folder: Path, batches: int, peak: float) -> Figures:
    """Return the figures of one training; peak: operations a second of the matrix product."""
    system = MeltSer(dataclasses.replace(job, overrides=[*job.overrides, "trainer.epochs=2"]))
    train(system, folder / "warm-up", WARM_UP, lambda _: None)  # fills the cache
    if job.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    times, clips, steps = timed(system, folder / "timed", batches)
    seconds = times.pop("seconds")
    config = model_config(job.family, Path(job.checkpoint).name.rpartition("_")[2])
    samples = np.round(clips * RATE).astype(int)
    operations = sum(step_flops(config, int(each), len(CLASSES), kept=True) for each in samples)
    return {
        "clips/s": round(len(samples) / seconds, 1),
        "clips a step": round(len(samples) / steps, 1),
        "TFLOP/s": round(operations / seconds / 1e12, 3),
        "of peak": round(operations / seconds / peak, 4),
        "peak MiB": round(peak_memory(job.device)),
        **times,
        **kernel_figures(system, folder / "profiled", min(batches, PROFILED), seconds / steps),
    }


def measure_all(jobs: list[tuple[Job, str, str]], batches: int, out: Path | None) -> None:
    """Measure jobs, each with a step and with or without graphs; print each row, and append it to a file."""
    first = jobs[0][0]
    peak = matrix_rate(first.device, PRECISIONS[first.precision])
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["MELT_SER_CACHE"] = f"{temporary}/cache"
        for number, (job, step, graphs) in enumerate(jobs):
            size = Path(job.checkpoint).name.rpartition("_")[2]
            row: Figures = {"family": job.family, "size": size, "step": step, "graphs": graphs}
            notes: list[str] = []  # why there are no graphs
            try:
                job = dataclasses.replace(
                    job, overrides=[f"trainer.cuda_graphs={str(graphs == 'yes').lower()}", *job.overrides]
                )
                job, found = with_step(job, step)
                with mock.patch("melt_ser.training.recorded.say", notes.append):
                    row |= measure(job, Path(temporary) / str(number), batches, peak) | found
            except Exception as error:  # the other rows are worth having
                row["error"] = f"{type(error).__name__}: {error}"[:300]
            if notes:
                row["note"] = notes[0]
            line = json.dumps(row)
            print(line, flush=True)
            if out is not None:
                with out.open("a") as file:
                    file.write(line + "\n")


def main() -> None:
    parser = make_parser(__doc__)
    add_model_options(parser, clips=1600, families=(*FAMILIES, "whisper"))
    parser.add_argument("--steps", nargs="+", default=["8", "32", AUTO], help="clips, seconds (240s) or auto")
    parser.add_argument("--graphs", nargs="+", choices=("no", "yes"), default=["no", "yes"])
    add_precision_option(parser)
    parser.add_argument("--batches", type=int, default=60, help="most steps of an epoch (default: 60)")
    parser.add_argument("--out", type=Path, help="append each row to this file as it is known")
    parser.add_argument("--jobs", help="(for the processes)")
    options = parser.parse_args()
    if options.jobs:
        jobs = [(Job(**job), step, graphs) for job, step, graphs in json.loads(options.jobs)]
        return measure_all(jobs, options.batches, options.out)
    device = resolve_device(options.device)
    precision = resolve_precision(options.precision, device)
    rows: list[Any] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_corpus(folder / "clips", draw_seconds(options.clips, options.seed, options.lengths), SCORED, options.seed)
        for family in options.families:
            checkpoint = save_checkpoint(family, options.size, folder / f"{family}_{options.size}", options.seed)
            job = Job("melt_ser", family, str(checkpoint), str(folder / "clips"), 8, device, precision, options.seed)
            job.overrides = options.overrides
            jobs = [(dataclasses.asdict(job), step, graphs) for step in options.steps for graphs in options.graphs]
            command = [sys.executable, __file__, "--jobs", json.dumps(jobs), "--batches", str(options.batches)]
            command += ["--out", str(options.out)] if options.out else []
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            rows += [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            if done.returncode:
                rows.append({"family": family, "size": options.size, "error": f"ended with code {done.returncode}"})
    columns = dict.fromkeys(key for row in rows for key in row)
    table = [{key: row.get(key) for key in columns} for row in rows]
    print_result("gpu_step", device, table, overrides=options.overrides, precision=precision)
    if any("error" in row for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
