"""Systems of a report are compared, and ranked over test corpora."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from melt_ser.reporting.collect import collect
from melt_ser.reporting.comparisons import compare_runs
from melt_ser.reporting.matrix import matrices
from melt_ser.reporting.overview import system_scores
from melt_ser.reporting.ranking import Ranking, rank_methods
from melt_ser.reporting.systems import method_names, system_names
from report_runs import answering, copy, edit, report, results, scored


def test_the_best_of_a_column_and_the_systems_significantly_below_it_are_marked(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    right = copy(one, tmp_path / "right")
    answering(right, True)
    also_right = copy(right, tmp_path / "also", lambda result: result["config"]["head"].update(hidden_sizes=[5]))
    wrong = copy(one, tmp_path / "wrong", lambda result: result["config"]["head"].update(hidden_sizes=[7]))
    answering(wrong, False)
    for matrix in matrices(system_scores(collect([tmp_path]).runs)):
        assert matrix.notes == [] and "Speakers are resampled." in matrix.compared
        for cell in matrix.cells:
            folder = cell.score.runs[0].folder
            assert cell.best == (folder in (right, also_right))
            assert cell.mark == "", "three or four speakers cannot tell that much"
            if folder == wrong:
                assert cell.comparison is not None
                assert (cell.comparison.difference, cell.comparison.interval) == (1, None)
                assert cell.p is not None and cell.p > 0.1
    for folder in (right, also_right, wrong):
        edit(folder, lambda row: row.update(ci_unit="utterance"))
        for path in (folder / "predictions").glob("*.csv"):
            pd.read_csv(path).assign(speaker="").to_csv(path, index=False)
    for matrix in matrices(system_scores(collect([tmp_path]).runs)):
        assert "utterances are resampled, since there are no two known speakers" in matrix.compared
        for cell in matrix.cells:
            assert cell.mark == ("‡" if cell.score.runs[0].folder == wrong else "")


def test_of_two_equally_good_systems_one_is_the_best_and_the_other_is_compared_with_it(
    runs: Path, tmp_path: Path
) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")

    def of_size(size: int) -> Any:
        return lambda result: result["config"]["head"].update(hidden_sizes=[size])

    for name, size in (("first", 3), ("second", 5), ("third", 7)):
        answering(copy(one, tmp_path / name, of_size(size)), True)
    compared = compare_runs([tmp_path])
    assert (compared["difference"] == 0).all()
    for _, table in compared.groupby(["tested_on", "answer_set"]):
        [best] = table["best"].unique()
        assert len(table) == 2 and {best, *table["system"]} == set(system_names(collect([tmp_path]).runs).values())


def test_systems_that_answered_other_utterances_are_not_compared(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["train"]["corpus"] == "second")
    copy(one, tmp_path / "a")
    other = copy(one, tmp_path / "b", lambda result: result["config"]["trainer"].update(epochs=7))
    path = other / "predictions" / "second.csv"
    path.write_text(
        path.read_text().replace("wav/s0", "wav/t0").replace("wav/s1", "wav/t1").replace("wav/s2", "wav/t2")
    )
    [matrix] = matrices(system_scores(collect([tmp_path]).runs))
    assert [cell.p for cell in matrix.cells] == [None, None]
    assert len(matrix.notes) == 1 and "is not compared with the best" in matrix.notes[0]


def ranked(folder: Path) -> Ranking | None:
    found = collect([folder]).runs
    return rank_methods(system_scores(found), method_names(found))


def test_methods_are_ranked_over_test_corpora_each_counted_once(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    ranking = ranked(scored(one, tmp_path))
    assert ranking is not None
    # On `second` the means over both trainings are 0.6, 0.5 and 0.35.
    assert [(row.method, row.mean_rank, round(row.ua, 3)) for row in ranking.rows] == [
        ("a", 1.0, 0.75),
        ("b", 2.0, 0.65),
        ("c", 3.0, 0.525),
    ]
    assert {row.letters for row in ranking.rows} == {"a"}
    assert "With 2 corpora no two of 3 methods can be that far apart" in " ".join(ranking.sentences)
    for form, shown in (("md", "| a | 1.00 | 75.0 | a |"), ("latex", r"a & a & 1.00 & 75.0 \\")):
        assert shown in report(tmp_path, "--format", form, capsys=capsys)[1]
    assert "Friedman" in report(tmp_path, "--format", "html", capsys=capsys)[1]


def test_scores_that_some_methods_lack_are_left_out_of_the_ranks_with_a_sentence(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    scored(one, tmp_path)
    shutil.rmtree(tmp_path / "second-c")
    copy(one, tmp_path / "stray", lambda result: result["config"]["backbone"].update(name="stray"))
    ranking = ranked(tmp_path)
    assert ranking is not None
    assert [(row.method, row.mean_rank) for row in ranking.rows] == [("a", 1.5), ("c", 2.0), ("b", 2.5)]
    assert ranking.sentences[-2:] == [
        "Not ranked, since scores are missing: stray.",
        "3 of 5 pairs of a training and a test set are left out, since a method lacks them: trained on first, tested "
        "on first (whole corpus, 3 classes); trained on first, tested on second (whole corpus, 2 classes); trained on "
        "second, tested on second (whole corpus, 2 classes).",
    ]


def test_two_methods_or_one_corpus_are_not_ranked(runs: Path, tmp_path: Path) -> None:
    assert ranked(runs) is None
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    scored(one, tmp_path, {("first", "first"): (0.9, 0.8, 0.7)})
    assert ranked(tmp_path) is None


def test_ranked_methods_have_the_names_of_the_other_tables_beside_a_run_without_classes(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def attributes_alone(result: dict[str, Any]) -> None:
        result["config"]["head"]["name"] = "other"
        result["evals"] = []

    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    scored(one, tmp_path)
    copy(one, tmp_path / "attributes", attributes_alone)
    ranking = ranked(tmp_path)
    assert ranking is not None
    assert [row.method for row in ranking.rows] == ["a mlp", "b mlp", "c mlp"]
    assert "a mlp" in report(tmp_path, "--format", "html", capsys=capsys)[1]
