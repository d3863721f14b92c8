"""The figures of a run are drawn from its result, in the format that is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import small_runs
from melt_ser.config import FigureFormat
from melt_ser.runs.folder import read_result
from melt_ser.runs.run_figures import draw_figures


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "figures").iterdir()}


def test_figures_of_a_finished_run_are_drawn_in_another_format_and_single_folds_have_none(
    runs: Path, tmp_path: Path
) -> None:
    finished = next(path.parent for path in sorted(runs.rglob("result.json")) if (path.parent / "folds").is_dir())
    folder = tmp_path / "run"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("model", "figures"))
    result = read_result(folder)
    draw_figures(folder, result, FigureFormat.pdf)
    confusions = {f"confusion_{name}.pdf" for name in ("first", "second", "second_ensemble")}
    assert names(folder) == {*confusions, "training_curve.pdf"}
    kept = folder / "figures" / "training_curve.pdf"
    kept.write_text("kept")
    draw_figures(folder, result, FigureFormat.pdf, corpora=())
    assert kept.read_text() == "kept"


def test_the_same_command_with_another_format_draws_the_figures_and_trains_nothing(tmp_path: Path) -> None:
    root = small_runs.corpus(tmp_path / "c")
    folder, result = small_runs.train(tmp_path / "runs", root, "dataset.folds=4", "dataset.fold=2")
    again, same = small_runs.train(tmp_path / "runs", root, "dataset.folds=4", "dataset.fold=2", "eval.figures=svg")
    assert (again, same) == (folder, result)
    assert {path.rpartition(".")[2] for path in names(folder)} == {"png", "svg"} and len(names(folder)) == 4
