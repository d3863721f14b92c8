"""Small searches, as one types them, on a corpus of tones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from melt_ser.tune import main
from small_runs import corpus, typed

FROZEN = ("trainer=frozen", "trainer.epochs=3", "dataset.folds=leave_one_out")
RATES = "trainer.head_learning_rate: {low: 1e-3, high: 3e-2, log: true}\n"
HEADS = "head: [statistics, mlp]\n"


def noisy(folder: Path) -> Path:
    """Write a corpus in which a quarter of the labels are wrong, so that no dev UA is 100 %."""
    corpus(folder, each=12)
    table = pd.read_csv(folder / "table.csv")
    table.loc[::4, "label"] = list(table["label"].shift(1, fill_value="sad")[::4])
    table.to_csv(folder / "table.csv", index=False)
    return folder


def words(folder: Path, root: Path, space: str, *more: str) -> list[str]:
    """Return the words of a search in `folder` on a corpus that `corpus` wrote; space: the text of the YAML."""
    path = folder / "space.yaml"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(space)
    settings = [word for word in more if not word.startswith("-") and "=" in word]
    options = [word for word in more if word not in settings]
    return [*typed(folder / "runs", root, *settings), "--space", str(path), "--study", "small", *options]


def tune(monkeypatch: pytest.MonkeyPatch, *typed_words: str) -> int:
    """Run `tune` in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["melt_ser.tune", *typed_words])
    return main()


def start(*typed_words: str, before: str = "") -> subprocess.Popen[str]:
    """Start `tune` as a user does; before: code that runs first in its process."""
    program = ["-c", f"{before}\nfrom melt_ser.tune import main\nraise SystemExit(main())"]
    command = [sys.executable, *(program if before else ["-m", "melt_ser.tune"]), *typed_words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def study_of(folder: Path) -> pd.DataFrame:
    """Return study.csv of the search in `folder`."""
    return pd.read_csv(folder / "runs" / "tune" / "small" / "study.csv", dtype={"best_epoch": str}).fillna("")
