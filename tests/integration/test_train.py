"""A training run, end to end, on small real inputs: every file of the run folder, and the effect of each setting."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from melt_ser.cli.compose import compose
from melt_ser.core.errors import InputError, SetupError
from melt_ser.evaluate import evaluate
from melt_ser.evaluation.calibration import calibrate
from melt_ser.evaluation.comparison import compare
from melt_ser.models.export import load_model
from melt_ser.models.families import load_backbone
from small_runs import CLASSES, FROZEN_RUNS, corpus, outcome, train
from stopped_runs import stopped_at


def test_a_run_folder_is_complete_and_its_metrics_follow_from_its_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, result = train(tmp_path / "runs", corpus(tmp_path / "c"), "dataset.folds=4", "dataset.fold=2")
    assert capsys.readouterr().out.splitlines()[-1] == f"result: {folder / 'result.json'}"
    assert folder.parent == tmp_path / "runs" / "hubert_tiny_random" / "csv"
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"config.yaml", "result.json", "metrics.csv", "splits.csv", "model/config.json"} <= present
    assert {"predictions/csv.csv", "figures/confusion_csv.png", "figures/training_curve.png"} <= present
    assert not (folder / "checkpoints").exists()
    assert result["schema_version"] == 2
    assert set(result) == {
        "schema_version",
        "run",
        "config",
        "train",
        "evals",
        "ratings",
        "one_rater",
        "unscored",
        "warnings",
    }
    assert {"id", "experiment", "git", "versions", "device", "seed", "seconds"} <= set(result["run"])
    assert {"corpus", "digest", "n", "classes", "best_epoch", "dev_ua"} <= set(result["train"])
    assert result["train"]["classes"] == list(CLASSES)

    closed, opened = result["evals"]
    assert (closed["answer_set"], opened["answer_set"]) == ("closed", "open")
    predictions = pd.read_csv(folder / closed["predictions"])
    described = ["utterance", "file", "speaker", "fold", "reference", "prediction", "correct"]
    assert list(predictions.columns) == [*described, *CLASSES]
    assert set(predictions["fold"]) == {2} and predictions["speaker"].nunique() == 1
    assert closed["ua"] == pytest.approx(balanced_accuracy_score(predictions.reference, predictions.prediction))
    assert closed["wa"] == pytest.approx(accuracy_score(predictions.reference, predictions.prediction))
    assert closed["n"] == len(predictions) == 6
    assert closed["digest"] == result["train"]["digest"]
    assert "groups" not in closed  # of older runs
    assert {entry["by"] for entry in closed["slices"]} == {"duration"}


def test_the_temperature_of_a_run_fits_its_saved_models_on_dev(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c", speakers=6)
    settings = ("dataset.folds=2", "dataset.fold=all", "trainer.epochs=1")
    folder, result = train(tmp_path / "runs", root, *settings)
    splits = pd.read_csv(folder / "splits.csv")
    for fold in result["train"]["folds"]:
        part = splits[(splits["fold"] == fold["fold"]) & (splits["split"] == "dev")]
        answers = predict_rows(folder / fold["folder"] / "model", [root / f"{name}.wav" for name in part["utterance"]])
        reference = np.array([CLASSES.index(CLASSES[int(name[-1]) % 3]) for name in part["utterance"]])
        dev = calibrate(answers, reference)
        assert fold["temperature"] == pytest.approx(dev.temperature, rel=1e-2)
        assert fold["dev_ece"] == pytest.approx(dev.ece, abs=2e-3)  # dev is read from features cached in float16
    temperatures = [fold["temperature"] for fold in result["train"]["folds"]]
    assert temperatures[0] != temperatures[1] and 1.0 not in temperatures
    pooled, own = result["evals"][0]["calibration"], [row["calibration"] for row in result["evals"][2::2]]
    assert pooled["temperature"] == pytest.approx(np.mean(temperatures))
    assert [entry["temperature"] for entry in own] == temperatures
    assert sum(point["n"] for point in pooled["curve"]) == result["evals"][0]["n"] == 36
    assert result["evals"][0]["ece"] == pooled["ece"]


def predict_rows(model: Path, clips: list[Path]) -> np.ndarray:
    """Return the probabilities of a saved model for whole clips, (clips, classes), computed one at a time."""
    loaded = load_model(model, torch.device("cpu")).eval()
    with torch.no_grad():
        audio = [torch.from_numpy(soundfile.read(clip, dtype="float32")[0])[None] for clip in clips]
        logits = [loaded(clip, torch.tensor([clip.shape[1]])) for clip in audio]
    return np.asarray(torch.cat(logits).softmax(dim=-1))


def test_two_runs_can_be_compared_by_their_folders_alone(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    runs = [
        train(tmp_path / "runs", root, "dataset.folds=2", "dataset.fold=all", "eval.corpora=[csv,demo_de]", seed)
        for seed in ("seed=0", "seed=1")
    ]
    for position in (0, 2):  # the training corpus, and the mean over the folds' models on another
        rows = [result["evals"][position] for _, result in runs]
        first, second = (pd.read_csv(folder / row["predictions"]) for (folder, _), row in zip(runs, rows, strict=True))
        tables = [[own] if position == 0 else [part for _, part in own.groupby("fold")] for own in (first, second)]
        differences = []
        for one, other in zip(*tables, strict=True):
            comparison = compare(one, other, one["speaker"], rows[0]["classes"])
            speakers = one["speaker"].nunique()
            assert comparison.units == (speakers if speakers > 1 else len(one))
            assert comparison.n == rows[0]["n"] == rows[1]["n"]
            differences.append(comparison.difference)
        assert np.mean(differences) == pytest.approx(rows[0]["ua"] - rows[1]["ua"])


def test_a_run_pools_all_folds_and_is_skipped_once_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = corpus(tmp_path / "c", speakers=3)
    settings = ("dataset.folds=leave_one_out", "dataset.fold=all")
    folder, result = train(tmp_path / "runs", root, *settings)
    assert [row["fold"] for row in result["evals"]] == ["all", "all", 1, 1, 2, 2, 3, 3]
    pooled = pd.read_csv(folder / "predictions" / "csv.csv")
    assert sorted(pooled["utterance"]) == sorted(pd.read_csv(root / "table.csv")["audio"].str.removesuffix(".wav"))
    assert result["evals"][0]["n"] == sum(row["n"] for row in result["evals"][2::2]) == 18
    written = (folder / "result.json").stat().st_mtime_ns
    train(tmp_path / "runs", root, *settings)
    assert "already finished" in capsys.readouterr().err
    assert (folder / "result.json").stat().st_mtime_ns == written
    (root / "wav" / "s0_0.wav").unlink()
    with pytest.raises(InputError, match="has changed since the run"):
        train(tmp_path / "runs", root, *settings)


def test_a_run_reads_a_frozen_backbone_once_and_a_learning_one_once_a_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = corpus(tmp_path / "c", speakers=3)
    read = []
    monkeypatch.setattr(
        "melt_ser.runs.fold.load_backbone", lambda *settings: read.append(settings) or load_backbone(*settings)
    )
    settings = ("dataset.folds=leave_one_out", "trainer.freeze=everything", "head.dropout=0.2")
    folder, _ = train(tmp_path / "runs", root, *settings, "dataset.fold=all")
    assert len(read) == 1
    alone, _ = train(tmp_path / "runs", root, *settings, "dataset.fold=3")
    together = (folder / "predictions" / "csv_fold3.csv").read_text()
    assert together == (alone / "predictions" / "csv.csv").read_text()
    assert {path.name for path in (folder / "figures").iterdir()} == {"confusion_csv.png", "training_curve.png"}
    read.clear()
    train(tmp_path / "runs", root, "dataset.folds=leave_one_out", "dataset.fold=all")
    assert len(read) == 3


def test_two_runs_of_a_seed_agree_to_the_byte_and_another_seed_does_not(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    texts = [
        (train(tmp_path / out, root, f"seed={seed}")[0] / "predictions" / "csv.csv").read_text()
        for out, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    "settings",
    [
        ("trainer.freeze=everything", "head=weighted"),
        ("trainer.freeze=nothing", "trainer.gradient_checkpointing=true", "trainer.gradient_accumulation=2"),
        ("trainer=top_layers", "trainer.freeze=-1"),
        ("trainer=paper", "head=paper", "trainer.epochs=2", "trainer.crop_seconds=0.3"),
        ("trainer.precision=bf16", "trainer.balance=sampling", "augment=light", "head=attentive_statistics"),
        ("trainer.schedule=cosine", "trainer.label_smoothing=0.1", "trainer.patience=1"),
    ],
)
def test_training_runs_through_with_every_kind_of_setting(settings: tuple[str, ...], tmp_path: Path) -> None:
    folder, result = train(tmp_path / "runs", corpus(tmp_path / "c"), *settings)
    metrics = pd.read_csv(folder / "metrics.csv")
    assert np.isfinite(metrics["train_loss"]).all()
    assert 0 <= result["evals"][0]["ua"] <= 1


def test_a_model_learns(tmp_path: Path) -> None:
    """With tones of three pitches, it is far above chance on new speakers after a few epochs."""
    root = corpus(tmp_path / "c", speakers=5, each=12)
    settings = ("trainer.epochs=12", "backbone.learning_rate=2e-3", "trainer.freeze=nothing")
    _, result = train(tmp_path / "runs", root, *settings)
    assert result["evals"][0]["ua"] >= 0.6


def test_a_run_drops_a_bad_clip_with_its_count_and_reason(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    (root / "wav" / "s0_0.wav").write_bytes(b"")
    _, result = train(tmp_path / "runs", root)
    assert result["train"]["dropped"] == {"unreadable": 1}
    assert result["evals"][0]["dropped"] == {"clip refused: unreadable": 1}


@pytest.mark.parametrize("folds", ["dataset.folds=leave_one_out", "dataset.folds=null"])
def test_utterances_without_a_class_are_counted_in_the_own_test_too(tmp_path: Path, folds: str) -> None:
    root = corpus(tmp_path / "c", classes=("angry", "sad", "bored"))
    table = pd.read_csv(root / "table.csv")
    if folds.endswith("null"):
        parts = dict(zip(sorted(set(table["speaker"])), ("train", "train", "dev", "test"), strict=False))
        table.assign(split=table["speaker"].map(parts)).dropna().to_csv(root / "table.csv", index=False)
    folder, result = train(tmp_path / "runs", root, "labels=four", folds, "trainer.epochs=1")
    tested = set(pd.read_csv(folder / "splits.csv").query("split == 'test'")["utterance"] + ".wav")
    speakers = set(table.loc[table["audio"].isin(tested), "speaker"])
    bored = (table["speaker"].isin(speakers) & (table["label"] == "bored")).sum()
    row = result["evals"][0]
    assert bored > 0
    assert row["dropped"] == {"label 'bored' is no class of the model (bored)": bored}
    assert row["n"] + bored == table["speaker"].isin(speakers).sum()
    own = [f"run={folder}", "dataset=csv", f"dataset.root={root}", "dataset.table=table.csv", folds, "device=cpu"]
    evaluate(compose(own, "evaluate"))
    again = json.loads((folder / "result.json").read_text())["evals"][0]
    assert (again["n"], again["dropped"]) == (row["n"], row["dropped"])


def test_a_run_that_cannot_be_trained_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 1 of the classes"):
        train(tmp_path / "runs", corpus(tmp_path / "one", classes=("sad",)))
    with pytest.raises(SetupError, match="Corpus 'urdu' is not at"):
        train(tmp_path / "runs", corpus(tmp_path / "c"), "eval.corpora=[urdu]")
    with pytest.raises(SetupError, match="device=cuda, but PyTorch finds no CUDA GPU"):
        if torch.cuda.is_available():
            pytest.skip("this machine has a CUDA GPU")
        train(tmp_path / "runs", tmp_path / "c", "device=cuda")
    with pytest.raises(SetupError, match="There is no finished run in"):
        evaluate(compose([f"run={tmp_path}"], "evaluate"))
    shutil.rmtree(tmp_path / "c")


def test_a_refit_learns_from_train_and_dev_for_the_epochs_that_dev_chose(tmp_path: Path) -> None:
    """Whether it is stopped in the second training or not, and the result says what was trained on."""
    root, settings = corpus(tmp_path / "c"), (*FROZEN_RUNS[0][1], "trainer.epochs=3", "trainer.refit=true")
    settings += (f"cache.folder={tmp_path / 'cache'}", "trainer.head_learning_rate=0.1")
    folder, result = train(tmp_path / "whole", root, *settings)
    [fold] = result["train"]["folds"]
    assert (fold["n"], fold["n_dev"], fold["n_test"]) == (18, 3, 6) and result["train"]["n"] == 18
    assert fold["temperature"] is None
    assert fold["refit"]
    card = (folder / "model" / "README.md").read_text()
    assert "Train includes dev: dev chose the number of epochs, and then the model learned from both." in card
    first, second = (pd.read_csv(folder / name / "metrics.csv") for name in (".", "refit"))
    assert len(first) == 3 and len(second) == fold["best_epoch"]
    assert second["dev_ua"].isna().all()
    assert not list(folder.rglob("checkpoints"))
    plain, _ = train(tmp_path / "whole", root, *settings, "trainer.refit=false")
    assert plain != folder
    assert pd.read_csv(plain / "metrics.csv")["train_loss"].equals(first["train_loss"])

    with stopped_at():
        train(tmp_path / "stopped", root, *settings)
    resumed, _ = train(tmp_path / "stopped", root, *settings)
    assert outcome(resumed) == outcome(folder)


@pytest.mark.parametrize("has_own_dev", [True, False])
def test_cut_dev_refits_on_a_dev_part_that_was_cut_from_train_alone(tmp_path: Path, has_own_dev: bool) -> None:
    """A dev part of the release is not trained on, as in publications."""
    root = corpus(tmp_path / "c")
    table = pd.read_csv(root / "table.csv")
    parts = {"s0": "test", "s1": "dev" if has_own_dev else "train"}
    table.assign(split=table["speaker"].map(parts).fillna("train")).to_csv(root / "table.csv", index=False)
    folder, result = train(tmp_path / "runs", root, "trainer.refit=cut_dev")
    [fold] = result["train"]["folds"]
    assert (folder / "refit").exists() != has_own_dev
    assert fold["n"] == (12 if has_own_dev else 18)
    assert (fold["temperature"] is None) != has_own_dev
    assert fold["refit"] != has_own_dev
