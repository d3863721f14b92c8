"""Systems of attributes and of votes are compared with the best, on the utterances that both answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melt_ser import compare_runs
from melt_ser.reporting.collect import collect
from melt_ser.reporting.rated import one_rater, rated_systems
from melt_ser.reporting.rated_pairs import RatedPairs, compare_rated
from report_runs import copy, report
from small_runs import CLASSES, corpus, train

SPEAKERS = 8


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of attributes and one of votes, each tested on the speakers of one of two folds."""
    folder = tmp_path_factory.mktemp("rated")
    root = corpus(folder / "data", speakers=2 * SPEAKERS, each=6)
    table = pd.read_csv(root / "table.csv")
    generator = np.random.default_rng(0)
    for name in ("arousal", "valence"):
        table[name] = generator.uniform(1, 7, len(table)).round(2)
    for name in CLASSES:
        table[f"n_{name}"] = generator.integers(0, 4, len(table)) + (table["label"] == name) * 4
    table.drop(columns="label").to_csv(root / "table.csv", index=False)
    common = ["dataset.folds=2", "trainer=frozen", "trainer.epochs=1"]
    votes = [f"+dataset.votes.{name}=n_{name}" for name in CLASSES]
    return {
        "attributes": train(folder / "runs", root, *common, "dataset.target=attributes")[0],
        "votes": train(folder / "runs", root, *common, *votes, "dataset.target=distribution")[0],
    }


def system(run: Path, to: Path, change: Callable[[pd.DataFrame], pd.DataFrame], dropout: float) -> Path:
    """Copy a run as another system, with other predictions; `dropout` tells the systems apart."""

    def other(result: dict[str, Any]) -> None:
        result["config"]["head"].update(dropout=dropout)
        for row in result["ratings"]:  # so that the first one is the best
            row["values"] = {name: value and dropout for name, value in row["values"].items()}
            row["values"]["ccc"] = 1 - dropout

    folder = copy(run, to, other)
    for path in (folder / "predictions").glob("*.csv"):
        change(pd.read_csv(path)).to_csv(path, index=False)
    return folder


