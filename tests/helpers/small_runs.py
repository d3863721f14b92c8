"""Runs of a second: a corpus of tones, a backbone of one small layer, and a run folder's content without its times."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from melt_ser.cli.compose import compose
from melt_ser.data.datasets import WaveformDataset
from small_models import CLASSES as MODEL_CLASSES

SMALL = (
    "backbone=hubert_tiny_random",
    "+backbone.architecture.hidden_size=32",
    "+backbone.architecture.intermediate_size=32",
    "+backbone.architecture.num_hidden_layers=1",
    "+backbone.architecture.num_attention_heads=2",
    "augment=nothing",
    "trainer.epochs=1",
    "trainer.batch_size=8",
    "trainer.label_smoothing=0",
    "trainer.refit=false",
    "device=cpu",
)
CLASSES = ("angry", "happy", "sad")
NO_DROPOUT = tuple(
    f"+backbone.architecture.{name}_dropout=0.0" for name in ("hidden", "activation", "feat_proj", "attention")
)
ATTENTION = ("trainer=frozen", "head=attention")
# Each frozen stage, with settings of a small run that lead to it.
FROZEN_RUNS = [
    ("pooled", ("trainer=frozen", "head=weighted")),
    ("states", ("trainer=frozen", "head=weighted", "trainer.crop_seconds=0.25")),
    ("pooled", ("trainer=frozen", "head=weighted", "trainer.crop_seconds=0.25", "trainer.crop_places=3")),
    ("states", ATTENTION),
    ("layers", ("trainer.freeze=1",)),
    ("convolution", ("trainer.freeze=convolution", "augment=masking", "trainer.crop_seconds=0.25")),
]
TIMES = ("seconds", "clips_per_second")  # they differ between any two runs


def corpus(root: Path, speakers: int = 4, each: int = 6, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> Path:
    """Write a CSV corpus of short tones; the pitch is the class, and no two seeds share a recording."""
    generator = np.random.default_rng(seed)
    rows = []
    (root / "wav").mkdir(parents=True)
    for speaker in range(speakers):
        for number in range(each):
            label = number % len(classes)
            seconds = generator.uniform(0.2, 0.4)
            time = np.arange(int(seconds * 16000)) / 16000
            wave = 0.3 * np.sin(2 * np.pi * (200 + 300 * label + 10 * speaker) * time)
            wave += 0.01 * generator.standard_normal(len(time))
            name = f"wav/s{speaker}_{number}.wav"
            soundfile.write(root / name, wave, 16000)
            rows.append({"audio": name, "label": classes[label], "speaker": f"s{speaker}"})
    pd.DataFrame(rows).to_csv(root / "table.csv", index=False)
    return root


def tones(root: Path) -> WaveformDataset:
    """Return a corpus that `corpus` wrote as input of a model, with the classes of small_models.py."""
    table = pd.read_csv(root / "table.csv").assign(start=np.nan, end=np.nan)
    table["duration"] = [soundfile.info(root / audio).duration for audio in table["audio"]]
    return WaveformDataset(table.rename(columns={"label": "class"}), root, MODEL_CLASSES, do_normalize=True)


def small(*overrides: str) -> list[str]:
    """Return the settings of a small run, without those that the overrides set or that their trainer does not read.

    A checkpoint among the overrides has its own sizes. A named trainer keeps its own recipe, apart from the epochs.
    Without one, the head is linear, so that transformers can load the model.
    """
    keys = {override.partition("=")[0] for override in overrides}
    unfit = ["+backbone.architecture"] * ("backbone.checkpoint" in keys)
    if "trainer" in keys:
        unfit += ["trainer.batch_size", "trainer.label_smoothing", "trainer.refit"]
    unfit += ["trainer.epochs"] * ("trainer=probe" in overrides)
    head = [] if keys & {"head", "trainer", "experiment"} else ["head=linear"]
    return head + [own for own in SMALL if own.partition("=")[0] not in keys and not own.startswith(tuple(unfit))]


def typed(out: Path, root: Path, *overrides: str) -> list[str]:
    """Return the overrides of a small run on a corpus that `corpus` wrote."""
    return [
        *small(*overrides),
        "dataset=csv",
        f"dataset.root={root}",
        "dataset.table=table.csv",
        f"out={out}",
        *overrides,
    ]


def train(out: Path, root: Path, *overrides: str) -> tuple[Path, dict[str, Any]]:
    """Train on a corpus that `corpus` wrote; return the run folder and its result."""
    from melt_ser.runs.run import run

    path = run(compose(typed(out, root, *overrides)))
    return path.parent, json.loads(path.read_text())


def outcome(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a run folder, hidden ones too, without its times and its own path."""
    digests = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.name == "metrics.csv":
            content = pd.read_csv(path).drop(columns=list(TIMES)).to_csv().encode()
        elif path.name == "config.yaml":
            content = b"".join(line for line in content.splitlines(True) if not line.startswith(b"out:"))
        elif path.name in ("result.json", "fold.json"):
            content = json.dumps(_without_times(json.loads(content))).encode()
        digests[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return digests


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in (*TIMES, "out")}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def predictions(folder: Path) -> pd.DataFrame:
    """Return the probabilities that a run folder has for its own test, a row an utterance."""
    path = folder / "predictions" / "csv.csv"
    return pd.read_csv(path, index_col="utterance").select_dtypes("number")
