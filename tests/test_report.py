"""`report`: what is found, what its figures are, and that every format says it whatever a corpus is called."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from melt_ser.report import main
from melt_ser.reporting.collect import collect
from melt_ser.reporting.contents import make_contents
from melt_ser.reporting.latex import latex
from melt_ser.reporting.matrix import matrices
from melt_ser.reporting.numbers import beside
from melt_ser.reporting.overview import overview, standings
from melt_ser.reporting.published import published_beside
from melt_ser.reporting.ranking import rank_methods
from melt_ser.reporting.summaries import decode_summary, mistake
from melt_ser.reporting.systems import system_names
from reports import HOSTILE, answering, copy, real_runs, rename, results, scored


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELT_SER_CACHE", str(folder / "cache"))
        return real_runs(folder)


def report(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """The exit code of the verb, and what it says on standard output and standard error."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


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
    assert "cannot be read" in reasons["seed0-e"]
    assert "schema version 0, not 1" in reasons["seed0-f"]
    assert "missing required field `digest` - at `$.train`" in reasons["seed0-g"]


def test_of_a_result_is_read_what_every_report_needs_and_nothing_more(runs: Path) -> None:
    for folder, result in results(runs).items():
        summary = decode_summary((folder / "result.json").read_bytes())
        assert summary is not None
        assert summary["config"] == result["config"]
        assert {"confusion", "slices", "recall"}.isdisjoint(summary["evals"][0])
        for row, whole in zip(summary["evals"], result["evals"], strict=True):
            with_temperature = row.pop("calibration")["ece_with_temperature"]
            assert with_temperature == whole["calibration"]["ece_with_temperature"]
            assert row == {key: whole[key] for key in row}


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        (("schema_version",), 2, "is of schema version 2, not 1"),
        (("config", "backbone", "family"), None, "has no sound 'config.backbone.family'"),
        (("evals", 0, "ua"), "much", r"got `str` - at `\$.evals\[0\].ua`"),
        (("evals", 0, "ua"), True, r"got `bool` - at `\$.evals\[0\].ua`"),
        (("evals", 0, "ua"), float("nan"), "JSON is malformed"),
        (("evals", 0, "ua_ci95"), [0.5], "array` of length >= 2"),
        (("evals", 0, "overlap"), "none", r"got `str` - at `\$.evals\[0\].overlap`"),
    ],
)
def test_a_damaged_result_is_told_by_its_part(
    runs: Path, part: tuple[str | int, ...], value: object, sentence: str
) -> None:
    result: Any = json.loads(next(runs.rglob("result.json")).read_text())
    within = result
    for key in part[:-1]:
        within = within[key]
    within[part[-1]] = value
    content = json.dumps(result).encode()
    assert decode_summary(content) is None
    assert re.search(sentence, mistake(content))


def test_exit_codes_tell_nothing_found_from_some_not_read(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(runs, capsys=capsys)[0] == 0
    code, _, said = report(tmp_path / "nowhere", capsys=capsys)
    assert (code, said.count("\n")) == (2, 1)
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
        (result["run"]["id"], row["corpus"], str(row["fold"]), row["protocol"])
        for result in results(runs).values()
        for row in result["evals"]
    ]
    assert sorted(table[["run", "corpus", "fold", "protocol"]].itertuples(index=False, name=None)) == sorted(expected)
    for result in results(runs).values():
        for row in result["evals"]:
            mine = table[
                (table["run"] == result["run"]["id"])
                & (table["seed"] == result["run"]["seed"])
                & (table["corpus"] == row["corpus"])
                & (table["fold"] == str(row["fold"]))
                & (table["protocol"] == row["protocol"])
            ]
            [one] = mine.to_dict("records")
            assert (one["ua"], one["wa_high"]) == pytest.approx((row["ua"], row["wa_ci95"][1]))
            assert (one["n"], one["dropped"]) == (row["n"], sum(row["dropped"].values()))
            assert float(one["ece_with_temperature"]) == pytest.approx(row["calibration"]["ece_with_temperature"])


