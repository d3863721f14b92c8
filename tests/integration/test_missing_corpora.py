"""A missing test corpus stops neither the training nor the other tests, and is scored once it is available."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import small_runs
from corpus_trees import tone, urdu_tree
from melt_ser.cli.compose import compose
from melt_ser.core.errors import InputError, SetupError
from melt_ser.evaluate import evaluate
from melt_ser.report import main as report
from small_runs import corpus, outcome


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return corpus(tmp_path / "mine", classes=("angry", "happy", "sad"))


def on(tmp_path: Path, *names: str) -> list[str]:
    """Overrides that test on the named corpora; `urdu` is in a folder that a test may fill."""
    return [f"eval.corpora=[{','.join(names)}]", f"+eval.roots.urdu={tmp_path / 'urdu'}"]


def read(out: Path) -> tuple[Path, dict[str, Any]]:
    [path] = out.glob("*/*/*/result.json")
    return path.parent, json.loads(path.read_text())


def test_train_scores_the_other_corpora_first_and_a_missing_test_corpus_later(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    typed = on(tmp_path, "csv", "urdu", "demo_de")
    with pytest.raises(InputError, match="but urdu could not be scored.*Corpus 'urdu' is not at") as caught:
        small_runs.train(out, root, *typed)
    assert caught.value.exit_code == 1
    folder, result = read(out)
    assert {row["corpus"] for row in result["evals"]} == {"csv", "demo_de"}
    [entry] = result["unscored"]
    assert entry["corpus"] == "urdu" and entry["reason"].startswith("Corpus 'urdu' is not at")
    assert json.loads((folder / "failed.json").read_text())["exit_code"] == 1
    for form in ("md", "html"):
        assert report([str(out), "--format", form]) == 0
        assert "urdu is not scored: Corpus" in capsys.readouterr().out.replace("&#39;", "'")

    before = outcome(folder)
    with pytest.raises(InputError, match="urdu could not be scored"):
        small_runs.train(out, root, *typed)
    assert outcome(folder) == before, "no work is repeated"

    urdu_tree(tmp_path / "urdu", tone)
    small_runs.train(out, root, *typed)
    _, complete = read(out)
    assert complete["unscored"] == []
    assert complete["evals"][: len(result["evals"])] == result["evals"]
    assert {row["corpus"] for row in complete["evals"]} == {"csv", "demo_de", "urdu"}
    after = outcome(folder)
    assert {path for path in before if after.get(path) != before[path]} == {
        "failed.json",
        "result.json",
        "model/README.md",  # the card tells the same results
    }


def test_a_test_corpus_may_be_removed_once_it_was_scored(tmp_path: Path, root: Path) -> None:
    out = tmp_path / "runs"
    urdu_tree(tmp_path / "urdu", tone)
    small_runs.train(out, root, *on(tmp_path, "csv", "urdu"))
    (tmp_path / "urdu").rename(tmp_path / "elsewhere")
    _, result = small_runs.train(out, root, *on(tmp_path, "csv", "urdu"))
    assert result["unscored"] == []


def test_evaluate_adds_a_test_corpus_that_was_missing(tmp_path: Path, root: Path) -> None:
    with pytest.raises(InputError, match="urdu could not be scored"):
        small_runs.train(tmp_path / "runs", root, *on(tmp_path, "csv", "urdu"))
    urdu_tree(tmp_path / "urdu", tone)
    folder, _ = read(tmp_path / "runs")
    evaluate(compose([f"run={folder}", "device=cpu", "dataset=urdu", f"dataset.root={tmp_path / 'urdu'}"], "evaluate"))
    _, result = read(tmp_path / "runs")
    assert result["unscored"] == []


def test_a_damaged_test_corpus_is_reported_like_a_missing_one(tmp_path: Path, root: Path) -> None:
    urdu_tree(tmp_path / "urdu", lambda path: (path.parent.mkdir(parents=True, exist_ok=True), path.write_bytes(b"?")))
    with pytest.raises(InputError, match="urdu could not be scored.*No clip of 'urdu'"):
        small_runs.train(tmp_path / "runs", root, *on(tmp_path, "csv", "urdu"))
    assert {row["corpus"] for row in read(tmp_path / "runs")[1]["evals"]} == {"csv"}


def test_train_does_not_start_if_no_test_corpus_can_be_read(tmp_path: Path, root: Path) -> None:
    with pytest.raises(SetupError, match="Corpus 'urdu' is not at"):
        small_runs.train(tmp_path / "runs", root, *on(tmp_path, "urdu"))
    assert not list((tmp_path / "runs").glob("*/*/*/metrics.csv"))
