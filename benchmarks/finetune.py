"""Fine-tuning beside a plain transformers.Trainer script: clips a second and peak memory, same model, same clips.

    python benchmarks/finetune.py [--families wav2vec2 hubert wavlm data2vec] [--size tiny] [--batch-sizes 8 32]
        [--sample CLIPS | --full] [--epochs 1] [--device auto] [--overrides trainer.batch_seconds=24 ...]

Systems: `melt_ser` (training.fit, as `train` calls it), `trainer` (trainer_script.py), `grouped` (the same with
train_sampling_strategy="group_by_length"). Each runs in a process of its own, rounds alternate. `--sample` computes
that many clips of an epoch and estimates the rest (sampling.py); `--full` times whole epochs. A last process for each
system computes its epoch's largest batch alone, for the peak memory. Prints a table and a line of JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd

from clips import CLASSES, draw_seconds, make_clips
from common import (
    Figures,
    add_model_options,
    alternate,
    make_parser,
    median,
    peak_memory,
    print_result,
    resolve_device,
    run_process,
    spread,
    watched,
)
from sampling import Batches, Choice, EpochSample

SYSTEMS = ("melt_ser", "trainer", "grouped")
SAMPLE_ON_CPU = {"tiny": 256, "base": 64}  # clips of an epoch; a GPU computes whole epochs


@dataclasses.dataclass
class Job:
    """What one process measures."""

    system: str
    family: str
    checkpoint: str
    clips: str  # folder with clips.csv
    batch_size: int
    device: str
    seed: int
    batches: int | None = None  # of the epoch; null: all
    largest: bool = False  # only the largest batch, for its memory
    epochs: int = 1
    overrides: list[str] = dataclasses.field(default_factory=list)


class MeltSer:
    """The project's own training, called as `training.model.load_or_train` does."""

    def __init__(self, job: Job, table: pd.DataFrame) -> None:
        from melt_ser.data.utterances import Utterances
        from melt_ser.launch import load_config
        from melt_ser.training.device import make_accelerator
        from melt_ser.training.model import build_model

        self.config = config = load_config(
            f"backbone={job.family}",
            f"backbone.checkpoint={job.checkpoint}",
            "backbone.revision=null",
            "trainer=finetune",
            f"trainer.epochs={job.epochs}",
            f"trainer.batch_size={job.batch_size}",
            "trainer.crop_seconds=null",  # the Trainer script does not crop either
            f"device={job.device}",
            f"seed={job.seed}",
            *job.overrides,
        )
        self.accelerator = lambda: make_accelerator(config.device, config.trainer.precision)
        self.model = build_model(config, list(CLASSES)).to(self.accelerator().device)
        normalize, trainer = self.model.backbone.do_normalize, config.trainer
        root, classes = Path(job.clips), list(CLASSES)
        self.train_part = Utterances(
            table, root, classes, normalize, config.augment, trainer.crop_seconds, trainer.pad_to_crop, job.seed
        )
        self.dev_part = Utterances(table.nsmallest(2, "duration"), root, classes, normalize)  # scored off the clock

    def train(self, choice: Choice, seed: int, folder: Path) -> float:
        """The epochs over the chosen batches; returns their seconds."""
        from melt_ser.data.batches import ShuffledBatches
        from melt_ser.training.fit import fit

        class ChosenBatches(ShuffledBatches):
            def batches(self) -> Batches:
                return choice(super().batches())

        with mock.patch("melt_ser.training.fit.ShuffledBatches", ChosenBatches):
            state = fit(
                self.config.trainer,
                self.model,
                self.train_part,
                self.dev_part,
                self.config.eval.batch_size,
                seed,
                folder,
                self.accelerator(),
            )
        return sum(float(row["seconds"]) for row in state.history) / len(state.history)


