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
import yaml
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from melt_ser.cli.compose import compose
from melt_ser.config import RENAMED
from melt_ser.core.console import terminal
from melt_ser.core.errors import InputError, SetupError
from melt_ser.evaluate import evaluate
from melt_ser.evaluation.calibration import TEMPERATURES, calibrate
from melt_ser.evaluation.comparison import compare
from melt_ser.evaluation.results import ONE_SPEAKER
from melt_ser.models.export import load_model
from melt_ser.models.families import load_backbone
from melt_ser.predict import main as predict
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


def test_a_run_is_scored_on_another_corpus_and_labels_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train on three classes; the other corpus has two of them and one that the model lacks."""
    folder, _ = train(tmp_path / "runs", corpus(tmp_path / "c"))
    other = corpus(tmp_path / "other", classes=("angry", "sad", "bored"), seed=1)
    typed = [f"run={folder}", "dataset=csv", "dataset.name=other", f"dataset.root={other}", "dataset.table=table.csv"]
    evaluate(compose([*typed, "device=cpu"], "evaluate"))
    result = json.loads((folder / "result.json").read_text())
    closed, opened = (row for row in result["evals"] if row["corpus"] == "other")
    assert closed["classes"] == ["angry", "sad"]
    assert opened["classes"] == list(CLASSES)
    assert closed["dropped"] == {"label 'bored' is no class of the model (bored)": 8}
    assert closed["n"] == 16
    assert closed["split"] == "all"
    assert closed["calibration"]["temperature"] == result["train"]["folds"][0]["temperature"]
    evaluate(compose([*typed, "device=cpu"], "evaluate"))
    assert len(json.loads((folder / "result.json").read_text())["evals"]) == len(result["evals"])

    under_the_same_name = [text for text in typed if not text.startswith("dataset.name")]
    with pytest.raises(
        InputError,
        match=r"trained on 'csv', and its rows now differ from those of the training: set dataset\.name=<another>",
    ):
        evaluate(compose([*under_the_same_name, "device=cpu"], "evaluate"))

    capsys.readouterr()
    (tmp_path / "other" / "wav" / "broken.wav").write_text("this is text")
    assert predict([str(folder), str(other / "wav"), "--format", "json", "--device", "cpu"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 25
    [bad] = [row for row in rows if "error" in row]
    assert bad["file"].endswith("broken.wav")
    saved = pd.read_csv(folder / "predictions" / "other.csv").set_index("utterance")
    for row in rows:
        name = f"wav/{Path(row['file']).stem}"
        if name in saved.index:
            assert [row[name] for name in CLASSES] == pytest.approx(saved.loc[name, list(CLASSES)].tolist(), abs=1e-4)


def test_evaluate_refuses_recordings_that_were_trained_on(tmp_path: Path) -> None:
    folder, _ = train(tmp_path / "runs", corpus(tmp_path / "c"))
    typed = [f"run={folder}", "dataset=csv", f"dataset.root={tmp_path / 'c'}", "dataset.table=table.csv", "device=cpu"]
    with pytest.raises(InputError, match=r"of the 24 recordings of 'csv' \(all\) were trained on"):
        evaluate(compose([*typed, "eval.split=train"], "evaluate"))
    evaluate(compose([*typed, "eval.split=train", "eval.allow_overlap=true"], "evaluate"))
    result = json.loads((folder / "result.json").read_text())
    assert [row["overlap"] for row in result["evals"] if row["split"] == "all"] == [18 + 0, 18 + 0]


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


def test_warnings_about_the_split_are_in_the_result(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c", speakers=2, each=9)
    folder, result = train(tmp_path / "runs", root, "dataset.protocol=speakers")
    assert result["config"]["dataset"]["protocol"] == "speakers"
    assert sum("the model is chosen on a speaker that was trained on" in warning for warning in result["warnings"]) == 1
    assert any("has 2 speakers" in warning for warning in result["warnings"])
    again, _ = train(tmp_path / "runs", root, "dataset.folds=leave_one_out")
    assert again == folder


def test_one_test_speaker_and_a_temperature_at_its_bound_are_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("melt_ser.evaluation.calibration.fit_temperature", lambda *_: TEMPERATURES[1])
    root = corpus(tmp_path / "c", speakers=3)
    _, one = train(tmp_path / "runs", root, "dataset.folds=leave_one_out")
    assert all(ONE_SPEAKER in row["interval_note"] or not row["ua_ci95"] for row in one["evals"])
    assert sum("say nothing about other speakers" in warning or "No interval" in warning for warning in one["warnings"])
    assert one["evals"][0]["calibration"]["temperature_at_bound"]
    assert sum("A temperature is at a bound of the fit (0.05 to 20)" in warning for warning in one["warnings"]) == 1
    _, pooled = train(tmp_path / "runs", root, "dataset.folds=leave_one_out", "dataset.fold=all")
    assert not any("of one speaker" in warning for warning in pooled["warnings"])
    assert sum("A temperature is at a bound" in warning for warning in pooled["warnings"]) == 1


def test_warnings_come_once_and_before_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = corpus(tmp_path / "c")
    table = root / "table.csv"
    table.write_text(table.read_text().replace("audio,label,speaker", "path,emotion,who"))
    with terminal():
        train(tmp_path / "runs", root)
    lines = capsys.readouterr().err.splitlines()
    told = ["columns found by their names", "utterances of 'csv' have no speaker"]
    places = [[number for number, line in enumerate(lines) if said in line] for said in told]
    epoch = next(number for number, line in enumerate(lines) if "epoch 1" in line)
    assert all(len(place) == 1 and place[0] < epoch for place in places), lines
    with terminal():
        train(tmp_path / "runs", root)
    assert all(said in capsys.readouterr().err for said in told[:1]), "a finished run tells them too"


def test_a_finished_run_scores_only_what_it_lacks_and_overwrites_no_predictions(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    _, first = train(tmp_path / "runs", root, "eval.corpora=[demo_de]")
    assert {row["corpus"] for row in first["evals"]} == {"demo_de"}
    folder, second = train(tmp_path / "runs", root)  # the run's own test part
    assert {row["corpus"] for row in second["evals"]} == {"demo_de", "csv"}
    own = (folder / "predictions" / "csv.csv").read_bytes()
    typed = [f"run={folder}", "dataset=csv", f"dataset.root={root}", "dataset.table=table.csv", "device=cpu"]
    evaluate(compose([*typed, "eval.split=train", "eval.allow_overlap=true"], "evaluate"))
    assert (folder / "predictions" / "csv.csv").read_bytes() == own
    rows = json.loads((folder / "result.json").read_text())["evals"]
    assert {(row["corpus"], row["split"], row["predictions"]) for row in rows if row["corpus"] == "csv"} == {
        ("csv", "test", "predictions/csv.csv"),
        ("csv", "all", "predictions/csv_all.csv"),
    }


def test_a_run_with_old_names_of_settings_is_skipped_scored_labelled_and_run_again(tmp_path: Path) -> None:
    """A run folder as it was before settings were renamed."""
    root = corpus(tmp_path / "c")
    folder, result = train(tmp_path / "runs", root)
    for old, new in RENAMED.items():
        (old_group, old_name), (group, name) = old.split("."), new.split(".")
        result["config"][old_group][old_name] = result["config"][group].pop(name)
    del result["config"]["logger"]  # the group is newer than the names
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "config.yaml").write_text(yaml.safe_dump(result["config"]))

    assert train(tmp_path / "runs", root) == (folder, result)
    evaluate(compose([f"run={folder}", "dataset=demo_de", "device=cpu"], "evaluate"))
    assert "demo_de" in {row["corpus"] for row in json.loads((folder / "result.json").read_text())["evals"]}
    assert predict([str(folder), str(next((root / "wav").iterdir())), "--device", "cpu"]) == 0
    again, forced = train(tmp_path / "runs", root, "force=true")
    assert again == folder
    assert forced["config"]["trainer"]["head_learning_rate"] == result["config"]["trainer"]["learning_rate"]
    assert forced["evals"] == result["evals"]


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
