"""Compare ten folds with three seeds of a frozen backbone with one pass of that backbone over the corpus.

    python benchmarks/frozen_folds.py [--families wav2vec2] [--size base] [--clips 535] [--device auto]

`study` is `python -m melt_ser.train --multirun trainer=frozen head=linear trainer.refit=false dataset.fold=all
seed=0,1,2` on ten speakers with an empty cache: start-up, verification, the pass, thirty heads of 30 epochs with their
dev scores, saved models, results and figures. `pass` is the backbone's share of that work: batches of similar length
through melt_ser's own forward pass, with the audio in memory. Each is a process of its own; rounds alternate. The
script prints a table and a line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from clips import CLASSES, TABLE, draw_seconds, make_clips
from common import (
    Figures,
    add_model_options,
    alternate,
    make_parser,
    median,
    print_result,
    ratios,
    resolve_device,
    run_process,
    spread,
    watched,
)

SPEAKERS, SEEDS = 10, 3


def study(settings: list[str]) -> Figures:
    """Return the seconds of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "melt_ser.train", "--multirun", f"out={folder}/runs", *settings]
        started = time.perf_counter()
        environment = {**os.environ, "MELT_SER_CACHE": f"{folder}/cache"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            sys.exit(f"error: {' '.join(command)} failed\n{done.stderr[-3000:]}")
        return {"seconds": time.perf_counter() - started}


def one_pass(settings: list[str], device: str) -> Figures:
    """Return the seconds of the backbone on all clips, after loading the model and a first batch."""
    import torch

    from melt_ser.cli.compose import load_config
    from melt_ser.data.batches import SortedBatches
    from melt_ser.data.datasets import WaveformDataset
    from melt_ser.data.stage import Stage
    from melt_ser.runs.fold import build_model
    from melt_ser.runs.plan import make_plan
    from melt_ser.training.features import BATCH_SECONDS

    prepared = make_plan(load_config(*settings, "dataset.fold=1"))
    model = build_model(prepared.config, prepared.classes).to(device).eval()
    utterances = WaveformDataset(prepared.utterances, prepared.corpus.root, model.classes, model.backbone.do_normalize)
    batches = [
        utterances.collate([utterances[row] for row in rows])
        for rows in SortedBatches(utterances.seconds, len(utterances), batch_seconds=BATCH_SECONDS)
    ]

    def compute(batch: Any) -> None:
        features, _ = model.compute_stage(Stage.pooled, batch.inputs.to(device), batch.lengths.to(device))
        features.cpu()

    with torch.inference_mode():
        compute(batches[-1])
        started = time.perf_counter()
        for batch in batches:
            compute(batch)
    return {"seconds": time.perf_counter() - started}


def make_speakers(folder: Path, seconds: np.ndarray, seed: int) -> None:
    """Make clips of ten speakers, each with every class."""
    table = make_clips(folder, seconds, seed)
    number = np.arange(len(table))
    table["speaker"] = [f"speaker{speaker}" for speaker in number % SPEAKERS]
    table["label"] = [CLASSES[place % len(CLASSES)] for place in number // SPEAKERS]
    table.to_csv(folder / TABLE, index=False)


def main() -> None:
    parser = make_parser(__doc__, rounds=1)
    add_model_options(parser, clips=535)  # as many as EmoDB; it has ten speakers too
    parser.set_defaults(families=["wav2vec2"], size="base")
    parser.add_argument("--pass", dest="settings", nargs="+", help="(for the process of the pass)")
    options = parser.parse_args()
    device = resolve_device(options.device)
    if options.settings:
        return print(json.dumps(watched(lambda: one_pass(options.settings, device))))
    from checkpoints import save_checkpoint

    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_speakers(folder / "clips", draw_seconds(options.clips, options.seed, options.lengths), options.seed)
        for family in options.families:
            checkpoint = save_checkpoint(family, options.size, folder / family, options.seed)
            settings = [
                f"backbone={family}",
                f"backbone.checkpoint={checkpoint}",
                "backbone.revision=null",
                "trainer=frozen",
                "head=linear",
                "trainer.refit=false",
                "dataset=csv",
                f"dataset.root={folder / 'clips'}",
                f"dataset.table={TABLE}",
                "dataset.folds=leave_one_out",
                f"device={device}",
                *options.overrides,
            ]
            seeds = f"seed={','.join(map(str, range(SEEDS)))}"
            whole = [*settings, "dataset.fold=all", seeds]

            def run_study(_: int, whole: list[str] = whole) -> Figures:
                return watched(lambda: study(whole))

            def run_pass(_: int, settings: list[str] = settings) -> Figures:
                return run_process(__file__, "--device", device, "--pass", *settings)

            found = alternate({"pass": run_pass, "study": run_study}, options.rounds)
            for system, rounds in found.items():
                row: Figures = {"family": family, "size": options.size, "system": system}
                row["seconds"], row["from-to"] = median(rounds, "seconds"), spread(rounds, "seconds")
                row["times a pass"] = median(ratios(rounds, found["pass"], "seconds"), "ratio")
                row["others' CPU"] = spread(rounds, "others_cpu")
                rows.append(row)
    print_result("frozen_folds", device, rows, clips=options.clips, folds=SPEAKERS, seeds=SEEDS)


if __name__ == "__main__":
    main()
