"""Compare the accuracy of batches of similar length with that of random batches: a table, then one line of JSON.

    python benchmarks/batching_accuracy.py --data DIR [--corpora emodb urdu demo] [--seeds 0 1 2] [--folds 1 2]

The same runs twice: with the product's batches, and with random ones of the same size (a subclass here; the product has
no such option). DIR holds `emodb/` and `urdu/`. All clips of the EmoDB copy at hand last exactly 2 s, so an order by
length cannot tell them apart: they are cut at random to 0.5 to 2 s. `demo` is synthetic. The backbone is
wavlm_tiny_random: differences between the two columns mean something, the UA itself does not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

import melt_ser.training.fit
from melt_ser.cli.compose import compose
from melt_ser.data.batches import ShuffledBatches
from melt_ser.runs.run import run


class RandomBatches(ShuffledBatches):
    """Batches that ignore the lengths."""

    def batches(self, epoch: int) -> Iterator[list[int]]:
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.seconds))
        return (order[first : first + self.batch_size].tolist() for first in range(0, len(order), self.batch_size))


def cut_emodb(data: Path, folder: Path) -> list[str]:
    """Cut the clips of EmoDB to their first 0.5 to 2 s; return the overrides for that copy."""
    release, generator = data / "emodb", np.random.default_rng(0)
    (folder / "wav").mkdir(parents=True)
    for path in sorted((release / "wav").glob("*.wav")):
        waveform, rate = soundfile.read(path)
        soundfile.write(folder / "wav" / path.name, waveform[: round(generator.uniform(0.5, 2.0) * rate)], rate)
    return ["dataset=emodb", f"dataset.root={folder}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpora", nargs="+", choices=("emodb", "urdu", "demo"), default=["emodb", "urdu", "demo"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        typed = {
            "emodb": lambda: cut_emodb(options.data, folder / "emodb"),
            "urdu": lambda: ["dataset=urdu", f"dataset.root={options.data / 'urdu'}"],
            "demo": lambda: ["dataset=demo"],
        }
        for corpus in options.corpora:
            chosen = typed[corpus]()
            for fold in [1] if corpus == "demo" else options.folds:
                for seed in options.seeds:
                    for batches in (ShuffledBatches, RandomBatches):
                        melt_ser.training.fit.ShuffledBatches = batches  # type: ignore[misc]
                        settings = [*chosen, f"seed={seed}", f"out={folder / batches.__name__}", "device=cpu"]
                        settings += [f"dataset.fold={fold}"]
                        result = json.loads(run(compose(settings)).read_text())
                        row = {"corpus": corpus, "fold": fold, "seed": seed, "batches": batches.__name__}
                        row |= {"ua": result["evals"][0]["ua"], "padding": result["train"]["padding"]}
                        print(row, flush=True)
                        rows.append(row)
    table = pd.DataFrame(rows)
    summary = []
    for corpus, of_corpus in table.groupby("corpus"):
        pairs = of_corpus.pivot(index=["fold", "seed"], columns="batches")
        difference = pairs["ua"]["ShuffledBatches"] - pairs["ua"]["RandomBatches"]
        summary.append(
            {
                "corpus": corpus,
                "runs": len(difference),
                **{f"ua {name}": round(pairs["ua"][name].mean(), 4) for name in ("ShuffledBatches", "RandomBatches")},
                **{f"padding {name}": round(pairs["padding"][name].mean(), 3) for name in pairs["padding"]},
                "difference": round(difference.mean(), 4),
                "standard error": round(difference.std(ddof=1) / len(difference) ** 0.5, 4),
            }
        )
    print(pd.DataFrame(summary).to_string(index=False))
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
