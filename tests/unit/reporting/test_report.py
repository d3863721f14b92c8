"""`report`: every format shows sound and damaged runs, for any name of a corpus."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest

from melt_ser.core.errors import InputError
from melt_ser.evaluation.result_files import decode_result
from melt_ser.evaluation.results import ResultSummary
from melt_ser.reporting.collect import collect
from melt_ser.reporting.matrix import matrices
from melt_ser.reporting.overview import overview, system_scores
from report_runs import HOSTILE, answering, as_older, copy, rename, report, results


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_runs_are_found_finished_or_not_and_never_within_a_run(runs: Path, tmp_path: Path) -> None:
    one = next(iter(results(runs)))
    finished = copy(one, tmp_path / "deep" / "er" / "seed0-a")
    copy(one, finished / "inside")
    copy(one, tmp_path / ".hidden" / "seed0-b")
    copy(one, tmp_path / "deep" / "seed0-c.previous")
    (tmp_path / "link").symlink_to(runs, target_is_directory=True)
    write(tmp_path / "deep" / "seed0-c" / "inputs.json", "{}")
    write(tmp_path / "seed0-d" / "failed.json", '{"reason": "out of memory"}')
    write(tmp_path / "seed0-e" / "result.json", '{"schema_version": 1')
    copy(one, tmp_path / "seed0-f", lambda result: result.update(schema_version=0))
    copy(one, tmp_path / "seed0-g", lambda result: result["train"].pop("digest"))
    found = collect([tmp_path, tmp_path / "deep"])
    assert [run.folder for run in found.runs] == [finished]
    assert [(note.folder.name, "seed0-c.previous" in note.reason) for note in found.unfinished] == [("seed0-c", True)]
    assert [(note.folder.name, note.reason) for note in found.failed] == [("seed0-d", "out of memory")]
    reasons = {note.folder.name: note.reason for note in found.unreadable}
    assert "is not JSON" in reasons["seed0-e"]
    assert "has schema version 0" in reasons["seed0-f"]
    assert "has no sound 'train.digest'" in reasons["seed0-g"]


def test_a_summary_of_a_result_has_what_every_report_needs_and_no_details(runs: Path) -> None:
    for folder, result in results(runs).items():
        path = folder / "result.json"
        summary = decode_result(path.read_bytes(), path, ResultSummary)
        assert summary.config == result["config"]
        for row, whole in zip(summary.evals, result["evals"], strict=True):
            known = msgspec.to_builtins(row)
            assert {"confusion", "slices", "recall"}.isdisjoint(known)
            with_temperature = known.pop("calibration")["ece_with_temperature"]
            assert with_temperature == whole["calibration"]["ece_with_temperature"]
            assert known == {key: whole[key] for key in known}


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        (("schema_version",), 3, "has schema version 3"),
        (("config", "backbone", "family"), None, "has no sound 'config.backbone.family'"),
        (("evals", 0, "ua"), "much", r"has no sound 'evals\[0\].ua'"),
        (("evals", 0, "ua"), True, r"has no sound 'evals\[0\].ua'"),
        (("evals", 0, "ua"), float("nan"), "is not JSON"),
        (("evals", 0, "ua_ci95"), [0.5], r"has no sound 'evals\[0\].ua_ci95'"),
        (("evals", 0, "overlap"), "none", r"has no sound 'evals\[0\].overlap'"),
    ],
)
def test_a_damaged_result_is_reported_with_its_damaged_part(
    runs: Path, part: tuple[str | int, ...], value: object, sentence: str
) -> None:
    result: Any = json.loads(next(runs.rglob("result.json")).read_text())
    within = result
    for key in part[:-1]:
        within = within[key]
    within[part[-1]] = value
    with pytest.raises(InputError, match=sentence):
        decode_result(json.dumps(result).encode(), Path("result.json"), ResultSummary)


def test_exit_codes_tell_no_runs_from_unreadable_runs(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(runs, capsys=capsys)[0] == 0
    code, _, said = report(tmp_path / "nowhere", capsys=capsys)
    assert (code, said.count("\n")) == (2, 1)
    code, _, said = report(next(runs.rglob("result.json")), capsys=capsys)
    assert code == 2 and "result.json is no folder; give folders of runs" in said
    write(tmp_path / "empty" / "seed0-a" / "failed.json", '{"reason": "out of memory"}')
    code, _, said = report(tmp_path / "empty", capsys=capsys)
    assert code == 2
    assert "There is no finished run" in said and "1 failed" in said and "out of memory" in said
    write(tmp_path / "empty" / "seed0-b" / "result.json", "no JSON")
    code, text, said = report(runs, tmp_path / "empty", capsys=capsys)
    assert code == 1
    assert "seed0-b" in said
    assert "out of memory" in text and "seed0-b" in text


def test_the_csv_has_each_evaluation_as_its_result_has_it(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "all.csv"
    assert report(runs, "--out", path, capsys=capsys)[0] == 0  # the format is that of the suffix
    table = pd.read_csv(path, dtype={"fold": str}, keep_default_na=False)
    expected = [
        (result["run"]["id"], row["corpus"], str(row["fold"]), row["answer_set"])
        for result in results(runs).values()
        for row in result["evals"]
    ]
    assert sorted(table[["run", "corpus", "fold", "answer_set"]].itertuples(index=False, name=None)) == sorted(expected)
    for result in results(runs).values():
        for row in result["evals"]:
            mine = table[
                (table["run"] == result["run"]["id"])
                & (table["seed"] == result["run"]["seed"])
                & (table["corpus"] == row["corpus"])
                & (table["fold"] == str(row["fold"]))
                & (table["answer_set"] == row["answer_set"])
            ]
            [one] = mine.to_dict("records")
            assert (one["ua"], one["chance"]) == pytest.approx((row["ua"], 1 / len(row["classes"])))
            assert (one["ci_unit"], one["interval_note"]) == (row["ci_unit"], row["interval_note"])
            assert (row["wa_ci95"] is None) == (one["wa_high"] == "")
            if row["wa_ci95"]:
                assert float(one["wa_high"]) == pytest.approx(row["wa_ci95"][1])
            assert (one["n"], one["dropped"]) == (row["n"], sum(row["dropped"].values()))
            ece, spread = row["calibration"]["ece_with_temperature"], row["spread"].get("ua")
            for cell, value in ((one["ece_with_temperature"], ece), (one["ua_spread"], spread)):
                assert cell == "" if value is None else float(cell) == pytest.approx(value)
            assert one["models"] == row["models"]


@pytest.mark.parametrize(
    ("file", "spoil", "note"),
    [
        ("predictions", lambda table: table.assign(angry="much"), "could not convert string to float: 'much'"),
        ("predictions", lambda table: table.drop(columns="angry"), "has no column 'angry'"),
        ("groups", lambda table: table.iloc[1:], "does not have each utterance once"),
        ("groups", lambda table: pd.concat([table, table]), "does not have each utterance once"),
        ("groups", None, "cannot be read (No such file or directory); run again"),
    ],
)
def test_damaged_files_next_to_a_result_are_reported_and_not_compared(
    runs: Path, tmp_path: Path, file: str, spoil: Any, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files are those of older runs, which had groups."""
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    as_older(copy(one, tmp_path / "a"))
    as_older(copy(one, tmp_path / "b", lambda result: result["config"]["trainer"].update(epochs=7)))
    path = tmp_path / "b" / file / "second.csv"
    if spoil is None:
        path.unlink()
    else:
        spoil(pd.read_csv(path)).to_csv(path, index=False)
    for form in ("md", "html"):
        code, text, _ = report(tmp_path, "--format", form, capsys=capsys)
        assert code == 0
        assert note in html.unescape(text).replace("\\", "")