def answering(noise: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a function that makes the numbers of a table the right ones, with this noise."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        generator = np.random.default_rng(round(100 * noise))
        for name in ("arousal", "valence"):
            table[name] = table[f"{name}_reference"] + generator.normal(0, noise, len(table))
        return table

    return change


def compared(folder: Path) -> RatedPairs:
    return compare_rated(rated_systems(collect([folder]).runs))


def test_a_system_far_below_the_best_is_marked_and_one_as_good_is_not(runs: dict[str, Path], tmp_path: Path) -> None:
    for number, noise in enumerate((0.2, 0.21, 2.5)):
        system(runs["attributes"], tmp_path / str(number), answering(noise), dropout=0.1 * number)
    found = compared(tmp_path)
    assert found.notes == []
    assert [pair.system.first.of for pair in found.pairs] == [of for of in ("arousal", "valence", "mean") for _ in "12"]
    for pair in found.pairs:
        worse = pair.system.runs[0].folder.name == "2"
        assert (pair.difference.units, pair.difference.unit) == (SPEAKERS, "speaker")
        assert pair.mark == ("‡" if worse else "") and (pair.difference.difference > 0.2) == worse
        assert pair.p >= pair.difference.p
    systems = found.marked(rated_systems(collect([tmp_path]).runs))
    assert [one.mark for one in systems] == ["", "", "‡"] * 3


def test_a_system_without_a_score_comes_last(runs: dict[str, Path], tmp_path: Path) -> None:
    def scored(ccc: float | None, dropout: float) -> None:
        def other(result: dict[str, Any]) -> None:
            result["config"]["head"].update(dropout=dropout)
            for row in result["ratings"]:
                row["values"]["ccc"], row["ci95"]["ccc"] = ccc, None

        copy(runs["attributes"], tmp_path / str(dropout), other)

    scored(None, 0.1)
    scored(-0.5, 0.2)
    [first, second, *_] = rated_systems(collect([tmp_path]).runs)
    assert [first.mean.values["ccc"], second.mean.values["ccc"]] == [-0.5, None]


def test_the_report_and_the_library_show_the_comparisons(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, noise in enumerate((0.2, 2.5)):
        system(runs["attributes"], tmp_path / "runs" / str(number), answering(noise), dropout=0.1 * number)
    code, text, _ = report(tmp_path / "runs", capsys=capsys)
    assert code == 0
    assert "## Attributes and votes, compared with the best" in text and "8 speakers" in text
    assert "0.900‡" in text and "† ‡: worse than the best" in text
    for name in ("report.html", "report.tex"):
        assert report(tmp_path / "runs", "--out", tmp_path / name, capsys=capsys)[0] == 0
    assert 'id="rated-pairs"' in (tmp_path / "report.html").read_text()
    assert r"$^\ddagger$" in (tmp_path / "report.tex").read_text()
    rows = compare_runs(tmp_path / "runs").set_index("of")
    assert list(rows.index) == ["arousal", "valence", "mean"] and set(rows["metric"]) == {"ccc"}
    assert (rows["low"] < rows["difference"]).all() and (rows["p"] < 0.01).all() and (rows["low"] > 0).all()


def test_a_report_of_attributes_alone_explains_its_intervals_and_promises_no_scores_of_classes(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_no_interval(result: dict[str, Any]) -> None:
        result["run"]["seed"] = 1
        for row in result["ratings"]:
            row["ci95"]["pearson"] = None
            row["interval_note"] = "No interval of Pearson: with 8 speakers it would be -1 to 1."

    copy(runs["attributes"], tmp_path / "0")
    copy(runs["attributes"], tmp_path / "1", with_no_interval)
    legend = "Intervals: ˢ over speakers. [–] on csv: no interval, since with 8 speakers it would be -1 to 1."
    md, html, latex = (report(tmp_path, "--format", form, capsys=capsys)[1] for form in ("md", "html", "latex"))
    assert legend in html and legend.replace("[–]", r"\[–\]") in md
    assert r"$^{\mathrm{s}}$ over speakers" in latex
    assert all(r" ± 0.000 \[–\] | " in line for line in md.splitlines() if "2 seeds" in line)
    assert "Every score" not in md and 'id="overview"' not in html
    assert "2 runs have no classes, and so no details here" in html and "report fewer folders" not in html


def test_votes_are_compared_by_their_divergence_and_the_lowest_is_the_best(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    def even(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(**dict.fromkeys(CLASSES, 1 / 3))

    def right(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(**{name: 0.9 * table[f"share_{name}"] + 0.1 / 3 for name in CLASSES})

    system(runs["votes"], tmp_path / "right", right, dropout=0.1)
    system(runs["votes"], tmp_path / "even", even, dropout=0.2)
    [pair] = compared(tmp_path).pairs
    assert pair.best.runs[0].folder.name == "right"
    assert pair.difference.difference < -0.1 and pair.mark == "‡"


def test_only_common_utterances_count_and_what_cannot_be_compared_is_said(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    run = runs["attributes"]
    system(run, tmp_path / "a", answering(0.2), dropout=0.0)
    system(run, tmp_path / "b", lambda table: answering(0.5)(table).iloc[6:], dropout=0.1)
    assert {pair.difference.n for pair in compared(tmp_path).pairs} == {6 * (SPEAKERS - 1)}
    system(run, tmp_path / "c", lambda table: table.assign(arousal_reference=4.0), dropout=0.2)
    found = compared(tmp_path)
    assert len(found.pairs) == 4 and len(found.notes) == 4
    assert "are not compared by their arousal: they were tested against other ratings." in found.notes[0]
    next((tmp_path / "a" / "predictions").glob("*.csv")).unlink()
    assert "is not compared by its arousal" in compared(tmp_path).notes[0]


def test_tables_of_one_name_are_told_apart(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def other_table(result: dict[str, Any]) -> None:
        result["train"]["digest"] = "beef" * 16
        for row in result["ratings"]:
            row["digest"] = "beef" * 16

    copy(runs["attributes"], tmp_path / "a")
    assert {one.tested_on for one in rated_systems(collect([tmp_path]).runs)} == {"csv, fold 1"}
    copy(runs["attributes"], tmp_path / "b", other_table)
    found = {one.tested_on for one in rated_systems(collect([tmp_path]).runs)}
    assert len(found) == 2 and "csv, table beefbe, fold 1" in found
    assert "| csv, table beefbe, fold 1 |" in report(tmp_path, capsys=capsys)[1]


def test_another_corpus_has_no_fold_but_that_of_the_model(runs: dict[str, Path], tmp_path: Path) -> None:
    def elsewhere(result: dict[str, Any]) -> None:
        for row in result["ratings"]:
            row["corpus"] = "another"
        result["one_rater"] = [{**result["ratings"][0], "of": "arousal", "values": {"ccc": 0.5}}]

    copy(runs["attributes"], tmp_path / "a", elsewhere)
    found = collect([tmp_path]).runs
    assert {one.tested_on for one in rated_systems(found)} == {"another, model of fold 1"}
    assert [cells[0] for cells in one_rater(found)] == ["another"]
