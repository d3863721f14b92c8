"""Compare labelling with transformers' pipeline: clips a second, the same saved model, the same files.

    python benchmarks/inference.py [--families ...] [--size tiny] [--clips 64] [--device auto]
        [--overrides eval.batch_size=32 ...]

Systems: `melt_ser` (evaluation.inference.predict_probabilities on a saved model) in float32, the same in the other
precisions of the device (`melt_ser_bf16`, on a GPU `melt_ser_tf32`: `eval.precision`), `pipeline_1` and `pipeline_8`
(pipeline("audio-classification") with that batch size). All read the same wav files with soundfile; the pipeline gets
samples, since file names would make it start an ffmpeg process for each. Each system runs in a process of its own,
rounds alternate; loading the model and a first clip are off the clock. `difference` is the largest difference of a
probability from melt_ser's in float32: if the pipeline pads (batch 8), its answers change with the padding. The script
prints a table and a line of JSON.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from clips import CLASSES, TABLE, draw_seconds, make_clips
from common import (
    Figures,
    add_model_options,
    alternate,
    make_parser,
    median,
    peak_memory,
    print_result,
    ratios,
    resolve_device,
    run_process,
    spread,
    watched,
)

PIPELINES = {"pipeline_1": 1, "pipeline_8": 8}
PRECISIONS = {"melt_ser": "fp32", "melt_ser_bf16": "bf16", "melt_ser_tf32": "tf32"}


def with_melt_ser(model_folder: Path, table: pd.DataFrame, clips: Path, job: Figures) -> tuple[float, np.ndarray]:
    """Label with melt_ser; return the seconds and the probabilities, (clips, classes)."""
    from melt_ser.cli.compose import load_config
    from melt_ser.data.datasets import WaveformDataset
    from melt_ser.evaluation.inference import predict_probabilities
    from melt_ser.models.export import load_model
    from melt_ser.training.device import make_accelerator

    precision = PRECISIONS[job["system"]]
    config = load_config(f"device={job['device']}", f"eval.precision={precision}", *job["overrides"])
    accelerator = make_accelerator(config.device)
    model = load_model(model_folder, accelerator.device)

    def label(rows: pd.DataFrame) -> np.ndarray:
        utterances = WaveformDataset(rows, clips, model.classes, model.backbone.do_normalize)
        batch_size, precision = config.eval.batch_size, config.eval.precision
        return predict_probabilities(model, utterances, batch_size, accelerator, precision=precision)

    label(table[:1])
    started = time.perf_counter()
    probabilities = label(table)
    return time.perf_counter() - started, probabilities


def with_pipeline(model_folder: Path, table: pd.DataFrame, clips: Path, job: Figures) -> tuple[float, np.ndarray]:
    """Label with transformers' pipeline; return the seconds and the probabilities, (clips, classes)."""
    from transformers import pipeline

    size = PIPELINES[job["system"]]
    classifier = pipeline(
        "audio-classification", model=str(model_folder), device=job["device"], batch_size=size, top_k=None
    )

    def label(rows: pd.DataFrame) -> np.ndarray:
        def recordings() -> Iterator[Figures]:
            for name in rows["audio"]:
                samples, rate = soundfile.read(clips / name, dtype="float32")
                yield {"raw": samples, "sampling_rate": rate}

        answers = [{one["label"]: one["score"] for one in answer} for answer in classifier(recordings())]
        return np.array([[answer[name] for name in CLASSES] for answer in answers])

    label(table[:1])
    started = time.perf_counter()
    probabilities = label(table)
    return time.perf_counter() - started, probabilities


def measure(job: Figures) -> Figures:
    """Measure one system in this process; write its probabilities into the folder."""
    folder, clips = Path(job["folder"]), Path(job["clips"])
    table = pd.read_csv(clips / TABLE)
    system = with_melt_ser if job["system"] in PRECISIONS else with_pipeline
    seconds, probabilities = system(folder / "model", table, clips, job)
    np.save(folder / f"{job['system']}.npy", probabilities)
    return {"clips_per_second": len(table) / seconds, "peak_MiB": peak_memory(job["device"])}


def save_classifier(family: str, size: str, folder: Path, seed: int) -> None:
    """Save a model of ours with random weights, as a finished run does."""
    from checkpoints import save_checkpoint
    from melt_ser.cli.compose import load_config
    from melt_ser.models.export import save_model
    from melt_ser.runs.fold import build_model

    checkpoint = save_checkpoint(family, size, folder / "checkpoint", seed)
    settings = [f"backbone={family}", f"backbone.checkpoint={checkpoint}", "backbone.revision=null", f"seed={seed}"]
    settings += ["head=linear"]  # the pipeline can load no other
    save_model(build_model(load_config(*settings), list(CLASSES)), folder / "model")


def compare(options: Any, device: str, family: str, clips: Path, folder: Path) -> list[Figures]:
    """Return the rows of one family."""
    save_classifier(family, options.size, folder, options.seed)
    job = {"folder": str(folder), "clips": str(clips), "device": device, "overrides": options.overrides}

    def run(system: str, _: int) -> Figures:
        return run_process(__file__, "--job", json.dumps({**job, "system": system}))

    systems = [*PRECISIONS, *PIPELINES]
    if device == "cpu":
        systems.remove("melt_ser_tf32")
    found = alternate({system: partial(run, system) for system in systems}, options.rounds)
    ours = np.load(folder / "melt_ser.npy")
    rows = []
    for system, rounds in found.items():
        faster = ratios(found["melt_ser"], rounds, "clips_per_second")
        rows.append(
            {
                "family": family,
                "size": options.size,
                "system": system,
                "clips/s": median(rounds, "clips_per_second"),
                "from-to": spread(rounds, "clips_per_second"),
                "melt_ser/this": median(faster, "ratio"),
                "ratio from-to": spread(faster, "ratio"),
                "difference": float(np.abs(np.load(folder / f"{system}.npy") - ours).max()),
                "peak MiB": median(rounds, "peak_MiB", 0),
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
    device = resolve_device(options.device)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["MELT_SER_CACHE"] = str(folder / "cache")
        table = make_clips(folder / "clips", draw_seconds(options.clips, options.seed, options.lengths), options.seed)
        table = table.rename(columns={"label": "class"}).assign(start=np.nan, end=np.nan)
        table.to_csv(folder / "clips" / TABLE, index=False)
        for family in options.families:
            rows += compare(options, device, family, folder / "clips", folder / family)
    print_result("inference", device, rows, clips=options.clips, rounds=options.rounds, overrides=options.overrides)


if __name__ == "__main__":
    main()
