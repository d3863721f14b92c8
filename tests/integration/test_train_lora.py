"""A run with trainer=lora, end to end: an ordinary model at its end, and only adapters on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from transformers import pipeline

from melt_ser.cli.compose import compose, load_config
from melt_ser.evaluate import evaluate
from melt_ser.models.export import load_model
from melt_ser.predict import main as predict
from melt_ser.runs.fold import build_model
from small_runs import CLASSES, NO_DROPOUT, SMALL, corpus, outcome, predictions, train
from stopped_runs import stopped_after_checkpoint

LORA = ("trainer=lora", "trainer.lora_rank=2", "trainer.refit=false")
LEARNS = ("trainer.head_learning_rate=1e-2", "trainer.backbone_learning_rate=1e-2", "trainer.epochs=4")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """A corpus, and the folder and result of a run on it."""
    place = tmp_path_factory.mktemp("lora")
    root = corpus(place / "c")
    return root, *train(place / "runs", root, *LORA, *LEARNS)


def test_predict_and_evaluate_read_the_saved_model_like_any_other(
    finished: tuple[Path, Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, folder, result = finished
    scored = predictions(folder)[list(CLASSES)]
    clips = [str(root / f"{name}.wav") for name in scored.index]
    capsys.readouterr()
    assert predict([str(folder), *clips, "--format", "json", "--device", "cpu"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert np.array([[row[name] for name in CLASSES] for row in rows]) == pytest.approx(scored.to_numpy(), abs=1e-4)
    again = (f"run={folder}", "dataset=csv", "dataset.name=again", f"dataset.root={root}", "dataset.table=table.csv")
    evaluate(compose([*again, "eval.allow_overlap=true", "device=cpu"], "evaluate"))
    table = pd.read_csv(folder / "predictions" / "again_all.csv", index_col="utterance")
    assert table.loc[scored.index, list(CLASSES)].to_numpy() == pytest.approx(scored.to_numpy(), abs=1e-4)
    assert result["config"]["trainer"]["lora_rank"] == 2


def test_the_saved_model_differs_from_the_pretrained_one_in_the_adapted_weights_alone(
    finished: tuple[Path, Path, dict[str, Any]],
) -> None:
    _, folder, _ = finished
    plain = load_config(*SMALL, "head=one_layer", "trainer.freeze=0")
    before = build_model(plain, list(CLASSES)).backbone.state_dict()
    after = load_model(folder / "model").backbone.state_dict()
    assert before.keys() == after.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    projections = (f"attention.{name}_proj" for name in ("q", "k", "v", "out"))
    linear = (*projections, "feed_forward.intermediate_dense", "feed_forward.output_dense")
    assert changed == {f"model.encoder.layers.0.{name}.weight" for name in linear}
    for name in changed:
        assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) == 2


def test_plain_transformers_load_the_saved_model(finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    root, *_ = finished
    folder, _ = train(tmp_path, root, *LORA, *LEARNS, "head=linear")
    classify = pipeline("audio-classification", model=str(folder / "model"), device="cpu")
    for name, row in predictions(folder)[list(CLASSES)].iterrows():
        audio, _ = soundfile.read(root / f"{name}.wav", dtype="float32")
        answer = {entry["label"]: entry["score"] for entry in classify(audio, top_k=None)}
        assert answer == pytest.approx(row.to_dict(), abs=1e-4)


@pytest.mark.parametrize("more", [("trainer.average=0.9",), ("trainer.lora_dropout=0.1", "trainer.refit=true")])
def test_a_stopped_run_resumes_exactly_from_a_checkpoint_of_adapters_and_head(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path, more: tuple[str, ...]
) -> None:
    root, *_ = finished
    whole, _ = train(tmp_path / "whole", root, *LORA, *LEARNS, *more)
    with stopped_after_checkpoint(lambda _, state: state.epoch == 2):
        train(tmp_path / "stopped", root, *LORA, *LEARNS, *more)
    [checkpoint] = (tmp_path / "stopped").rglob("checkpoints/epoch0002")
    names = set(load_file(checkpoint / "model.safetensors"))
    assert len(names) == 2 * 6 + 2
    assert all(".lora_" in name or name.startswith("head.") for name in names)
    resumed, _ = train(tmp_path / "stopped", root, *LORA, *LEARNS, *more)
    assert outcome(resumed) == outcome(whole)


def test_both_kernels_learn_the_same(finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    root, *_ = finished
    settings = (*LORA, *LEARNS, *NO_DROPOUT, "backbone=wavlm_tiny_random", "augment=nothing")
    folders = [
        train(tmp_path / name, root, *settings, f"backbone.kernels={name}")[0] for name in ("fast", "transformers")
    ]
    assert folders[0].name == folders[1].name
    losses = [pd.read_csv(folder / "metrics.csv")["train_loss"] for folder in folders]
    assert np.abs(losses[0] - losses[1]).max() < 1e-4
    assert np.abs(predictions(folders[0]) - predictions(folders[1])).to_numpy().max() < 1e-4


@pytest.mark.parametrize(
    "more",
    [
        ("trainer.precision=bf16", "head=weighted"),
        ("trainer.gradient_checkpointing=true", "trainer.layer_decay=0.5"),
        ("backbone=whisper_random", "backbone.checkpoint=null", "augment=masking"),
        ("head=attentive_statistics", "augment=nothing", "dataset.folds=2", "dataset.fold=all"),
    ],
    ids=" ".join,
)
def test_lora_goes_with_the_other_settings(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path, more: tuple[str, ...]
) -> None:
    root, *_ = finished
    folder, result = train(tmp_path, root, *LORA, *LEARNS, *more)
    model = next(folder.rglob("model/melt_ser.json")).parent
    assert not any("lora" in name for path in model.glob("*.safetensors") for name in load_file(path))
    assert result["evals"][0]["n"] > 0
