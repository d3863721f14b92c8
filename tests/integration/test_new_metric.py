"""A new metric is one entry of METRICS: every result, table, page and file then has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from small_runs import corpus, typed

# A metric that is not the project's, registered before anything reads METRICS.
PROGRAM = """
import sys

import numpy as np

from melt_ser.evaluation.metrics import METRICS, Metric, recall

METRICS["worst_recall"] = Metric(lambda confusion: np.nanmin(recall(confusion), axis=-1), "worst recall")

from melt_ser.report import main as report
from melt_ser.train import main as train

out, settings = sys.argv[1], sys.argv[2:]
sys.argv = ["train", *settings]
codes = [train()]
codes += [report([out, "--out", f"{out}/report.{suffix}"]) for suffix in ("md", "csv", "tex", "html")]
sys.exit(max(codes))
"""


@pytest.mark.slow
def test_a_metric_that_is_added_in_one_place_is_seen_everywhere(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    settings = typed(out, corpus(tmp_path / "corpus"))
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(out), *settings], capture_output=True, text=True, env={**os.environ}
    )
    assert run.returncode == 0, run.stderr
    assert "worst" in run.stdout  # the terminal's table
    row = json.loads(next(out.rglob("result.json")).read_text())["evals"][0]
    assert row["worst_recall"] == min(value for value in row["recall"].values() if value is not None)
    bounds = row["worst_recall_ci95"]
    if bounds is None:
        assert "worst recall" in row["interval_note"]
    else:
        assert bounds[0] <= row["worst_recall"] <= bounds[1]
    shown = f"{100 * row['worst_recall']:.1f}"
    table = pd.read_csv(out / "report.csv")
    assert table["worst_recall"].iloc[0] == pytest.approx(row["worst_recall"])
    assert {"worst_recall_low", "worst_recall_high"} <= set(table)
    for suffix in ("md", "tex", "html"):
        text = (out / f"report.{suffix}").read_text()
        assert "worst recall" in text and shown in text, suffix
    assert (out / "report.html").read_text().count("worst recall") >= 2  # the overview, and the details of the run
