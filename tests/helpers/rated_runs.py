"""Runs of a second that learn ratings: tones with arousal and valence, with and without labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from melt_ser.cli.compose import compose, load_dataset
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.load import load_corpus
from melt_ser.runs.run import run
from small_runs import corpus, small

AROUSAL = {"angry": 6.0, "happy": 5.0, "sad": 2.0}
VALENCE = {"angry": 2.0, "happy": 6.0, "sad": 2.5}


def rated_corpus(folder: Path, each: int) -> Path:
    """Write tones of four speakers: `both.csv` has labels and attributes, `rated.csv` no labels."""
    root = corpus(folder, each=each)
    table = pd.read_csv(root / "table.csv")
    table["arousal"], table["valence"] = table["label"].map(AROUSAL), table["label"].map(VALENCE)
    table.to_csv(root / "both.csv", index=False)
    table.drop(columns="label").to_csv(root / "rated.csv", index=False)
    return root


def train(out: Path, data: Path, table: str, *overrides: str) -> tuple[Path, dict[str, Any]]:
    """Train on a table; return the run folder and its result."""
    where = ["dataset=csv", f"dataset.root={data}", f"dataset.table={table}", f"out={out}", "labels=native"]
    path = run(compose([*small(*overrides), *where, *overrides]))
    return path.parent, json.loads(path.read_text())


def loaded(data: Path, table: str, **settings: Any) -> Corpus:
    """Read a table with these settings of `dataset`."""
    config = load_dataset("csv")
    config.root, config.table = str(data), table
    for key, value in settings.items():
        setattr(config, key, value)
    return load_corpus(config)
