"""A run with trainer=probe, end to end: its folder, its scores, stopping and resuming, and every kind of corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from safetensors.numpy import load_file
from transformers import pipeline

from melt_ser.audio.waveform import prepare_waveform
from melt_ser.cli.compose import compose
from melt_ser.core.errors import InputError, SetupError
from melt_ser.evaluate import evaluate
from melt_ser.models.export import load_model, save_model
from melt_ser.predict import main as predict
from melt_ser.runs.fold import fit_probe
from melt_ser.runs.run import run
from small_models import small_classifier
from small_runs import CLASSES, SMALL, corpus, outcome, predictions, train
from stopped_runs import stopped_at

PROBE = ("trainer=probe",)
HEADS = [
    (),
    ("head.layers=chosen",),
    ("head=linear", "head.layers=chosen", "trainer.method=linear_svm"),
    ("head.layers=1", "head.standardise=false"),
    ("head.layers=last",),
]


pytestmark = pytest.mark.usefixtures("empty_cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return corpus(tmp_path / "c")


def answers(model: Path, clips: list[Path]) -> np.ndarray:
    """Return the probabilities of a saved model for clips of a corpus, (clips, classes)."""
    loaded = load_model(model)
    with torch.no_grad():
        waveforms = [torch.from_numpy(soundfile.read(clip, dtype="float32")[0]) for clip in clips]
        audio = [prepare_waveform(waveform, loaded.backbone.do_normalize)[None] for waveform in waveforms]
        logits = [loaded(clip, torch.tensor([clip.shape[1]])) for clip in audio]
    return torch.cat(logits).softmax(dim=-1).numpy()


@pytest.mark.parametrize("head", HEADS, ids=lambda head: "-".join(head) or "default")
def test_the_saved_model_gives_the_scored_answers_and_predict_the_same(
    tmp_path: Path, root: Path, head: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, result = train(tmp_path / "runs", root, *PROBE, *head)
    scored = predictions(folder)[list(CLASSES)]
    clips = [root / f"{name}.wav" for name in scored.index]
    assert answers(folder / "model", clips) == pytest.approx(scored.to_numpy(), abs=1e-5)
    capsys.readouterr()
    assert predict([str(folder), *map(str, clips), "--format", "json", "--device", "cpu"]) == 0
    rows = json.loads(capsys.readouterr().out)
    predicted = np.array([[row[name] for name in CLASSES] for row in rows])
    assert predicted == pytest.approx(scored.to_numpy(), abs=1e-4)
    assert result["evals"][0]["n"] == len(clips) == 6


def test_a_probe_writes_its_settings_its_candidates_and_its_coefficients(tmp_path: Path, root: Path) -> None:
    """refit/ has the scored probe, which has learned from train and dev."""
    folder, result = train(tmp_path / "runs", root, *PROBE)
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    written = {f"{place}probe.{kind}" for place in ("", "refit/") for kind in ("json", "safetensors")} | {"probe.csv"}
    assert {name for name in present if "probe" in name} == written
    assert not {"metrics.csv", "figures/training_curve.png"} & present
    assert "figures/confusion_csv.png" in present

    chosen = json.loads((folder / "probe.json").read_text())
    assert chosen == json.loads((folder / "refit" / "probe.json").read_text())
    assert (chosen.pop("method"), chosen.pop("classes")) == ("logistic_regression", list(CLASSES))
    [fold], info = result["train"]["folds"], result["train"]
    assert fold["chosen"] == chosen
    assert fold["dev_ua"] == info["dev_ua"] == chosen["dev_ua"] == pd.read_csv(folder / "probe.csv")["dev_ua"].max()
    assert (fold["best_epoch"], info["best_epoch"], info["padding"], fold["temperature"]) == (None,) * 4
    assert fold["refit"] and not any("train and dev" in note for note in result["warnings"])
    card = (folder / "model" / "README.md").read_text()
    assert "Train includes dev: dev chose the settings, and then the model learned from both." in card

    stored = load_file(folder / "refit" / "probe.safetensors")
    states, features = stored["mean"].shape
    assert stored["deviation"].shape == (states, features) == (2, 64)
    assert (stored["weight"].shape, stored["bias"].shape) == ((len(CLASSES), states * features), (len(CLASSES),))
    assert not np.allclose(stored["mean"], load_file(folder / "probe.safetensors")["mean"])


def test_a_refit_learns_from_train_and_dev_with_what_dev_chose(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int | None, Any]] = []

    def noted(config: Any, model: Any, learned: Any, dev: Any, folder: Any, accelerator: Any, *rest: Any) -> Any:
        calls.append((len(learned), None if dev is None else len(dev), rest[0]))
        return fit_probe(config, model, learned, dev, folder, accelerator, *rest)

    monkeypatch.setattr("melt_ser.runs.fold.fit_probe", noted)
    _, result = train(tmp_path / "runs", root, *PROBE, "head.layers=chosen")
    [fold] = result["train"]["folds"]
    first, second = calls
    assert first == (fold["n"] - fold["n_dev"], fold["n_dev"], None)
    assert second[:2] == (fold["n"], None)
    assert second[2]._asdict() == fold["chosen"]

    calls.clear()
    folder, without = train(tmp_path / "runs", root, *PROBE, "head.layers=chosen", "trainer.refit=false")
    [fold] = without["train"]["folds"]
    assert calls == [(fold["n"], fold["n_dev"], None)]
    assert not (folder / "refit").exists()
    assert fold["chosen"] == result["train"]["folds"][0]["chosen"]
    assert fold["temperature"] is not None  # dev is left to fit it
    assert not any("refit" in note for note in without["warnings"])


def test_plain_transformers_load_a_probe_of_the_mean_of_one_state(tmp_path: Path, root: Path) -> None:
    folder, _ = train(tmp_path / "runs", root, *PROBE, "head=linear", "head.layers=chosen")
    classify = pipeline("audio-classification", model=str(folder / "model"), device="cpu")
    scored = predictions(folder)[list(CLASSES)]
    for name, row in scored.iterrows():
        audio, _ = soundfile.read(root / f"{name}.wav", dtype="float32")
        answer = {entry["label"]: entry["score"] for entry in classify(audio, top_k=None)}
        assert answer == pytest.approx(row.to_dict(), abs=1e-4)


def test_a_probe_is_scored_on_another_corpus(tmp_path: Path, root: Path) -> None:
    folder, _ = train(tmp_path / "runs", root, *PROBE, "dataset.folds=2", "dataset.fold=all", "head.layers=chosen")
    other = corpus(tmp_path / "other", classes=("angry", "sad", "bored"), seed=1)
    typed = [f"run={folder}", "dataset=csv", "dataset.name=other", f"dataset.root={other}", "dataset.table=table.csv"]
    evaluate(compose([*typed, "device=cpu"], "evaluate"))
    rows = [row for row in json.loads((folder / "result.json").read_text())["evals"] if row["corpus"] == "other"]
    assert {row["fold"] for row in rows} == {"mean", "ensemble"} | {1, 2}
    assert {row["n"] for row in rows} == {16}


def test_answers_without_cached_features_are_the_same(tmp_path: Path, root: Path) -> None:
    cached, result = train(tmp_path / "with", root, *PROBE, "head.layers=chosen")
    without, other = train(tmp_path / "without", root, *PROBE, "head.layers=chosen", "cache.features=false")
    assert result["run"]["id"] == other["run"]["id"]
    assert predictions(cached).to_numpy() == pytest.approx(predictions(without).to_numpy(), abs=1e-4)
    assert result["train"]["folds"][0]["chosen"] == other["train"]["folds"][0]["chosen"]


FOLDS = (*PROBE, "dataset.folds=leave_one_out", "dataset.fold=all", "head.layers=chosen")


def test_a_run_that_was_stopped_between_folds_ends_as_if_it_had_not_been(tmp_path: Path, root: Path) -> None:
    whole, _ = train(tmp_path / "whole", root, *FOLDS)
    stopped = _stopped_in_the_second_fold(tmp_path, root)
    assert [path.parent.name for path in stopped.rglob("fold.json")] == ["1"]
    resumed, _ = train(tmp_path / "stopped", root, *FOLDS)
    assert outcome(resumed) == outcome(whole)


@pytest.mark.parametrize("content", ["{", '{"best_epoch": 2}', '{"best_epoch": null, "dev_ua": "high"}', "[]"])
def test_a_damaged_mark_of_a_fold_is_one_sentence(tmp_path: Path, root: Path, content: str) -> None:
    stopped = _stopped_in_the_second_fold(tmp_path, root)
    [mark] = stopped.rglob("fold.json")
    mark.write_text(content)
    with pytest.raises((InputError, SetupError), match=r"fold\.json .*delete it to train that fold again") as caught:
        train(tmp_path / "stopped", root, *FOLDS)
    assert "\n" not in str(caught.value)
    mark.unlink()
    train(tmp_path / "stopped", root, *FOLDS)


def _stopped_in_the_second_fold(tmp_path: Path, root: Path) -> Path:
    with stopped_at("melt_ser.runs.fold.save_head"):  # the second fold's is the first to share a backbone
        train(tmp_path / "stopped", root, *FOLDS)
    [folder] = (tmp_path / "stopped").glob("*/*/seed0-*")
    return folder


def test_two_runs_of_a_probe_agree_to_the_byte(tmp_path: Path, root: Path) -> None:
    first, second = (train(tmp_path / out, root, *PROBE, "trainer.method=linear_svm")[0] for out in "ab")
    assert outcome(first) == outcome(second)


def test_another_seed_gives_a_pretrained_backbone_the_same_probe(tmp_path: Path, root: Path) -> None:
    save_model(small_classifier("hubert"), tmp_path / "weights")
    settings = (*PROBE, "backbone=hubert", "backbone.revision=null", f"backbone.checkpoint={tmp_path / 'weights'}")
    first, second = (train(tmp_path / "runs", root, *settings, f"seed={seed}")[0] for seed in (0, 1))
    assert first != second
    for name in ("probe.csv", "refit/probe.safetensors", "predictions/csv.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_another_format_draws_the_figures_again_and_fits_nothing(tmp_path: Path, root: Path) -> None:
    folder, result = train(tmp_path / "runs", root, *PROBE)
    assert train(tmp_path / "runs", root, *PROBE, "eval.figures=svg") == (folder, result)
    assert {path.name for path in (folder / "figures").iterdir()} == {"confusion_csv.png", "confusion_csv.svg"}


def test_a_corpus_without_speakers_and_a_union_have_probes(tmp_path: Path, root: Path) -> None:
    table = pd.read_csv(root / "table.csv")
    table.drop(columns="speaker").to_csv(root / "table.csv", index=False)
    _, result = train(tmp_path / "runs", root, *PROBE)
    assert any("have no speaker" in note for note in result["warnings"])
    settings = [*(override for override in SMALL if "epochs" not in override), *PROBE, f"out={tmp_path / 'runs'}"]
    settings += ["dataset=union", "dataset.members=[demo,demo_de]", "labels=four", "eval.corpora=[demo]"]
    path = run(compose(settings))
    union = json.loads(path.read_text())
    assert union["train"]["folds"][0]["chosen"]["layers"] == "all"
    assert union["evals"][0]["corpus"] == "demo"


def test_a_training_part_of_one_class_is_refused_before_anything_is_computed(tmp_path: Path, root: Path) -> None:
    table = pd.read_csv(root / "table.csv")
    table["split"] = np.where(table["label"] == "angry", "train", np.where(table["speaker"] == "s0", "dev", "test"))
    table.to_csv(root / "table.csv", index=False)
    split = (*PROBE, "dataset.folds=null", "dataset.allow_speaker_overlap=true")
    with pytest.raises(InputError) as caught:
        train(tmp_path / "runs", root, *split)
    assert str(caught.value) == (
        "The training part of 'csv' has the class 'angry' alone, and a probe needs two or more; choose another split "
        "(dataset.split_seed, dataset.folds)."
    )
    assert not list((tmp_path / "runs").rglob("probe.*"))


def test_a_state_that_the_backbone_lacks_is_refused(tmp_path: Path, root: Path) -> None:
    with pytest.raises(SetupError, match=r"head\.layers=2, but the backbone has the states 0 to 1"):
        train(tmp_path / "runs", root, *PROBE, "head.layers=2")