def test_systems_are_one_over_seeds_and_named_by_what_sets_them_apart(runs: Path) -> None:
    found = collect([runs]).runs
    names = system_names(found)
    by_seed: dict[str, list[int]] = {}
    for run in found:
        by_seed.setdefault(names[run.system] + " on " + run.result["train"]["corpus"], []).append(
            run.result["run"]["seed"]
        )
    assert {name: sorted(seeds) for name, seeds in by_seed.items()} == {
        "hubert_tiny head=linear on first": [0, 1],
        "hubert_tiny head=mlp on first": [0],
        "hubert_tiny on second": [0],
    }


def test_systems_of_the_same_groups_are_told_apart_by_their_settings(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    copy(one, tmp_path / "a")
    copy(one, tmp_path / "b", lambda result: result["config"]["trainer"].update(epochs=7))
    copy(one, tmp_path / "c", lambda result: result["config"].update(out="elsewhere", device="cuda"))
    assert sorted(system_names(collect([tmp_path]).runs).values()) == [
        "hubert_tiny trainer.epochs=2",
        "hubert_tiny trainer.epochs=7",
    ]


def test_seeds_are_summarised_and_pooled_folds_are_not_counted_again(runs: Path) -> None:
    found = standings(collect([runs]).runs)
    linear = [one for one in found if one.system.endswith("head=linear")]
    assert {(one.corpus, one.protocol) for one in linear} == {
        ("first", "closed = open"),
        ("second", "closed"),
        ("second", "open"),
    }
    for one in linear:
        values = [
            row["ua"]
            for result in results(runs).values()
            for row in result["evals"]
            if result["config"]["head"]["name"] == "linear"
            and result["train"]["corpus"] == "first"
            and (row["corpus"], row["fold"]) == (one.corpus, "all")
            and row["protocol"] == one.protocol.split()[0]
        ]
        assert (one.summary.over, one.summary.count) == ("seed", 2)
        assert one.summary.mean["ua"] == pytest.approx(np.mean(values))
        assert one.summary.standard_deviation["ua"] == pytest.approx(np.std(values, ddof=1))


def test_a_copy_of_a_run_is_no_further_seed(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = next(folder for folder, result in results(runs).items() if result["train"]["corpus"] == "second")
    copy(one, tmp_path / "a" / one.name)
    copy(one, tmp_path / "b" / one.name)
    for form in ("md", "html"):
        code, text, said = report(tmp_path, "--format", form, capsys=capsys)
        assert code == 0
        assert f"left out: {tmp_path / 'b' / one.name}: the same run as {tmp_path / 'a' / one.name}" in said
        assert "Copies of runs" in text and "2 seeds" not in text


def test_other_data_of_the_same_name_is_another_system(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["train"]["corpus"] == "second")
    copy(one, tmp_path / "a" / one.name)
    copy(one, tmp_path / "b" / one.name, lambda result: result["train"].update(digest="beef" * 16))
    found = collect([tmp_path]).runs
    assert len(found) == len({run.system for run in found}) == 2
    assert all(re.search(r"dataset\.digest=\w{6}$", name) for name in system_names(found).values())


def test_test_sets_of_the_same_name_are_not_summarised_together(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["train"]["corpus"] == "second")

    def other_table(result: dict[str, Any]) -> None:
        result["run"]["seed"] = result["config"]["seed"] = 7
        for row in result["evals"]:
            row["digest"] = "beef" * 16

    copy(one, tmp_path / "a")
    copy(one, tmp_path / "b", other_table)
    found = standings(collect([tmp_path]).runs)
    assert [one.summary.count for one in found] == [1, 1]
    [matrix] = matrices(found)
    assert len(matrix.columns) == 2


def test_folds_that_were_run_one_by_one_are_summarised_over_folds(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["train"]["corpus"] == "second")

    def of_fold(number: int) -> Any:
        def change(result: dict[str, Any]) -> None:
            result["config"]["dataset"]["fold"] = number
            for row in result["evals"]:
                row.update(fold=number, ua=number / 10)

        return change

    for number in (1, 2, 3):
        copy(one, tmp_path / str(number), of_fold(number))
    [standing] = standings(collect([tmp_path]).runs)
    assert (standing.summary.over, standing.summary.count, standing.fold) == ("fold", 3, "1, 2, 3")
    assert standing.summary.mean["ua"] == pytest.approx(0.2)


def test_the_best_of_a_column_is_found_and_what_is_surely_below_it_is_marked(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    right = copy(one, tmp_path / "right")
    answering(right, True)
    also_right = copy(right, tmp_path / "also", lambda result: result["config"]["head"].update(hidden_sizes=[5]))
    wrong = copy(one, tmp_path / "wrong", lambda result: result["config"]["head"].update(hidden_sizes=[7]))
    answering(wrong, False)
    for matrix in matrices(standings(collect([tmp_path]).runs)):
        assert matrix.notes == []
        for cell in matrix.cells:
            folder = cell.standing.runs[0].folder
            assert cell.best == (folder in (right, also_right))
            assert cell.mark == ("‡" if folder == wrong else "")
            if folder == wrong:
                assert cell.comparison is not None
                assert cell.comparison.difference == 1


def test_systems_that_answered_other_utterances_are_not_compared(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["train"]["corpus"] == "second")
    copy(one, tmp_path / "a")
    other = copy(one, tmp_path / "b", lambda result: result["config"]["trainer"].update(epochs=7))
    path = other / "predictions" / "second.csv"
    path.write_text(
        path.read_text().replace("wav/s0", "wav/t0").replace("wav/s1", "wav/t1").replace("wav/s2", "wav/t2")
    )
    [matrix] = matrices(standings(collect([tmp_path]).runs))
    assert [cell.p for cell in matrix.cells] == [None, None]
    assert len(matrix.notes) == 1 and "is not compared with the best" in matrix.notes[0]


@pytest.mark.parametrize(
    ("file", "spoil", "note"),
    [
        ("predictions", lambda table: table.assign(angry="much"), "could not convert string to float: 'much'"),
        ("predictions", lambda table: table.drop(columns="angry"), "has no column 'angry'"),
        ("groups", lambda table: table.iloc[1:], "does not have each utterance once"),
        ("groups", lambda table: pd.concat([table, table]), "does not have each utterance once"),
        ("groups", None, "cannot be read: No such file or directory"),
    ],
)
def test_what_is_spoilt_beside_a_result_is_said_and_compared_with_nothing(
    runs: Path, tmp_path: Path, file: str, spoil: Any, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    copy(one, tmp_path / "a")
    path = copy(one, tmp_path / "b", lambda result: result["config"]["trainer"].update(epochs=7)) / file / "second.csv"
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
    assert code == 0 and "a confusion that is not one of its classes" in text


def test_a_file_is_of_the_format_of_its_suffix_or_of_the_one_given(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, said = report(runs, "--out", tmp_path / "report.pdf", capsys=capsys)
    assert (code, said.count("\n")) == (2, 1)
    assert "ends in none of .md, .csv, .tex, .html; end it so, or give --format" in said
    assert report(runs, "--out", tmp_path / "report.txt", "--format", "csv", capsys=capsys)[0] == 0
    assert len(pd.read_csv(tmp_path / "report.txt")) > 0


EMOBOX_RUN = {
    "backbone": {"family": "hubert", "checkpoint": "facebook/hubert-base-ls960"},
    "dataset": {"folds": "emobox"},
    "trainer": {"freeze": "everything"},
    "labels": {"name": "four"},
}


@pytest.mark.parametrize(
    ("group", "setting", "sentence"),
    [
        (None, {}, None),
        ("trainer", {"freeze": "nothing"}, "trainer.freeze is everything there, nothing here"),
        ("dataset", {"folds": 5}, "dataset.folds is emobox there, 5 here"),
        ("backbone", {"checkpoint": None}, "backbone.checkpoint is facebook/hubert-base-ls960 there, none here"),
    ],
)
def test_a_published_figure_stands_beside_ours_with_what_its_protocol_differs_in(
    runs: Path, tmp_path: Path, group: str | None, setting: dict[str, Any], sentence: str | None
) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")

    def change(result: dict[str, Any]) -> None:
        rename(result, "iemocap")
        for name, settings in {**EMOBOX_RUN, **({group: EMOBOX_RUN[group] | setting} if group else {})}.items():
            result["config"][name].update(settings)
        for row in result["evals"]:
            row["ua"] = 0.7

    copy(one, tmp_path / "run", change)
    beside = published_beside(standings(collect([tmp_path]).runs))
    [emobox] = [each for each in beside if each.source == "EmoBox, Table 4" and each.model == "HuBERT-base"]
    assert emobox.figures["ua"] == pytest.approx((0.7, 0.6387))
    assert emobox.differs == ((sentence,) if sentence else ())
    # SpeechBrain's random splits are no protocol of ours, whatever the run is.
    [random] = [each for each in beside if each.source.startswith("SpeechBrain")]
    assert "the splits are random utterances" in random.differs


def test_the_gain_of_melt_labels_is_that_of_systems_alike_but_for_the_corpus(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    checkpoint = "facebook/wav2vec2-base-960h"

    def trained_on(corpus: str, ua: float, epochs: int = 2) -> Any:
        def change(result: dict[str, Any]) -> None:
            result["config"]["backbone"].update(family="wav2vec2", checkpoint=checkpoint)
            result["config"]["trainer"].update(epochs=epochs)
            rename(result, corpus)
            for row in result["evals"]:
                row["corpus"] = "tess" if row["corpus"] == "second" else row["corpus"]
                row["ua"] = ua

        return change

    copy(one, tmp_path / "melt", trained_on("melt", 0.5))
    copy(one, tmp_path / "human", trained_on("melt_human", 0.2))
    copy(one, tmp_path / "other", trained_on("melt_human", 0.4, epochs=9))
    gains = {each.corpus: each for each in published_beside(standings(collect([tmp_path]).runs))}
    assert gains["tess"].figures["ua"] == pytest.approx((0.3, 0.1925))
    assert any("points or relative is not known" in text for text in gains["tess"].differs)


def test_of_the_papers_table_what_is_not_known_is_left_empty_and_each_condition_has_its_gain(
    runs: Path, tmp_path: Path
) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")

    def trained_on(corpus: str, both: bool, ua: float) -> Any:
        def change(result: dict[str, Any]) -> None:
            result["config"]["backbone"].update(family="wavlm", checkpoint="microsoft/wavlm-base-plus")
            result["config"]["dataset"]["both_labels"] = both
            rename(result, corpus)
            result["evals"] = [
                {**row, "corpus": "iemocap", "ua": ua} for row in result["evals"] if row["corpus"] == "second"
            ]

        return change

    for corpus, both, ua in (("melt", False, 0.5), ("melt", True, 0.6), ("melt_human", False, 0.4)):
        copy(one, tmp_path / f"{corpus}-{both}", trained_on(corpus, both, ua))
    copy(one, tmp_path / "melt_human-True", trained_on("melt_human", True, 0.3))
    gains = published_beside(standings(collect([tmp_path]).runs))
    assert sorted(gain.figures["ua"] for gain in gains) == [pytest.approx((0.1, None)), pytest.approx((0.3, None))]
    assert {beside(gain.figures["ua"]) for gain in gains} == {"10.0 (–)", "30.0 (–)"}
    assert {gain.note for gain in gains} == {"a gain; mixed by backbone, wav2vec 2.0 Aud gains most"}


def test_the_published_figures_are_those_of_the_source(shared_data: Path) -> None:
    facts = yaml.safe_load(Path("src/melt_ser/reporting/published.yaml").read_text())
    tables = {table["source"]: table for table in facts["tables"]}
    intra = pd.read_csv(shared_data / "reference" / "emobox_intra_corpus.csv")
    of = {(row.dataset.lower().replace("-", "_"), row.model.lower()): row for row in intra.itertuples()}
    for corpus, figures in tables["EmoBox, Table 4"]["figures"].items():
        for model, values in figures.items():
            row = of[corpus, model.lower()]
            assert values == [row.UA, row.WA, row.macroF1], (corpus, model)
    cross = pd.read_csv(shared_data / "reference" / "emobox_cross_corpus.csv")
    accuracy = {(row.train_col.lower(), row.test_row.lower(), row.model): row.accuracy for row in cross.itertuples()}
    for pair, figures in tables["EmoBox, Table 5"]["figures"].items():
        for model, values in figures.items():
            assert values == [accuracy[(*pair.split(" -> "), model.lower())]], (pair, model)


def test_markdown_shows_the_figures_and_escapes_what_a_corpus_is_called(
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
    heads = [number for number, line in enumerate(tables) if number + 1 < len(tables) and "---" in tables[number + 1]]
    for begin, end in zip(heads, [*heads[1:], len(tables)], strict=True):
        assert len(set(columns[begin:end])) == 1, tables[begin]


def hostile_latex(runs: Path, folder: Path) -> str:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    copy(one, folder / "a", lambda result: rename(result, HOSTILE + " ~^äß語"))
    copy(one, folder / "b", lambda result: result["config"]["trainer"].update(epochs=7))
    answering(folder / "b", True)
    return latex(make_contents(collect([folder])))


def test_latex_escapes_what_a_corpus_is_called(runs: Path, tmp_path: Path) -> None:
    text = hostile_latex(runs, tmp_path)
    assert r"\textbackslash{}end\{x\}" in text and r"50\%" in text and r"\$x\_1\$" in text and "[U+8A9E]" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "caption" not in line]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} <= {8, 4, 3}
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 3
    assert r"\textbf{" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(runs: Path, tmp_path: Path) -> None:
    text = hostile_latex(runs, tmp_path / "runs")
    preamble = re.findall(r"\\usepackage.*", text)[0]
    (tmp_path / "tables.tex").write_text(text)
    document = rf"\documentclass{{article}}{preamble}\begin{{document}}\input{{tables}}\end{{document}}"
    (tmp_path / "paper.tex").write_text(document)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in done.stdout


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


def test_the_command_of_a_run_is_what_a_shell_takes(tmp_path: Path) -> None:
    typed = ["dataset=csv", "dataset.root=my corpus", "eval.corpora=[demo]"]
    script = (
        "from melt_ser.launch import conf_folder; from melt_ser.sweep import command; import hydra, json\n"
        "@hydra.main(version_base='1.3', config_path=str(conf_folder()), config_name='config')\n"
        "def show(composed): print(json.dumps(command()))\n"
        "show()"
    )
    done = subprocess.run([sys.executable, "-c", script, *typed], capture_output=True, text=True, cwd=tmp_path)
    assert json.loads(done.stdout.splitlines()[-1]) == "dataset=csv 'dataset.root=my corpus' 'eval.corpora=[demo]'"


def test_methods_are_ranked_over_test_corpora_each_counted_once(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    ranking = rank_methods(standings(collect([scored(one, tmp_path)]).runs))
    assert ranking is not None
    # On `second` the means over both trainings are 0.6, 0.5 and 0.35.
    assert [(row.method, row.mean_rank, round(row.ua, 3)) for row in ranking.rows] == [
        ("a", 1.0, 0.75),
        ("b", 2.0, 0.65),
        ("c", 3.0, 0.525),
    ]
    assert {row.letters for row in ranking.rows} == {"a"}
    assert "With 2 corpora no two of 3 methods can be that far apart" in " ".join(ranking.sentences)
    for form, shown in (("md", "| a | 1.00 | 75.0 | a |"), ("latex", r"a & 1.00 & 75.0 & a \\")):
        assert shown in report(tmp_path, "--format", form, capsys=capsys)[1]
    assert "Friedman" in report(tmp_path, "--format", "html", capsys=capsys)[1]


def test_what_some_methods_lack_is_left_out_of_the_ranks_and_said(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    scored(one, tmp_path)
    shutil.rmtree(tmp_path / "second-c")
    copy(one, tmp_path / "stray", lambda result: result["config"]["backbone"].update(name="stray"))
    ranking = rank_methods(standings(collect([tmp_path]).runs))
    assert ranking is not None
    assert [(row.method, row.mean_rank) for row in ranking.rows] == [("a", 1.5), ("c", 2.0), ("b", 2.5)]
    assert ranking.sentences[-2:] == [
        "Not ranked, since scores are missing: stray.",
        "3 of 5 pairs of training and test are left out.",  # the stray one's two, and what `c` lacks
    ]


def test_two_methods_or_one_corpus_are_not_ranked(runs: Path, tmp_path: Path) -> None:
    assert rank_methods(standings(collect([runs]).runs)) is None
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    scored(one, tmp_path, {("first", "first"): (0.9, 0.8, 0.7)})
    assert rank_methods(standings(collect([tmp_path]).runs)) is None