def measure(job: Job) -> Figures:
    """In the process of one system: a warm-up step, then the sample of its epoch."""
    table = pd.read_csv(Path(job.clips) / "clips.csv")
    sample = EpochSample(table["duration"].to_numpy(), job.batches, job.seed)
    if job.system == "melt_ser":
        system: Any = MeltSer(job, table)
    else:
        from trainer_script import TrainerScript

        rows = [
            {
                "path": os.path.join(job.clips, row.audio),
                "label": CLASSES.index(row["class"]),
                "length": round(row.duration * 16_000),
            }
            for _, row in table.iterrows()
        ]
        system = TrainerScript(Path(job.checkpoint), rows, job.batch_size, job.system == "grouped", job.device)
    with tempfile.TemporaryDirectory() as folder:
        if job.largest:
            seconds = system.train(sample.largest, job.seed, Path(folder) / "largest")
            return {"step_seconds": seconds, "peak_MiB": peak_memory(job.device)}
        system.train(sample.shortest, job.seed, Path(folder) / "warm-up")
        seconds = sample.epoch_seconds(system.train(sample, job.seed, Path(folder) / "run"))
    return {
        "clips_per_second": len(table) / seconds,
        "epoch_seconds": seconds,
        "sampled": sample.of_sample / sample.of_epoch,
        "computed_per_second": sample.of_epoch / float(table["duration"].sum()),
    }


def compare(options: Any, device: str, family: str, batch_size: int, folder: Path) -> list[Figures]:
    """The rows of one family and batch size."""
    count = None if options.sample is None else max(2, options.sample // batch_size)
    job = Job("", family, str(folder / f"{family}_{options.size}"), str(folder / "clips"), batch_size, device, 0)
    job = dataclasses.replace(job, batches=count, epochs=options.epochs, overrides=options.overrides)

    def run(system: str, number: int, largest: bool = False) -> Figures:
        chosen = dataclasses.replace(job, system=system, seed=options.seed + number, largest=largest)
        return run_process(__file__, "--job", json.dumps(dataclasses.asdict(chosen)))

    found = alternate(
        {system: lambda number, system=system: run(system, number) for system in options.systems}, options.rounds
    )
    memory = {system: run(system, 0, True)["peak_MiB"] if options.memory else None for system in options.systems}
    rows = []
    for system, rounds in found.items():
        row: Figures = {"family": family, "size": options.size, "batch": batch_size, "system": system}
        row["clips/s"], row["from-to"] = median(rounds, "clips_per_second"), spread(rounds, "clips_per_second")
        ratios = [
            {"ratio": ours["clips_per_second"] / theirs["clips_per_second"]}
            for ours, theirs in zip(found["melt_ser"], rounds, strict=True)
        ]
        row["melt_ser is faster by"], row["ratio from-to"] = median(ratios, "ratio"), spread(ratios, "ratio")
        row["computed/audio"] = median(rounds, "computed_per_second")
        row["peak MiB"] = memory[system] and round(memory[system])
        row["memory/melt_ser's"] = memory[system] and round(memory[system] / memory["melt_ser"], 2)
        row["sampled"], row["others' CPU"] = median(rounds, "sampled"), spread(rounds, "others_cpu")
        rows.append(row)
    return rows


def main() -> None:
    parser = make_parser(__doc__)
    add_model_options(parser, clips=1600)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[8, 32])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--sample", type=int, help=f"clips of an epoch to compute (on a CPU: {SAMPLE_ON_CPU})")
    parser.add_argument("--full", action="store_true", help="whole epochs")
    parser.add_argument("--epochs", type=int, default=1, help="of melt_ser, with --full: the mean of so many")
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
        os.environ["MELT_SER_CACHE"] = str(folder / "cache")
        make_clips(folder / "clips", draw_seconds(options.clips, options.seed, options.lengths), options.seed)
        for family in options.families:
            save_checkpoint(family, options.size, folder / f"{family}_{options.size}", options.seed)
            for batch_size in options.batch_sizes:
                rows += compare(options, device, family, batch_size, folder)
    print_result("finetune", device, rows, clips=options.clips, rounds=options.rounds, overrides=options.overrides)


if __name__ == "__main__":
    main()
