"""Compare fine-tuning with a plain transformers.Trainer script: clips a second and peak memory, same model and clips.

    python benchmarks/finetune.py [--families wav2vec2 hubert wavlm data2vec] [--size tiny] [--batch-sizes 8 32]
        [--sample CLIPS | --full] [--epochs 10] [--device auto] [--precision fp32|bf16]
        [--overrides trainer.batch_seconds=24 ...]

Systems: `melt_ser` (as the verb `train`), `trainer` (trainer_script.py), `grouped` (the same with
train_sampling_strategy="group_by_length"). Each runs in a process of its own, rounds alternate. `--sample` computes
that many clips of an epoch and estimates the rest (sampling.py); `--full` times a whole epoch. The work of melt_ser
before the first epoch, such as features of frozen layers, is divided by `--epochs`. A last process for each
system computes its epoch's largest batch alone, for the peak memory. Prints a table and a line of JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from clips import TABLE, draw_seconds, make_corpus
from common import (
    Figures,
    add_model_options,
    add_precision_option,
    alternate,
    make_parser,
    median,
    peak_memory,
    print_result,
    ratios,
    resolve_device,
    resolve_precision,
    run_process,
    spread,
    watched,
)
from sampling import Choice, EpochSample

SYSTEMS = ("melt_ser", "trainer", "grouped")
SCORED = np.array([1.0, 1.0])  # seconds of the clip of dev (its scoring is not timed) and of the clip of test
SAMPLE_ON_CPU = {"tiny": 256, "base": 64, "large": 24}  # clips of an epoch; a GPU computes whole epochs


@dataclasses.dataclass
class Job:
    """The task of one process."""

    system: str
    family: str
    checkpoint: str
    clips: str  # folder of the corpus
    batch_size: int
    device: str
    precision: str  # fp32 or bf16
    seed: int
    batches: int | None = None  # of the epoch; null: all
    largest: bool = False  # only the largest batch, for its memory
    epochs: int = 10  # number of epochs that share the time before the first epoch
    overrides: list[str] = dataclasses.field(default_factory=list)


class MeltSer:
    """The project's own training, as the verb `train` does it once the corpus is read."""

    def __init__(self, job: Job) -> None:
        from melt_ser.cli.compose import load_config
        from melt_ser.runs.plan import make_plan

        config = load_config(
            f"backbone={job.family}",
            f"backbone.checkpoint={job.checkpoint}",
            "backbone.revision=null",
            "trainer=finetune",
            "trainer.epochs=1",
            f"trainer.batch_size={job.batch_size}",
            # the Trainer script does not crop, augment, smooth or train twice either
            *(
                "head=linear",
                "trainer.crop_seconds=null",
                "augment=nothing",
                "trainer.label_smoothing=0",
                "trainer.refit=false",
            ),
            "dataset=csv",
            f"dataset.root={job.clips}",
            f"dataset.table={TABLE}",
            f"device={job.device}",
            f"trainer.precision={job.precision}",
            f"seed={job.seed}",
            *job.overrides,
        )
        self.plan = make_plan(config)
        self.seconds = self.plan.splits[0].train["duration"].to_numpy()
        self.job = job
        self.filling = 0.0

    def train(self, choice: Choice, folder: Path) -> float:
        """Train an epoch on the chosen batches; return its seconds, without the scoring of dev.

        Set `filling` to the seconds between the end of building the model and that epoch. If features of the frozen
        layers are cached, they are computed in this time, only for the chosen clips.
        """
        from melt_ser.data.batches import ShuffledBatches
        from melt_ser.runs.fold import build_model, load_or_train

        step_seconds = self.plan.config.trainer.step_seconds
        epoch = ShuffledBatches(self.seconds, self.job.batch_size, self.job.seed, step_seconds=step_seconds)
        chosen = choice(list(epoch.batches(1)))
        rows = sorted(row for batch in chosen for row in batch)
        times: dict[str, float] = {}

        class ChosenBatches(ShuffledBatches):
            def batches(self, epoch: int) -> Iterator[list[int]]:
                times.setdefault("first batch", time.perf_counter())
                return (np.searchsorted(rows, batch).tolist() for batch in chosen)

        def build(*arguments: Any) -> Any:
            model = build_model(*arguments)
            times["built"] = time.perf_counter()
            return model

        split = self.plan.splits[0]
        split = dataclasses.replace(split, train=split.train.iloc[rows].reset_index(drop=True))
        folder.mkdir(parents=True)
        with (
            mock.patch("melt_ser.training.fit.ShuffledBatches", ChosenBatches),
            mock.patch("melt_ser.runs.fold.build_model", build),
        ):
            load_or_train(dataclasses.replace(self.plan, folder=folder, splits=[split]), split)
        self.filling = times["first batch"] - times["built"]
        return float(pd.read_csv(folder / "metrics.csv")["seconds"].iloc[0])


