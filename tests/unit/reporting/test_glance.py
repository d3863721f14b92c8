"""The parts of a report that are read first: best systems, square tables, the plot of intervals, short warnings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from melt_ser.corpora.sentences import words_alone_note
from melt_ser.reporting.blocks import blocks_of
from melt_ser.reporting.collect import Run, collect
from melt_ser.reporting.contents import ReportData, make_report_data
from melt_ser.reporting.forest import forest, styles
from melt_ser.reporting.markdown import markdown
from melt_ser.reporting.matrix import matrices
from melt_ser.reporting.notices import notices
from melt_ser.reporting.overview import system_scores
from melt_ser.reporting.scores import interval_shown
from report_runs import EMOBOX_RUN, answering, copy, edit, rename, report, results, scored


@pytest.fixture
def one(runs: Path) -> Path:
    """Return the run on `first`, all folds, that was tested on `second` too."""
    return next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")


def contents_of(folder: Path) -> ReportData:
    return make_report_data(collect([folder]))


def of_fold(number: int, **more: Any) -> Any:
    """Return a change that makes a run one of a single fold."""

    def change(result: dict[str, Any]) -> None:
        result["config"]["dataset"]["fold"] = number
        result["train"]["folds"] = result["train"]["folds"][:1]
        kept = [row for row in result["evals"] if row["fold"] == number]
        result["evals"] = [row | more for row in kept]

    return change


def test_a_matrix_is_square_with_one_row_and_one_column_a_corpus(one: Path, tmp_path: Path) -> None:
    scores = {(train, test): (0.9, 0.8, 0.7) for train in ("first", "second") for test in ("third", "second", "first")}
    contents = contents_of(scored(one, tmp_path, scores))
    for blocks in contents.blocks:
        assert [block.method for block in blocks] == ["a", "b", "c"]
        for block in blocks:
            assert list(block.rows) == ["first", "second"]
            assert [name for name, _ in block.columns.values()] == ["first", "second", "third"]
            own = [(row, corpus[0]) for row in block.rows for corpus in block.columns if block.is_own(row, corpus)]
            assert own == [("first", "first"), ("second", "second")]


def test_a_cell_on_part_of_a_corpus_stands_in_its_column_and_says_its_part(one: Path, tmp_path: Path) -> None:
    copy(one, tmp_path / "all")
    copy(one, tmp_path / "fold", lambda result: of_fold(1)(result) or result["config"]["trainer"].update(epochs=7))
    contents = contents_of(tmp_path)
    [block] = contents.blocks[0]
    assert len(block.columns) == 2 and block.title == "trained on first"
    first = next(corpus for corpus in block.columns if corpus[0] == "first")
    assert {row: block.data(cells[first]) for row, cells in block.rows.items()} == {
        "hubert_tiny_random epochs=2": "all 2 folds",
        "hubert_tiny_random epochs=7": "fold 1",
    }


def test_of_several_scores_of_a_system_on_a_corpus_the_one_on_the_most_data_is_shown(one: Path, tmp_path: Path) -> None:
    copy(one, tmp_path / "all")
    copy(one, tmp_path / "fold", of_fold(1))
    contents = contents_of(tmp_path)
    [block] = contents.blocks[0]
    [cells] = block.rows.values()
    assert [cell.score.rows[0].fold for cell in cells.values()] == ["all", "mean"]
    assert len(contents.matrices[0].cells) == 3  # the fold of the own corpus stays in the comparisons


def test_a_fold_does_not_compete_with_the_mean_of_its_system_on_the_same_corpus(one: Path, tmp_path: Path) -> None:
    def mean(result: dict[str, Any]) -> None:
        for row in result["evals"]:
            row["n"] = 18 if row["corpus"] == "second" else row["n"]
            row["fold"] = "mean" if row["corpus"] == "second" and row["fold"] == "all" else row["fold"]

    copy(one, tmp_path / "all", mean)
    copy(one, tmp_path / "fold", lambda result: of_fold(1)(result) or mean(result))
    runs = collect([tmp_path]).runs
    for run in runs:
        kept = [row for row in run.evals if row.fold in ("all", "mean") or len(run.result.train.folds) == 1]
        run.whole_evals = lambda kept=kept: kept  # type: ignore[method-assign,misc]
    for matrix in matrices(system_scores(runs)):
        seconds = [cell.score.fold for cell in matrix.cells if cell.score.corpus == "second"]
        assert seconds == ["mean"]


@pytest.mark.parametrize(("split", "part"), [("all", "whole corpus"), ("test", "test")])
def test_folds_run_one_by_one_stand_beside_runs_of_all_folds_on_the_same_utterances(
    one: Path, tmp_path: Path, split: str, part: str
) -> None:
    def epochs_7(result: dict[str, Any]) -> None:
        result["config"]["trainer"]["epochs"] = 7

    copy(one, tmp_path / "all")
    for fold in (1, 2):
        copy(one, tmp_path / f"{fold}", lambda result, fold=fold: of_fold(fold)(result) or epochs_7(result))  # type: ignore[misc]
    for folder in tmp_path.iterdir():
        edit(folder, lambda row: row.update(split=split if row["corpus"] == "second" else row["split"]))
    contents = contents_of(tmp_path)
    found = {(test.corpus, test.detail, len(test.cells)) for test in contents.test_sets}
    assert found == {
        ("first", "whole corpus, 3 classes, 24 utterances", 2),
        ("second", f"{part}, 2 classes, 18 utterances", 2),
    }
    [folds] = {score for score in contents.system_scores if score.fold == "1, 2" and score.corpus == "first"}
    assert folds.n == 24 and interval_shown(folds) == ""
    [block] = contents.blocks[0]
    second = next(corpus for corpus in block.columns if corpus[0] == "second")
    assert block.part(second) == ("mean of 2 models" if split == "all" else "test, mean of 2 models")
    assert f"| first | first | test | 1, 2 | closed = open | 2 folds | {folds.n} |" in markdown(contents)
    assert {row.trained for row in contents.systems} == {"1 seed, all folds", "1 seed, fold 1, 2"}


def test_some_folds_alone_are_not_the_whole_corpus(one: Path, tmp_path: Path) -> None:
    for fold in (1, 2):
        copy(one, tmp_path / f"{fold}", of_fold(fold))
    contents = contents_of(tmp_path)
    [test] = [test for test in contents.test_sets if test.corpus == "first"]
    assert test.main and test.detail == "2 folds, 3 classes, 24 utterances"
    assert "[–] on first" not in markdown(contents) and "Intervals: " not in markdown(contents)


def test_a_lead_by_the_mean_over_folds_alone_is_not_significant(one: Path, tmp_path: Path) -> None:
    copy(one, tmp_path / "all")
    answering(tmp_path / "all", True)
    edit(tmp_path / "all", lambda row: row.update(ua=0.5))  # all answers are right: the tested UA is 1
    for fold in (1, 2):
        folder = copy(one, tmp_path / f"{fold}", of_fold(fold))
        answering(folder, False)
        result = json.loads((folder / "result.json").read_text())
        result["config"]["trainer"]["epochs"] = 7
        result["evals"] = [row | {"ua": 0.6} for row in result["evals"]]
        (folder / "result.json").write_text(json.dumps(result))
    for path in tmp_path.rglob("predictions/first*.csv"):
        table = pd.read_csv(path)
        table.assign(speaker=table["utterance"]).to_csv(path, index=False)
    first = next(test for test in contents_of(tmp_path).test_sets if test.corpus == "first")
    second = first.cells[1]
    assert second.comparison is not None and second.p is not None
    assert second.comparison.difference == -1 and second.p < 0.01 and second.mark == "" and not first.sure
    assert first.lead.endswith("points ahead of hubert_tiny_random epochs=2 by the mean over folds, but not by all "
                               "their answers together")  # fmt: skip


def test_folds_stand_in_the_order_of_their_numbers(one: Path, tmp_path: Path) -> None:
    for fold in (2, 10, 9):
        folder = copy(one, tmp_path / f"{fold}", of_fold(2))
        edit(folder, lambda row, fold=fold: row.update(fold=fold))
        result = json.loads((folder / "result.json").read_text())
        result["config"]["dataset"]["fold"] = fold
        (folder / "result.json").write_text(json.dumps(result))
    contents = contents_of(tmp_path)
    assert {score.fold for score in contents.system_scores} == {"2, 9, 10"}
    assert [row.trained for row in contents.systems] == ["1 seed, fold 2, 9, 10"]


def test_seeds_are_told_once_if_all_cells_share_them(runs: Path, tmp_path: Path) -> None:
    for folder, result in results(runs).items():
        if result["config"]["head"]["name"] == "linear" and result["train"]["corpus"] == "first":
            copy(folder, tmp_path / folder.name)
    contents = contents_of(tmp_path)
    [block] = contents.blocks[0]
    assert block.seeds == "2 seeds" and "seeds" not in "".join(block.data(cell) for cell in contents.matrices[0].cells)
    [row] = contents.systems
    assert row.trained == "2 seeds, all folds" and row.corpora == 1


def test_the_sentence_says_the_best_its_lead_and_how_sure_it_is(one: Path, tmp_path: Path) -> None:
    right = copy(one, tmp_path / "right")
    answering(right, True)
    result = json.loads((right / "result.json").read_text())
    for row in result["evals"]:
        row["ua_ci95"] = [0.8, 1.0]
    (right / "result.json").write_text(json.dumps(result))
    wrong = copy(one, tmp_path / "wrong", lambda result: result["config"]["trainer"].update(epochs=7))
    answering(wrong, False)
    found = {test.corpus: test for test in contents_of(tmp_path).test_sets}
    assert re.fullmatch(
        r"Best on first \(whole corpus, 3 classes, 24 utterances\): hubert_tiny_random epochs=2, UA 100\.0 "
        r"\[80\.0, 100\.0\]ˢ; 100\.0 points ahead of hubert_tiny_random epochs=7, not significantly "
        r"\(p = 0\.25, over 4 speakers\); chance 33\.3\.",
        found["first"].sentence,
    )
    assert not found["first"].sure


def test_a_lead_that_many_speakers_share_is_sure(one: Path, tmp_path: Path) -> None:
    right = copy(one, tmp_path / "right")
    wrong = copy(one, tmp_path / "wrong", lambda result: result["config"]["trainer"].update(epochs=7))
    for folder, is_right in ((right, True), (wrong, False)):
        answering(folder, is_right)
        path = folder / "predictions" / "first.csv"
        table = pd.read_csv(path)
        table.assign(speaker=[f"s{number // 2}" for number in range(len(table))]).to_csv(path, index=False)
    first = next(test for test in contents_of(tmp_path).test_sets if test.corpus == "first")
    assert "over 12 speakers" in first.sentence and "not significantly" not in first.sentence
    assert first.cells[1].mark == "‡"


def test_a_lead_that_may_be_chance_is_called_so(one: Path, tmp_path: Path) -> None:
    contents = contents_of(scored(one, tmp_path))
    for test in contents.test_sets:
        assert "not significantly (p = " in test.sentence and not test.sure
    assert "(trained on first)" in contents.test_sets[0].sentence


def test_a_single_system_is_the_best_of_nothing(one: Path, tmp_path: Path) -> None:
    copy(one, tmp_path / "run")
    sentences = [test.sentence for test in contents_of(tmp_path).test_sets]
    assert len(sentences) == 2 and all(sentence.startswith("Only system on ") for sentence in sentences)


def test_a_class_of_two_words_is_one_class(one: Path, tmp_path: Path) -> None:
    def in_two_words(result: dict[str, Any]) -> None:
        result.update(json.loads(json.dumps(result).replace('"happy"', '"very happy"')))

    copy(one, tmp_path / "two-words", in_two_words)
    copy(one, tmp_path / "one-word")
    contents = contents_of(tmp_path)
    assert {name for name in contents.matrices[0].columns.values() if name.startswith("first")} == {
        "first, 3 classes (angry, happy, sad)",
        "first, 3 classes (angry, sad, very happy)",
    }
    assert {test.detail for test in contents.test_sets if test.corpus == "first"} == {
        "whole corpus, 3 classes, 24 utterances"
    }


def test_a_fold_that_a_system_was_run_on_alone_is_compared_with_that_fold_of_the_others(
    one: Path, tmp_path: Path
) -> None:
    copy(one, tmp_path / "all")
    copy(one, tmp_path / "fold", lambda result: of_fold(1)(result) or result["config"]["trainer"].update(epochs=7))
    contents = contents_of(tmp_path)
    whole, fold = (test for test in contents.test_sets if test.corpus == "first")
    assert (whole.part, fold.part, whole.main, fold.main) == ("whole corpus", "fold 1", True, True)
    assert {cell.score.system for cell in fold.cells} == {f"hubert_tiny_random epochs={number}" for number in (2, 7)}
    assert sorted(cell.p is None for cell in fold.cells) == [False, True] and len(whole.cells) == 1


def test_tables_of_one_name_are_told_apart_with_a_sentence_why(one: Path, tmp_path: Path) -> None:
    def with_text(result: dict[str, Any]) -> None:
        result["config"]["dataset"]["table"] = "/data/with_text.csv"
        result["train"]["digest"] = "beef" * 16
        for row in result["evals"]:
            row["digest"] = "beef" * 16 if row["corpus"] == "first" else row["digest"]

    copy(one, tmp_path / "a")
    copy(one, tmp_path / "b", with_text)
    contents = contents_of(tmp_path)
    details = [test.detail for test in contents.test_sets if test.corpus == "first"]
    assert len(set(details)) == 2 and all(re.match(r"table \w{6}, whole corpus, ", detail) for detail in details)
    [sentence] = contents.several_tables
    assert sentence.startswith("2 tables have the name first: ") and "beefbe (with_text.csv)" in sentence
    assert "the column text" in sentence
    for test in contents.test_sets:
        assert test.corpus == "first" or "table" not in test.detail


def test_a_headline_on_words_that_speakers_read_says_so_and_is_not_sure(
    one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [note] = words_alone_note(pd.DataFrame({"text": ["It is cold today."] * 9}), "first")
    copy(one, tmp_path / "a", lambda result: result["warnings"].append(note))
    by_corpus = {test.corpus: test for test in contents_of(tmp_path).test_sets}
    caution = "What the words give it says nothing about emotion: the speakers read 1 sentence."
    assert by_corpus["first"].sentence.endswith(f". {caution}") and by_corpus["second"].caution == ""
    assert not by_corpus["first"].sure
    for form in ("md", "html"):
        assert caution in report(tmp_path, "--format", form, capsys=capsys)[1]


def test_published_figures_stand_in_the_panel_of_their_corpus(one: Path, tmp_path: Path) -> None:
    def published(result: dict[str, Any]) -> None:
        result["train"]["corpus"] = result["config"]["dataset"]["name"] = "emodb"
        for row in result["evals"]:
            row["corpus"] = "emodb" if row["corpus"] == "first" else row["corpus"]

    copy(one, tmp_path / "run", published)
    contents = contents_of(tmp_path)
    style = {row.key: "c0 s0" for row in contents.systems}
    plot = forest(contents.test_sets, style, contents.published, 30)
    marks = {panel.test_set.corpus: panel.published for panel in plot.panels}
    assert marks["second"] == [] and len(marks["emodb"]) > 1
    assert any("HuBERT-base 87.7 (EmoBox, Table 4)" in mark.text and mark.differs for mark in marks["emodb"])
    assert all(0 <= mark.at <= 1 for mark in marks["emodb"])


def test_a_published_figure_is_of_another_protocol_in_the_panel_of_a_single_fold(one: Path, tmp_path: Path) -> None:
    def as_emobox(result: dict[str, Any]) -> None:
        rename(result, "iemocap")
        for name, settings in EMOBOX_RUN.items():
            result["config"][name].update(settings)

    copy(one, tmp_path / "all", as_emobox)
    copy(one, tmp_path / "fold", lambda result: of_fold(1)(result) or as_emobox(result))
    contents = contents_of(tmp_path)
    plot = forest(contents.test_sets, {row.key: "c0 s0" for row in contents.systems}, contents.published, 30)
    differs = {
        panel.test_set.part: mark.differs
        for panel in plot.panels
        for mark in panel.published
        if mark.text.endswith("(EmoBox, Table 4)") and mark.text.startswith("HuBERT-base ")
    }
    assert differs == {"whole corpus": False, "fold 1": True}


def test_tests_of_a_single_class_have_a_scale(one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def of_one_class(result: dict[str, Any]) -> None:
        result["evals"] = [row for row in result["evals"] if row["corpus"] == "second"]
        for row in result["evals"]:
            if row["answer_set"] == "closed":
                row |= {"classes": ["angry"], "confusion": [[row["n"]]], "ua": 1.0, "ua_ci95": None}

    copy(one, tmp_path / "run", of_one_class)
    contents = contents_of(tmp_path)
    plot = forest(contents.test_sets, {row.key: "c0 s0" for row in contents.systems}, [], 30)
    assert [(panel.chance, [mark.at for mark in panel.marks]) for panel in plot.panels] == [(1.0, [1.0])]
    assert plot.ticks == [(0.0, "90"), (1.0, "100")]
    said = "Only system on second (whole corpus, 1 class, 18 utterances)"
    assert said in report(tmp_path, capsys=capsys)[1]
    assert "1 class, 18 utterances" in report(tmp_path, "--format", "html", capsys=capsys)[1]


def test_a_method_keeps_its_style_in_any_order_of_runs() -> None:
    before, after = styles(["a", "b"]), styles(["b", "a", "c"])
    assert len(set(after.values())) == 3 and before == {name: after[name] for name in before}
    assert len(set(styles([f"m{number:02d}" for number in range(32)]).values())) == 32


def test_warnings_of_a_kind_are_one_short_line(one: Path) -> None:
    run, other = Run(one, collect([one]).runs[0].result), Run(one, collect([one]).runs[0].result)
    found = notices(
        {
            "The backbone 'a_tiny' starts from random weights: it is for trying things out.": [run],
            "The backbone 'b_tiny' starts from random weights: it is for trying things out.": [run, other],
            "demo: The model answered 'sad' for all 12 utterances, like a model that has learned nothing.": [other],
            "demo, arousal: No interval of CCC: 2 speakers are too few; it needs 4.": [run],
            "urdu, mean: No interval of CCC: 3 speakers are too few; it needs 4.": [run],
        }
    )
    assert [(notice.short, notice.runs, len(notice.sentences)) for notice in found] == [
        ("The backbone … starts from random weights", 2, 2),
        ("demo: The model answered 'sad' for all 12 utterances, like a model that has learned nothing", 1, 1),
        ("No interval of CCC", 1, 2),
    ]


def test_markdown_and_page_have_the_same_order(one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored(one, tmp_path)
    parts = {
        "md": ("## Best", "## Trained and tested on each corpus", "## Ranks", "## Systems", "## Warnings", "## Runs"),
        "html": ('id="best"', 'id="corpora"', 'id="intervals"', 'id="ranks"', 'id="systems"', 'id="all-runs"'),
    }
    for form, titles in parts.items():
        text = report(tmp_path, "--format", form, capsys=capsys)[1]
        places = [text.index(title) for title in titles]
        assert places == sorted(places)


def test_blocks_of_an_empty_matrix_are_none(one: Path, tmp_path: Path) -> None:
    copy(one, tmp_path / "run", lambda result: result.update(evals=[]))
    contents = contents_of(tmp_path)
    assert blocks_of(contents.matrices[0], contents.methods) == [] and contents.test_sets == []
    assert forest([], {}, [], 30).ticks[-1] == (1.0, "100")
