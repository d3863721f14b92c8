"""The number format of a test (`eval.precision`, `predict --precision`): float32 unless asked, and never unsaid."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import melt_ser
from melt_ser.cli.compose import compose
from melt_ser.config import ScorePrecision
from melt_ser.core.errors import SetupError
from melt_ser.evaluate import evaluate
from melt_ser.evaluation.inference import predict_probabilities
from melt_ser.predict import main as predict
from melt_ser.training.device import make_accelerator
from small_models import FAMILIES, small_classifier
from small_runs import CLASSES, corpus, predictions, tones, train

NOTE = "Computed in bf16 (eval.precision), not in float32: scores may differ."


def test_a_result_says_its_precision_and_a_finished_run_is_scored_in_the_one_that_is_asked_for(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    exact, result = train(tmp_path / "runs", root)
    assert {row["precision"] for row in result["evals"]} == {"fp32"}
    before = predictions(exact)
    folder, result = train(tmp_path / "runs", root, "eval.precision=bf16")
    assert folder == exact  # the training is the same
    assert {row["precision"] for row in result["evals"]} == {"bf16"}
    assert all(NOTE in row["warnings"] for row in result["evals"])
    difference = np.abs(predictions(folder) - before).to_numpy().max()
    assert 0 < difference < 0.05
    _, result = train(tmp_path / "runs", root)
    assert {row["precision"] for row in result["evals"]} == {"fp32"}
    assert predictions(folder).equals(before)

    trained, result = train(tmp_path / "at_once", root, "eval.precision=bf16")  # scored by train itself
    assert {row["precision"] for row in result["evals"]} == {"bf16"}
    assert 0 < np.abs(predictions(trained) - before).to_numpy().max() < 0.05


def test_evaluate_scores_in_the_precision_that_is_asked_for(tmp_path: Path) -> None:
    folder, _ = train(tmp_path / "runs", corpus(tmp_path / "c"))
    other = corpus(tmp_path / "other", seed=1)
    scored = {}
    for precision in ("fp32", "bf16"):
        typed = [f"run={folder}", "dataset=csv", "dataset.name=other", f"dataset.root={other}", "device=cpu"]
        evaluate(compose([*typed, "dataset.table=table.csv", f"eval.precision={precision}"], "evaluate"))
        rows = [row for row in json.loads((folder / "result.json").read_text())["evals"] if row["corpus"] == "other"]
        assert {row["precision"] for row in rows} == {precision}
        scored[precision] = pd.read_csv(folder / "predictions" / "other.csv")[list(CLASSES)]
    assert 0 < np.abs(scored["fp32"] - scored["bf16"]).to_numpy().max() < 0.05
    typed = [*typed, "dataset.table=table.csv", "eval.precision=tf32"]
    with pytest.raises(SetupError, match="The precision tf32 needs a CUDA GPU, and this device is cpu"):
        evaluate(compose(typed, "evaluate"))


def test_predict_labels_in_the_precision_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = corpus(tmp_path / "c")
    folder, _ = train(tmp_path / "runs", root)
    tables = []
    for precision in ((), ("--precision", "bf16")):
        capsys.readouterr()
        assert predict([str(folder), str(root / "wav"), "--device", "cpu", "--format", "csv", *precision]) == 0
        tables.append(pd.read_csv(io.StringIO(capsys.readouterr().out))[list(CLASSES)])
    assert 0 < np.abs(tables[0] - tables[1]).to_numpy().max() < 0.05
    assert predict([str(folder), str(root / "wav"), "--device", "cpu", "--precision", "tf32"]) == 2
    assert "tf32 needs a CUDA GPU" in capsys.readouterr().err
    with pytest.raises(SetupError, match="precision is fp32, tf32, bf16, not 'fp16'"):
        melt_ser.load_model(folder, device="cpu", precision="fp16")
    exact, half = (melt_ser.load_model(folder, device="cpu", precision=each) for each in ("fp32", "bf16"))
    assert exact.digest() != half.digest()  # labels of one are not continued by the other


@pytest.mark.parametrize("kind", [*FAMILIES, "w2v_bert"])
def test_each_family_answers_in_bf16_almost_as_in_float32(kind: str, tmp_path: Path) -> None:
    model, clips = small_classifier(kind), tones(corpus(tmp_path / "c", speakers=1))
    exact, half = (
        predict_probabilities(model, clips, 4, make_accelerator("cpu"), precision=precision)
        for precision in (ScorePrecision.fp32, ScorePrecision.bf16)
    )
    assert exact.dtype == half.dtype == np.float32
    assert 0 < np.abs(exact - half).max() < 0.05
    assert not torch.is_autocast_enabled("cpu")
