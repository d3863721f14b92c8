"""Compare an exported ONNX file with torch on a CPU: clips a second, the same weights, the same clips, one at a time.

    python benchmarks/onnx_speed.py [--families ...] [--size tiny] [--clips 64] [--rounds 3]

Systems: `torch` (`Model.label_waveform`, which predict calls), `float32`, `float16` and `int8` (runs/run_onnx.py). Each
runs in a process of its own with the same number of threads, rounds alternate; loading the model and a first clip are
off the clock. `this/torch` is the ratio of speeds in a round. The script prints a table and a line of JSON.
"""

from __future__ import annotations

import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from clips import TABLE, draw_seconds, make_clips
from common import (
    Figures,
    add_model_options,
    alternate,
    make_parser,
    median,
    print_result,
    ratios,
    run_process,
    spread,
    watched,
)
from inference import save_classifier

METADATA = {"classes": "[]", "sampling_rate": "16000", "longest_seconds": "60"}


def measure(job: Figures) -> Figures:
    """Measure one system in this process."""
    folder, clips = Path(job["folder"]), Path(job["clips"])
    names = pd.read_csv(clips / TABLE)["audio"]
    waveforms = [soundfile.read(clips / name, dtype="float32")[0] for name in names]
    if job["system"] == "torch":
        from melt_ser import load_model

        model = load_model(folder / "model", device="cpu")

        def label(waveform: np.ndarray) -> None:
            list(model.label_waveform(waveform))
    else:
        from melt_ser.runs.run_onnx import OnnxModel

        onnx_model = OnnxModel(str(folder / f"{job['system']}.onnx"))

        def label(waveform: np.ndarray) -> None:
            onnx_model.probabilities([waveform])

    label(waveforms[0])
    started = time.perf_counter()
    for waveform in waveforms:
        label(waveform)
    return {"clips_per_second": len(waveforms) / (time.perf_counter() - started)}


def compare(options: Any, family: str, clips: Path, folder: Path) -> list[Figures]:
    """Return the rows of one family."""
    from melt_ser import load_model
    from melt_ser.models.onnx_graph import write_onnx
    from melt_ser.models.onnx_types import TYPES, convert

    save_classifier(family, options.size, folder, options.seed)
    write_onnx(load_model(folder / "model", device="cpu").classifiers, folder / "graph.onnx")
    for number_type in TYPES:
        convert(folder / "graph.onnx", folder / f"{number_type}.onnx", number_type, METADATA)

    def run(system: str, _: int) -> Figures:
        return run_process(
            __file__, "--job", json.dumps({"folder": str(folder), "clips": str(clips), "system": system})
        )

    found = alternate({system: partial(run, system) for system in ("torch", *TYPES)}, options.rounds)
    rows = []
    for system, rounds in found.items():
        faster = ratios(rounds, found["torch"], "clips_per_second")
        file = folder / ("model/model.safetensors" if system == "torch" else f"{system}.onnx")
        rows.append(
            {
                "family": family,
                "size": options.size,
                "system": system,
                "clips/s": median(rounds, "clips_per_second"),
                "from-to": spread(rounds, "clips_per_second"),
                "this/torch": median(faster, "ratio"),
                "ratio from-to": spread(faster, "ratio"),
                "MB": round(file.stat().st_size / 1e6, 1),
                "others' CPU": spread(rounds, "others_cpu"),
            }
        )
    return rows


def main() -> None:
    parser = make_parser(__doc__)
    add_model_options(parser, clips=64)
    parser.add_argument("--job", help="(for the processes of the systems)")
    options = parser.parse_args()
    if options.job:
        return print(json.dumps(watched(lambda: measure(json.loads(options.job)))))
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        table = make_clips(folder / "clips", draw_seconds(options.clips, options.seed, options.lengths), options.seed)
        table.to_csv(folder / "clips" / TABLE, index=False)
        for family in options.families:
            rows += compare(options, family, folder / "clips", folder / family)
    print_result("onnx_speed", "cpu", rows, clips=options.clips, rounds=options.rounds)


if __name__ == "__main__":
    main()