def measure(job: Job) -> Figures:
    """Return the figures of one system in this process, with an empty cache: a warm-up step, then a sampled epoch."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MELT_SER_CACHE"] = f"{folder}/cache"
        if job.system == "melt_ser":
            system: Any = MeltSer(job)
        else:
            from trainer_script import TrainerScript

            paths = Path(job.checkpoint), Path(job.clips)
            grouped = job.system == "grouped"
            system = TrainerScript(*paths, job.batch_size, grouped, job.device, job.precision, job.seed)
        sample = EpochSample(system.seconds, job.batches, job.seed)
        if job.largest:
            seconds = system.train(sample.largest, Path(folder) / "largest")
            return {"step_seconds": seconds, "peak_MiB": peak_memory(job.device)}
        system.train(sample.warm_up, Path(folder) / "warm-up")
        seconds = sample.epoch_seconds(system.train(sample, Path(folder) / "run"))
    filling = system.filling * float(sample.seconds.sum() / sample.chosen_seconds.sum())
    return {
        "clips_per_second": len(sample.seconds) / (seconds + filling / job.epochs),
        "epoch_seconds": seconds,
        "filling_seconds": filling,
        "sampled": sample.of_sample / sample.of_epoch,
        "computed_per_second": sample.of_epoch / float(sample.seconds.sum()),
    }


def compare(options: Any, device: str, family: str, batch_size: int, folder: Path) -> list[Figures]:
    """Return the rows of one family and batch size."""
    count = None if options.sample is None else max(2, options.sample // batch_size)
    precision = resolve_precision(options.precision, device)
    paths = str(folder / f"{family}_{options.size}"), str(folder / "clips")
    job = Job("", family, *paths, batch_size, device, precision, 0)
    job = dataclasses.replace(job, batches=count, epochs=options.epochs, overrides=options.overrides)

    def run(system: str, number: int, largest: bool = False) -> Figures:
        chosen = dataclasses.replace(job, system=system, seed=options.seed + number, largest=largest)
        return run_process(__file__, "--job", json.dumps(dataclasses.asdict(chosen)))

    def largest_batch(system: str) -> float | None:
        try:
            return float(run(system, 0, True)["peak_MiB"])
        except MemoryError:
            return None  # more than this machine has

    found = alternate(
        {system: lambda number, system=system: run(system, number) for system in options.systems}, options.rounds
    )
    memory = {system: largest_batch(system) if options.memory else None for system in options.systems}
    rows = []
    for system, rounds in found.items():
        row: Figures = {"family": family, "size": options.size, "batch": batch_size, "system": system}
        row["precision"] = precision
        row["clips/s"], row["from-to"] = median(rounds, "clips_per_second"), spread(rounds, "clips_per_second")
        faster = ratios(found["melt_ser"], rounds, "clips_per_second")
        row["melt_ser/this"], row["ratio from-to"] = median(faster, "ratio"), spread(faster, "ratio")
        row["epoch s"] = median(rounds, "epoch_seconds", 1)
        row["before s"] = median(rounds, "filling_seconds", 1)
        row["computed/audio"] = median(rounds, "computed_per_second")
        row["peak MiB"] = memory[system] and round(memory[system])
        known = memory[system] and memory["melt_ser"]
        row["memory/melt_ser's"] = known and round(memory[system] / memory["melt_ser"], 2)
        row["sampled"], row["others' CPU"] = median(rounds, "sampled"), spread(rounds, "others_cpu")
        rows.append(row)
    return rows


def main() -> None:
    parser = make_parser(__doc__)
    add_model_options(parser, clips=1600)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[8, 32])
    add_precision_option(parser)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--sample", type=int, help=f"clips of an epoch to compute (on a CPU: {SAMPLE_ON_CPU})")
    parser.add_argument("--full", action="store_true", help="whole epochs")
    parser.add_argument("--epochs", type=int, default=10, help="that share what is computed once before the first")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave out the peak memory")
    parser.add_argument("--job", help="(for the processes of the systems)")
    options = parser.parse_args()
    if options.job:
        return print(json.dumps(watched(lambda: measure(Job(**json.loads(options.job))))))
    if "melt_ser" not in options.systems:
        sys.exit("error: --systems needs melt_ser, which the others are compared with.")
    device = resolve_device(options.device)
    if options.sample is None and device == "cpu" and not options.full:
        options.sample = SAMPLE_ON_CPU[options.size]
    from checkpoints import save_checkpoint

    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        seconds = draw_seconds(options.clips, options.seed, options.lengths)
        make_corpus(folder / "clips", seconds, SCORED, options.seed)
        for family in options.families:
            save_checkpoint(family, options.size, folder / f"{family}_{options.size}", options.seed)
            for batch_size in options.batch_sizes:
                rows += compare(options, device, family, batch_size, folder)
    print_result("finetune", device, rows, clips=options.clips, rounds=options.rounds, overrides=options.overrides)


if __name__ == "__main__":
    main()
