"""`backbone.text` from the command to the report: one classifier that reads the audio and the words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import small_runs
from melt_ser.cli.compose import compose
from melt_ser.core.errors import InputError, SetupError
from melt_ser.data.stage import Stage
from melt_ser.evaluate import evaluate
from melt_ser.models.export import load_model
from melt_ser.predict import main as predict
from melt_ser.report import main as report
from melt_ser.runs.finished_run import Run
from melt_ser.runs.run import run as train
from melt_ser.runs.upload import Wishes, uploads
from small_texts import spoken_corpus, write_text_encoder

NAME = "hubert_tiny_random_and_encoder"


def settings_of(folder: Path, *overrides: str) -> list[str]:
    """Return the settings of a run with the words beside the audio; overrides come last."""
    corpus = ["dataset=csv", f"dataset.root={folder / 'corpus'}", "dataset.table=table.csv"]
    words = [f"backbone.text={folder / 'encoder'}", "dataset.folds=2", "dataset.fold=all", "trainer=probe"]
    return ["backbone=hubert_tiny_random", *words, *corpus, f"out={folder / 'runs'}", "device=cpu", *overrides]


def run(folder: Path, *overrides: str) -> tuple[Path, dict[str, Any]]:
    given = {override.partition("=")[0] for override in overrides}
    kept = [one for one in settings_of(folder) if one.partition("=")[0] not in given]
    path = train(compose([*kept, *overrides]))
    return path.parent, json.loads(path.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a text encoder and a corpus whose words tell the label; two rows have no words."""
    folder = tmp_path_factory.mktemp("beside")
    write_text_encoder(folder / "encoder")
    spoken_corpus(folder / "corpus", wordless=2)
    return folder


