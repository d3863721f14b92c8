"""Results of nkululeko and EmoBox, in files that these tools wrote, next to ours in a report."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from melt_ser.core.errors import InputError, SetupError
from melt_ser.reporting.beside import UNKNOWN_TRAINING, other_results_next_to
from melt_ser.reporting.collect import collect
from melt_ser.reporting.other_tools import read_other
from melt_ser.reporting.overview import system_scores
from report_runs import copy, rename, report, results

FILES = Path(__file__).parent / "other_tools"
NKULULEKO, EMOBOX = FILES / "nkululeko", FILES / "emobox"
PREDICTIONS = next(NKULULEKO.rglob("pred_*.csv"))


@pytest.fixture
def ours(runs: Path, tmp_path: Path) -> Path:
    """One of our runs under the name of EmoDB."""
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    return copy(one, tmp_path / "runs" / "ours", lambda result: rename(result, "emodb"))


def test_the_predictions_of_nkululeko_have_the_scores_that_it_printed() -> None:
    [result] = read_other("emodb", NKULULEKO)
    printed = re.search(r"UAR: ([\d.]+).*ACC: ([\d.]+)", next(NKULULEKO.rglob("*_conf.txt")).read_text())
    assert printed is not None
    assert [f"{result.figures[name]:.3f}" for name in ("ua", "wa")] == list(printed.groups()) == ["0.549", "0.584"]
    table = pd.read_csv(PREDICTIONS)
    assert result.figures["ua"] == pytest.approx(balanced_accuracy_score(table["truth"], table["predicted"]))
    assert result.figures["macro_f1"] == pytest.approx(f1_score(table["truth"], table["predicted"], average="macro"))
    assert (result.tool, result.n, result.classes) == ("nkululeko", 257, 7)
    assert result.model == "emotion_svm_os_scale-standard_set-eGeMAPSv02"
    assert result.answers is not None and result.answers["13a01ac"] == "fearful"


def test_the_report_of_nkululeko_is_read_if_there_are_no_predictions(tmp_path: Path) -> None:
    shutil.copytree(NKULULEKO, tmp_path / "n", ignore=shutil.ignore_patterns("pred_*"))
    [result] = read_other("emodb", tmp_path / "n")
    [predicted] = read_other("emodb", PREDICTIONS)
    for name in ("ua", "wa", "macro_f1"):
        assert result.figures[name] == pytest.approx(predicted.figures[name], abs=1e-9)
    assert (result.n, result.classes, result.answers) == (257, 7, None)


def test_the_dev_part_chooses_the_epoch_of_emobox_and_folds_have_their_mean() -> None:
    [result] = read_other("emodb", EMOBOX)
    assert result.figures == pytest.approx({"ua": (0.8974 + 0.8572) / 2, "wa": 0.86915, "macro_f1": 0.86005})
    assert result.n == 214 and result.note == "the mean of 2 folds, epochs 2, 2"  # fold 2's test is best in epoch 3
    [one] = read_other("emodb", EMOBOX / "fold_2" / "test_scores" / "epoch_3.txt")
    assert one.figures["ua"] == 0.8714 and one.model == "fold_2 epoch_3"


def test_an_epoch_that_nothing_has_chosen_is_refused(tmp_path: Path) -> None:
    shutil.copytree(EMOBOX / "fold_1" / "test_scores", tmp_path / "test_scores")
    with pytest.raises(InputError, match=r"test_scores has 3 epochs, and .*valid_scores.epoch_1\.txt is missing; give"):
        read_other("emodb", tmp_path)
    for number in (1, 3):
        (tmp_path / "test_scores" / f"epoch_{number}.txt").unlink()
    assert read_other("emodb", tmp_path)[0].figures["ua"] == 0.8974


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", "EER: 0.1", "has no result of nkululeko .* or EmoBox"),
        ("a.txt", '{"macro avg": ', "has a damaged classification report"),
        ("a.txt", '["macro avg"]', "has a damaged classification report"),
        ("a.txt", '{"anger": {"recall": 1}, "macro avg": {}}', "has a damaged classification report"),
        ("a.txt", "Sample [3], Overall UA     0.5", r"lacks scores of EmoBox \(UA, WA, Macro-F1\)"),
        ("a.txt", b"\xff\xfe{", "cannot be read"),
        ("pred_a.csv", "file,truth\na.wav,anger\n", "has no column 'predicted'"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: str | bytes, sentence: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=sentence) as caught:
        read_other("emodb", path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_path_is_a_mistake_of_the_command(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"There is no .*absent \(--beside\)"):
        read_other("emodb", tmp_path / "absent")


def with_answers(ours: Path, references: pd.Series, files: pd.Series) -> None:
    """Give our run the test utterances of the other tool."""
    result: dict[str, Any] = json.loads((ours / "result.json").read_text())
    row = next(row for row in result["evals"] if (row["corpus"], row["fold"]) == ("emodb", "all"))
    frame = pd.DataFrame({"utterance": files, "file": files, "speaker": "s", "fold": 1, "reference": references})
    frame = frame.assign(prediction=references, correct=True, **dict.fromkeys(row["classes"], 0.5))
    frame.to_csv(ours / row["predictions"], index=False)


def test_the_same_test_utterances_are_told_and_the_unknown_training_makes_the_row_grey(ours: Path) -> None:
    others = read_other("emodb", NKULULEKO)
    answers = others[0].answers
    assert answers is not None
    names = pd.Series(answers.index.str.upper(), dtype=object)
    for changed, sentence in ((0, None), (2, "2 of the 257 test utterances have another reference")):
        references = pd.Series(np.where(np.arange(257) < changed, "sarcastic", answers.to_numpy()))
        with_answers(ours, references, "wav/" + names + ".wav")
        [row] = other_results_next_to(others, system_scores(collect([ours]).runs))
        assert row.differs == ("7 classes there, 3 here", *([sentence] if sentence else []), UNKNOWN_TRAINING)
        assert (row.note == "the same test utterances with the same references") == (changed == 0)
        assert row.figures["ua"][1] == pytest.approx(others[0].figures["ua"])
    with_answers(ours, answers.reset_index(drop=True)[:100], "x/" + names[:100] + ".flac")
    [row] = other_results_next_to(others, system_scores(collect([ours]).runs))
    assert "100 of its 257 test files are among our 100" in row.differs


def test_the_test_files_of_folds_run_one_by_one_are_those_of_all(ours: Path, tmp_path: Path) -> None:
    answers = read_other("emodb", NKULULEKO)[0].answers
    assert answers is not None
    for fold, part in ((1, answers[:100]), (2, answers[100:])):

        def of_fold(result: dict[str, Any], fold: int = fold) -> None:
            result["config"]["dataset"]["fold"] = fold
            result["train"]["folds"] = result["train"]["folds"][:1]
            result["evals"] = [row | {"fold": fold} for row in result["evals"] if row["fold"] == "all"]

        folder = copy(ours, tmp_path / "folds" / str(fold), of_fold)
        result = json.loads((folder / "result.json").read_text())
        frame = pd.DataFrame({"utterance": part.index, "file": part.index, "fold": fold, "reference": part.array})
        frame = frame.assign(prediction=part.array, **dict.fromkeys(result["evals"][0]["classes"], 0.5))
        frame.to_csv(folder / result["evals"][0]["predictions"], index=False)
    [row] = other_results_next_to(read_other("emodb", NKULULEKO), system_scores(collect([tmp_path / "folds"]).runs))
    assert row.note == "the same test utterances with the same references"


def test_a_report_shows_results_of_other_tools(ours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = ("--beside", f"emodb={NKULULEKO}", "--beside", f"emodb={EMOBOX}")
    code, text, _ = report(ours, *both, capsys=capsys)
    rows = [line for line in text.splitlines() if "| nkululeko " in line or "| EmoBox; " in line]
    assert code == 0 and "Figures from elsewhere next to ours" in text
    assert any("(54.9, " in row and UNKNOWN_TRAINING in row for row in rows)
    assert any("(87.7, " in row and "the mean of 2 folds, epochs 2, 2" in row for row in rows)
    code, _, _ = report(ours, *both, "--out", tmp_path / "page.html", capsys=capsys)
    page = (tmp_path / "page.html").read_text()
    assert code == 0 and page.count('class="other-protocol"') >= 2 and "measured elsewhere" in page


def test_mistakes_and_damaged_files_cost_no_report(
    ours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, said = report(ours, "--beside", f"emodbb={NKULULEKO}", capsys=capsys)
    assert code == 2 and "No run of the report is tested on 'emodbb' (--beside); did you mean 'emodb'?" in said
    code, _, said = report(ours, "--beside", str(NKULULEKO), capsys=capsys)
    assert code == 2 and "names no path; write --beside <test corpus>=<file or folder>." in said
    code, _, said = report(ours, "--beside", f"emodb={NKULULEKO}", "--format", "csv", capsys=capsys)
    assert code == 2 and "--beside is for md and html, and this report is csv" in said
    (tmp_path / "empty").mkdir()
    code, text, said = report(ours, "--beside", f"emodb={tmp_path / 'empty'}", capsys=capsys)
    assert code == 1 and "# " in text and "has no result of nkululeko" in said
