"""Compare frozen training with and without the feature cache: seconds of the whole training, the same code.

    python benchmarks/frozen.py [--families ...] [--size tiny] [--clips 50] [--epochs 10] [--device auto]
        [--without cache.features=false]

The runs are `python -m melt_ser.train trainer=frozen` on a corpus of wav files; dev and test have a fifth as many clips
each. `again` has the settings of --without, by default no cache, so that the backbone runs anew each epoch. Each run is
a process with an empty cache; rounds alternate. Seconds are those of the result: model, training, and the scoring of
dev after each epoch. The script prints a table and a line of JSON.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from clips import TABLE, draw_seconds, make_corpus
from common import (
    WITHOUT_CACHE,
    Figures,
    add_model_options,
    alternate,
    make_parser,
    median,
    print_result,
    ratios,
    resolve_device,
    spread,
    watched,
)


def train(settings: list[str]) -> Figures:
    """Run the verb once; return the seconds of its result, of its first epoch and of a later epoch."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "melt_ser.train", f"out={folder}/runs", *settings]
        environment = {**os.environ, "MELT_SER_CACHE": f"{folder}/cache"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            sys.exit(f"error: {' '.join(command)} failed\n{done.stderr[-3000:]}")
        path = Path(done.stdout.splitlines()[-1].removeprefix("result: "))
        result = json.loads(path.read_text())
        with (path.parent / "metrics.csv").open() as file:
            epochs = [float(row["seconds"]) for row in csv.DictReader(file)]
    later = statistics.median(epochs[1:])
    return {"seconds": result["run"]["seconds"], "first_epoch": epochs[0], "later_epoch": later}


def compare(options: Any, device: str, family: str, folder: Path) -> list[Figures]:
    """Return the rows of one family."""
    from checkpoints import save_checkpoint

    checkpoint = save_checkpoint(family, options.size, folder / family, options.seed)
    settings = [
        f"backbone={family}",
        f"backbone.checkpoint={checkpoint}",
        "backbone.revision=null",
        "trainer=frozen",
        "head=linear",
        "trainer.refit=false",
        f"trainer.epochs={options.epochs}",
        "dataset=csv",
        f"dataset.root={folder / 'clips'}",
        f"dataset.table={TABLE}",
        f"device={device}",
        *options.overrides,
    ]

    def run(more: list[str], _: int) -> Figures:
        return watched(lambda: train([*settings, *more]))

    measured = alternate({"cached": partial(run, []), "again": partial(run, options.without)}, options.rounds)
    rows = []
    for system, rounds in measured.items():
        slower = ratios(rounds, measured["cached"], "seconds")
        rows.append(
            {
                "family": family,
                "size": options.size,
                "system": system,
                "seconds": median(rounds, "seconds"),
                "from-to": spread(rounds, "seconds"),
                "first epoch": median(rounds, "first_epoch"),
                "later epoch": median(rounds, "later_epoch"),
                "times cached": median(slower, "ratio"),
                "others' CPU": spread(rounds, "others_cpu"),
            }
        )
    return rows


def main() -> None:
    parser = make_parser(__doc__)
    add_model_options(parser, clips=50)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--without", nargs="+", default=list(WITHOUT_CACHE), help="settings that turn the cache off")
    options = parser.parse_args()
    device = resolve_device(options.device)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        seconds = draw_seconds(options.clips, options.seed, options.lengths)
        make_corpus(folder / "clips", seconds, seconds[: options.clips // 5], options.seed)
        for family in options.families:
            rows += compare(options, device, family, folder)
    print_result("frozen", device, rows, clips=options.clips, epochs=options.epochs, without=options.without)


if __name__ == "__main__":
    main()