@pytest.fixture(scope="module")
def done(folder: Path) -> tuple[Path, dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELT_SER_CACHE", str(folder / "cache"))
        return run(folder)


def test_a_probe_reads_both_and_keeps_the_rows_without_words(done: tuple[Path, dict[str, Any]]) -> None:
    path, result = done
    assert path.parts[-3] == NAME
    assert result["evals"][0]["n"] == 24
    note = "2 of 24 utterances of 'csv' have no words in the column text. Beside their audio the model reads an empty"
    assert any(sentence.startswith(note) for sentence in result["warnings"])
    assert result["train"]["weights"].startswith("text sha256:")


def test_a_probe_is_scikit_learns_on_both_vectors_side_by_side(folder: Path, done: tuple[Path, dict[str, Any]]) -> None:
    """The vectors are computed here by plain transformers, from the saved files."""
    from sklearn.linear_model import LogisticRegression
    from transformers import AutoModel, AutoTokenizer

    from melt_ser.audio.decode import read_audio
    from melt_ser.audio.waveform import prepare_waveform

    path, _ = done
    saved = path / "folds" / "1" / "model"
    table = pd.read_csv(folder / "corpus" / "table.csv")
    tokenizer, encoder = AutoTokenizer.from_pretrained(saved / "text"), AutoModel.from_pretrained(saved / "text").eval()
    speech = load_model(saved)
    vectors = []
    with torch.no_grad():
        for row in table.itertuples():
            states = encoder(**tokenizer(row.text, return_tensors="pt")).last_hidden_state[0]
            audio = prepare_waveform(torch.from_numpy(read_audio(folder / "corpus" / row.audio)), True)[None]
            output = speech.continue_from(Stage.nothing, audio, torch.tensor([audio.shape[1]]))
            pooled = torch.cat([state[0] for state in speech.head.pooled(output)])
            vectors.append(torch.cat([pooled, states.mean(dim=0)]).numpy())
    features = np.stack(vectors).astype(np.float64)
    splits = pd.read_csv(path / "splits.csv").query("fold == 1").set_index("utterance")["split"]
    utterances = table["audio"].str.removesuffix(".wav")
    learned = (utterances.map(splits) != "test").to_numpy()
    mean, deviation = features[learned].mean(axis=0), features[learned].std(axis=0)
    scaled = (features - mean) / np.where(deviation > 1e-6, deviation, 1.0)
    choice = json.loads((path / "folds" / "1" / "probe.json").read_text())
    classifier = LogisticRegression(C=choice["inverse_regularisation"], tol=1e-6, max_iter=1000)
    classifier.fit(scaled[learned], table["label"][learned], sample_weight=balanced(table["label"][learned]))
    expected = classifier.predict_proba(scaled[~learned])
    found = Run(path).predictions(fold=1).set_index("utterance")
    found = found.loc[utterances[~learned], list(classifier.classes_)]
    np.testing.assert_allclose(found.to_numpy(), expected, atol=2e-3)


def balanced(labels: pd.Series) -> np.ndarray:
    """Return the weight of each row, by which all classes count the same."""
    counts = labels.map(labels.value_counts())
    return (len(labels) / labels.nunique() / counts).to_numpy()


def test_a_saved_model_has_the_text_encoder_once_for_all_folds_and_gives_the_same_answers(
    folder: Path, done: tuple[Path, dict[str, Any]]
) -> None:
    path, _ = done
    weights = [path / "folds" / fold / "model" / "text" / "model.safetensors" for fold in ("1", "2")]
    assert weights[0].samefile(weights[1])
    model = load_model(weights[0].parents[1])
    assert model.text is not None
    assert [name for name, _ in model.named_parameters() if "text" in name] == []  # it does not learn
    described = json.loads((weights[0].parents[1] / "melt_ser.json").read_text())
    assert (described["format_version"], described["text"]) == (5, True)
    names = {upload.path for upload in uploads(path, Run(path).result, Wishes("owner/name", fold=1))}
    assert {"text/config.json", "text/model.safetensors", "text/tokenizer.json", "head.safetensors"} <= names


@pytest.mark.parametrize(
    "settings",
    [
        ("trainer=frozen", "trainer.epochs=2"),
        ("trainer=frozen", "trainer.epochs=2", "head=attention"),
        ("trainer=finetune", "trainer.epochs=1"),
        ("trainer=lora", "trainer.epochs=1", "head.layers=weighted"),
        ("trainer=frozen", "trainer.epochs=2", "trainer.crop_seconds=0.25"),
        ("trainer=probe", "backbone=egemaps"),
        ("trainer=probe", "trainer.method=linear_svm", "head.layers=last", "head.standardise=false"),
    ],
    ids=["frozen", "attention", "finetune", "lora", "crops", "egemaps", "svm"],
)
def test_every_trainer_reads_the_words_too_and_evaluate_repeats_the_scores(
    folder: Path, tmp_path: Path, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "backbone=egemaps" in settings:
        pytest.importorskip("opensmile", reason="the extra `acoustics` is not installed")
    monkeypatch.setenv("MELT_SER_CACHE", str(tmp_path / "cache"))
    path, _ = run(folder, *settings, "dataset.fold=1", f"out={tmp_path / 'runs'}")
    before = Run(path).predictions()
    other = ["dataset=csv", "dataset.name=again", f"dataset.root={folder / 'corpus'}", "dataset.table=table.csv"]
    evaluate(compose([f"run={path}", *other, "device=cpu", "eval.allow_overlap=true"], "evaluate"))
    again = Run(path).predictions("again").set_index("utterance")
    columns = ["angry", "happy", "sad"]
    np.testing.assert_allclose(
        before.set_index("utterance")[columns], again.loc[before["utterance"], columns], atol=1e-4
    )
    with torch.no_grad():
        model = load_model(path / "model")
        assert model.text is not None
        assert model.head.output.weight[:, -model.text.features :].abs().sum() > 0


def test_a_trained_model_goes_on_after_a_stop_with_the_same_numbers(folder: Path, tmp_path: Path) -> None:
    settings = ("trainer=finetune", "trainer.epochs=2", "dataset.fold=1")
    whole, _ = run(folder, *settings, f"out={tmp_path / 'whole'}")
    cut, _ = run(folder, *settings, f"out={tmp_path / 'cut'}")
    for file in ("result.json", "fold.json"):
        (cut / file).unlink()
    again, _ = run(folder, *settings, f"out={tmp_path / 'cut'}")
    pd.testing.assert_frame_equal(Run(whole).predictions(), Run(again).predictions())


def test_the_report_has_speech_text_and_joined_vectors_with_their_gains(
    folder: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = settings_of(folder)[2:]
    speech = [one for one in corpus if not one.startswith("backbone.text")]
    train(compose(["backbone=hubert_tiny_random", *speech]))
    train(compose(["backbone=text", f"backbone.checkpoint={folder / 'encoder'}", "backbone.name=words", *speech]))
    capsys.readouterr()
    assert report([str(folder / "runs")]) == 0
    section = capsys.readouterr().out.replace("\\", "").partition("## Speech and text together")[2]
    rows = [line.strip("| ").split(" | ") for line in section.partition("\n## ")[0].splitlines() if "| words |" in line]
    assert [row[4].split(" ")[0] for row in rows] == ["0.5", rows[1][4].split(" ")[0], "joined"]
    joined = rows[2]
    found = Run(done[0]).predictions()
    kept = found[~found["utterance"].isin(["wav/s0_0", "wav/s0_1"])]
    recalls = [(kept["prediction"] == name)[kept["reference"] == name].mean() for name in ("angry", "happy", "sad")]
    assert float(joined[8]) == pytest.approx(100 * np.mean(recalls), abs=0.051)
    assert float(joined[9].split()[0]) == pytest.approx(float(joined[8]) - float(joined[6]), abs=0.11)


def test_recordings_alone_and_corpora_without_words_are_refused(
    folder: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict([str(done[0]), str(next((folder / "corpus").glob("wav/*.wav")))]) == 2
    assert "reads the words of an utterance, which a recording alone does not give" in capsys.readouterr().err
    silent = small_runs.corpus(tmp_path / "silent")
    with pytest.raises(InputError, match=r"No utterance of 'csv' has words in the column text, which backbone.text"):
        run(folder, f"dataset.root={silent}")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("backbone=text", "backbone.checkpoint=x"), "backbone.family=text reads the words already"),
        (("backbone.text=null", "backbone.text_revision=abc"), "backbone.text_revision needs backbone.text"),
        (("trainer=finetune", "augment=mixup"), "augment.mixup_probability mixes the audio of two clips"),
        (("backbone.text=/no/such",), r"The checkpoint folder /no/such does not exist; correct backbone.text\."),
    ],
)
def test_settings_that_do_not_fit_are_refused(folder: Path, settings: tuple[str, ...], says: str) -> None:
    with pytest.raises(SetupError, match=says):
        run(folder, *settings)


def test_a_name_that_was_chosen_stays(folder: Path) -> None:
    assert compose(settings_of(folder)).backbone.name == NAME
    assert compose([*settings_of(folder), "backbone.name=both"]).backbone.name == "both"


def test_a_text_encoder_that_changed_is_told(folder: Path, tmp_path: Path) -> None:
    other = spoken_corpus(tmp_path / "corpus")
    write_text_encoder(tmp_path / "encoder")
    settings = (f"backbone.text={tmp_path / 'encoder'}", f"dataset.root={other}", f"out={tmp_path / 'runs'}")
    run(folder, *settings)
    write_text_encoder(tmp_path / "encoder", "bert")
    with pytest.raises(InputError, match="or the text encoder .* has changed since the run"):
        run(folder, *settings)
