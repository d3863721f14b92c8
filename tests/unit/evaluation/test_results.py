"""The types of `result.json`: results of schema version 1 read, and are written again in version 2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from melt_ser.core.errors import InputError
from melt_ser.evaluate import main as evaluate
from melt_ser.evaluation.result_files import decode_result
from melt_ser.evaluation.results import Evaluation, Result, write_result
from melt_ser.report import main as report
from small_runs import CLASSES, corpus, train


def as_version_1(path: Path) -> dict[str, Any]:
    """Rewrite a result as the first version of melt_ser wrote it."""
    content: dict[str, Any] = json.loads(path.read_text())
    content["schema_version"] = 1
    content["evals"] = [
        {("protocol" if key == "answer_set" else key): value for key, value in row.items()} for row in content["evals"]
    ]
    trainer = content["config"]["trainer"]
    for new, old in (
        ("head_learning_rate", "learning_rate"),
        ("max_grad_norm", "clip_norm"),
        ("gradient_accumulation", "accumulation"),
    ):
        trainer[old] = trainer.pop(new)
    del content["config"]["backbone"]["kernels"]
    path.write_text(json.dumps(content))
    return content


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("version1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELT_SER_CACHE", str(folder / "cache"))
        return train(folder / "runs", corpus(folder / "corpus"))[0]


def test_a_result_of_version_1_is_one_system_with_the_runs_of_version_2(finished: Path, tmp_path: Path) -> None:
    """Its keys have other names and it does not know newer keys, but its settings are the same."""
    for name in ("old", "new"):
        shutil.copytree(finished, tmp_path / name)
    path = tmp_path / "new" / "result.json"
    content = json.loads(path.read_text())
    content["run"] |= {"id": "seed1-0", "seed": 1}
    content["config"]["seed"] = 1
    path.write_text(json.dumps(content))
    as_version_1(tmp_path / "old" / "result.json")
    assert report([str(tmp_path), "--out", str(tmp_path / "report.csv")]) == 0
    table = pd.read_csv(tmp_path / "report.csv")
    assert table["system"].nunique() == 1 and set(table["seed"]) == {0, 1}
    assert set(table["answer_set"]) == {"closed", "open"}


@pytest.mark.slow
def test_a_result_of_version_1_is_scored_on_another_corpus_and_becomes_version_2(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    before = as_version_1(run / "result.json")
    other = corpus(tmp_path / "other", seed=1)
    arguments = ["evaluate", f"run={run}", "dataset=csv", "dataset.name=other", f"dataset.root={other}"]
    monkeypatch.setattr("sys.argv", [*arguments, "dataset.table=table.csv", "device=cpu"])
    assert evaluate() == 0
    after = json.loads((run / "result.json").read_text())
    assert after["schema_version"] == 2
    assert [row["corpus"] for row in after["evals"]] == ["csv", "csv", "other", "other"]
    assert [row["answer_set"] for row in after["evals"]] == ["closed", "open"] * 2
    assert not any("protocol" in row for row in after["evals"])
    assert after["evals"][0]["ua"] == before["evals"][0]["ua"]
    assert after["train"]["classes"] == list(CLASSES)


def test_a_result_is_the_same_after_it_was_written_and_read(tmp_path: Path, finished: Path) -> None:
    path = finished / "result.json"
    result: Result = decode_result(path.read_bytes(), path, Result)
    write_result(tmp_path / "result.json", result)
    again: Result = decode_result((tmp_path / "result.json").read_bytes(), path, Result)
    assert again == result
    assert all(isinstance(row, Evaluation) and row.interval("ua") for row in again.evals)


def test_a_row_without_an_answer_set_is_refused(finished: Path) -> None:
    path = finished / "result.json"
    content = json.loads(path.read_text())
    for row in content["evals"]:
        row.pop("answer_set", None)
        row.pop("protocol", None)
    with pytest.raises(InputError, match=r"has no sound 'evals\[0\].answer_set'; run again with force=true"):
        decode_result(json.dumps(content).encode(), path, Result)
