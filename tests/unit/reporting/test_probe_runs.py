"""A report shows runs of a probe, alone and next to runs with a training curve."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest

import small_runs
from melt_ser.report import main
from report_runs import report

PROBE = ("trainer=probe", "head.layers=chosen", "dataset.name=first", "dataset.folds=2", "dataset.fold=all")


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a probe of two folds."""
    folder = tmp_path_factory.mktemp("probe")
    root = small_runs.corpus(folder / "c")
    return small_runs.train(folder / "runs", root, *PROBE)[0]


def training_of(page: str) -> list[str]:
    """Return the section "Training" of each run of a page, as text in one line."""
    sections = re.findall(r"<h3>Training</h3>(.*?)<h3>", page, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", section).split()) for section in sections]


def test_the_page_says_what_dev_chose_in_each_fold(probe: Path, tmp_path: Path) -> None:
    assert main([str(probe.parent), "--out", str(tmp_path / "page.html")]) == 0
    [text] = training_of((tmp_path / "page.html").read_text())
    fold = r"In fold {} dev chose C = [0-9.e-]+ and layer [01]: dev UA \d+\.\d %\."
    assert re.fullmatch(f"{fold.format(1)} {fold.format(2)}", text), text


@pytest.mark.parametrize("kind", ["md", "csv", "tex", "html"])
def test_probes_and_runs_with_epochs_stand_in_one_report(
    probe: Path, runs: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(probe, tmp_path / "all" / "probe")
    shutil.copytree(runs, tmp_path / "all" / "runs")
    out = tmp_path / f"report.{kind}"
    code, _, said = report(tmp_path / "all", "--out", out, capsys=capsys)
    assert code == 0, said
    text = out.read_text()
    if kind == "csv":
        rows = [row for row in csv.DictReader(text.splitlines()) if "probe" in row["system"]]
        assert {row["fold"] for row in rows} == {"all", "1", "2"}
    elif kind == "html":
        kinds = ["dev chose C" in section for section in training_of(text)]
        assert sorted(kinds) == [False] * (len(kinds) - 1) + [True]
        assert "is not at hand" not in " ".join(training_of(text))
    assert "probe" in text and "finetune" in text and "head=probe" not in text