def test_a_confusion_of_other_classes_costs_the_details_of_its_run(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next(iter(results(runs)))
    copy(one, tmp_path / "a", lambda result: result["evals"][0].update(classes=[], confusion=[]))
    code, text, _ = report(tmp_path, "--format", "html", capsys=capsys)
    assert code == 0 and "a confusion matrix that does not fit its classes" in text


def test_a_report_has_the_format_of_its_suffix_or_the_given_format(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, said = report(runs, "--out", tmp_path / "report.pdf", capsys=capsys)
    assert (code, said.count("\n")) == (2, 1)
    assert "ends in none of .md, .csv, .tex, .html; end it so, or give --format" in said
    assert report(runs, "--out", tmp_path / "report.txt", "--format", "csv", capsys=capsys)[0] == 0
    assert len(pd.read_csv(tmp_path / "report.txt")) > 0


def test_markdown_shows_the_figures_and_escapes_the_name_of_a_corpus(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    copy(one, tmp_path / "run", lambda result: rename(result, HOSTILE + "\nnext"))
    _, text, _ = report(tmp_path, capsys=capsys)
    result = results(tmp_path)[tmp_path / "run"]
    row = next(row for row in result["evals"] if row["fold"] == "all")
    assert f"{100 * row['ua']:.1f} \\[{100 * row['ua_ci95'][0]:.1f}" in text
    assert "<script>" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    columns = [len(re.findall(r"(?<!\\)\|", line)) for line in tables]
    header_rows = [
        number for number, line in enumerate(tables) if number + 1 < len(tables) and "---" in tables[number + 1]
    ]
    for begin, end in zip(header_rows, [*header_rows[1:], len(tables)], strict=True):
        assert len(set(columns[begin:end])) == 1, tables[begin]


def test_results_without_newer_keys_are_reported_all_the_same(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next(iter(results(runs)))

    def older(result: dict[str, Any]) -> None:
        result["run"].pop("command")
        for row in result["evals"]:
            for key in ("calibration", "slices", "groups", "ece", "overlap", "macro_f1_ci95"):
                row.pop(key, None)

    copy(one, tmp_path / "run", older)
    for form in ("md", "csv", "latex", "html"):
        code, text, _ = report(tmp_path, "--format", form, capsys=capsys)
        assert code == 0
    assert "Not in this result" in text and "The curve is not in this result" in text


def two_systems(runs: Path, folder: Path) -> list[Path]:
    """Copy a run of two folds as a system `b` that is always right, and a system `a` that never is."""
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    copies = [
        copy(one, folder / name, lambda result, epochs=epochs: result["config"]["trainer"].update(epochs=epochs))
        for name, epochs in (("a", 5), ("b", 7))
    ]
    for path, right in zip(copies, (False, True), strict=True):
        answering(path, right)
    return copies


@pytest.mark.parametrize("older", [False, True])
def test_means_over_models_are_compared_model_by_model_and_older_results_as_before(
    older: bool, runs: Path, tmp_path: Path
) -> None:
    for path in two_systems(runs, tmp_path):
        if older:
            as_older(path)
    scores = system_scores(collect([tmp_path]).runs)
    matrix = matrices(scores)[0]
    [worse] = [cell for cell in matrix.cells if cell.score.corpus == "second" and cell.comparison is not None]
    assert matrix.notes == []
    assert worse.comparison is not None and worse.comparison.difference == 1.0
    row = worse.score.rows[0]
    assert (row.fold, row.n, row.models) == (("all", 36, 1) if older else ("mean", 18, 2))


def test_predictions_of_several_models_without_their_folds_are_reported_and_not_compared(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = two_systems(runs, tmp_path)[0] / "predictions" / "second.csv"
    pd.read_csv(path).drop(columns="fold").to_csv(path, index=False)
    for form in ("md", "html"):
        code, text, _ = report(tmp_path, "--format", form, capsys=capsys)
        assert code == 0 and "has no column 'fold'" in html.unescape(text)


def test_the_mean_over_models_shows_their_number_and_their_spread(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = two_systems(runs, tmp_path / "runs")[0]

    def spread(result: dict[str, Any]) -> None:
        for row in result["evals"]:
            row["spread"] = {"ua": 0.123} if row["spread"] else {}

    copy(one, tmp_path / "spread" / "a", spread)
    for form in ("md", "html"):
        _, text, _ = report(tmp_path / "spread", "--format", form, capsys=capsys)
        assert "± 12.3" in text and ("2 models" if form == "md" else "mean of 2 models") in text


def test_reporting_needs_no_torch(runs: Path) -> None:
    code = (
        "import sys; from melt_ser.report import main\n"
        f"main([{str(runs)!r}, '--format', 'html'])\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_overview_of_no_run_is_empty() -> None:
    assert overview([]).empty


def test_the_command_of_a_run_is_quoted_for_a_shell(tmp_path: Path) -> None:
    typed = ["dataset=csv", "dataset.root=my corpus", "eval.corpora=[demo]"]
    script = (
        "from melt_ser.cli.launch import conf_folder; from melt_ser.cli.sweep import command; import hydra, json\n"
        "@hydra.main(version_base='1.3', config_path=str(conf_folder()), config_name='config')\n"
        "def show(composed): print(json.dumps(command()))\n"
        "show()"
    )
    done = subprocess.run([sys.executable, "-c", script, *typed], capture_output=True, text=True, cwd=tmp_path)
    assert json.loads(done.stdout.splitlines()[-1]) == "dataset=csv 'dataset.root=my corpus' 'eval.corpora=[demo]'"
