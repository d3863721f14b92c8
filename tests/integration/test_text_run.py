"""`backbone=text` from the command to the report: the words alone, next to speech, and both together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import small_runs
from melt_ser.cli.compose import compose
from melt_ser.core.errors import InputError, SetupError
from melt_ser.evaluate import evaluate
from melt_ser.evaluation.comparison import score_together
from melt_ser.predict import main as predict
from melt_ser.report import main as report
from melt_ser.reporting.dev_weight import best_weight
from melt_ser.runs.predictions import read_dev_table
from melt_ser.runs.run import run as train
from small_texts import spoken_corpus, write_text_encoder

FOLDS = ("dataset.folds=2", "dataset.fold=all")


def text_settings(folder: Path, root: Path, *overrides: str) -> list[str]:
    chosen = ["trainer=probe"] if not any(one.startswith("trainer=") for one in overrides) else []
    encoder = ["backbone=text", f"backbone.checkpoint={folder / 'encoder'}", "backbone.name=words"]
    corpus = ["dataset=csv", f"dataset.root={root}", "dataset.table=table.csv", *FOLDS]
    return [*encoder, *chosen, *corpus, f"out={folder / 'runs'}", "device=cpu", *overrides]


def run(settings: list[str]) -> tuple[Path, dict[str, Any]]:
    path = train(compose(settings))
    return path.parent, json.loads(path.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a text encoder, a corpus with two wordless rows, and a run of speech and one of text."""
    folder = tmp_path_factory.mktemp("text")
    write_text_encoder(folder / "encoder")
    root = spoken_corpus(folder / "corpus", wordless=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELT_SER_CACHE", str(folder / "cache"))
        small_runs.train(folder / "runs", root, *FOLDS)
        train(compose(text_settings(folder, root)))
    return folder


@pytest.fixture(scope="module")
def done(folder: Path) -> tuple[Path, dict[str, Any]]:
    [path] = (folder / "runs" / "words" / "csv").glob("*/result.json")
    return path.parent, json.loads(path.read_text())


def test_text_a_probe_of_the_words_learns_what_the_words_say(done: tuple[Path, dict[str, Any]]) -> None:
    _, result = done
    [row] = [row for row in result["evals"] if row["answer_set"] == "closed" and row["fold"] == "all"]
    assert row["ua"] > 0.9
    assert row["n"] == 22
    assert row["dropped"] == {"clip refused: no words in the column text": 2}
    assert "2 of 24 utterances of 'csv' have no words in the column text." in result["warnings"]


def test_text_the_model_card_says_that_it_reads_words(done: tuple[Path, dict[str, Any]]) -> None:
    card = (done[0] / "model" / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card
    assert "one of 3 emotions for the words of an utterance: angry, happy, sad." in card
    assert "predict" not in card.partition("## How to use it")[2].partition("## Training data")[0]


def test_text_the_folds_are_those_of_the_speech_run(folder: Path, done: tuple[Path, dict[str, Any]]) -> None:
    [speech] = (folder / "runs" / "hubert_tiny_random" / "csv").glob("*/splits.csv")
    heard = pd.read_csv(speech).set_index(["fold", "utterance"])["split"]
    read = pd.read_csv(done[0] / "splits.csv").set_index(["fold", "utterance"])["split"]
    assert len(read) < len(heard)
    assert heard.loc[read.index].equals(read)


def test_text_evaluate_scores_the_saved_models_and_predict_refuses_recordings(
    folder: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = spoken_corpus(tmp_path / "other", wordless=1)
    for name in other.glob("wav/*.wav"):  # other recordings
        name.write_bytes(name.read_bytes()[:-2])
    typed = ["dataset=csv", "dataset.name=other", f"dataset.root={other}", "dataset.table=table.csv", "device=cpu"]
    evaluate(compose([f"run={done[0]}", *typed], "evaluate"))
    result = json.loads((done[0] / "result.json").read_text())
    rows = [row for row in result["evals"] if row["corpus"] == "other"]
    assert {row["n"] for row in rows} == {23}
    assert max(row["ua"] for row in rows) > 0.9
    assert predict([str(done[0]), str(next(other.glob("wav/*.wav")))]) == 2
    assert "reads the words of an utterance, which a recording alone does not give" in capsys.readouterr().err


def test_text_report_shows_speech_text_and_both(
    folder: Path, done: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert report([str(folder / "runs")]) == 0
    section = (
        capsys.readouterr().out.replace("\\", "").partition("## Speech and text together")[2].partition("\n## ")[0]
    )
    half, chosen = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| hubert")]
    [speech] = (folder / "runs" / "hubert_tiny_random" / "csv").glob("*/predictions/csv.csv")
    classes = ["angry", "happy", "sad"]
    read = pd.read_csv(done[0] / "predictions" / "csv.csv").set_index("utterance")
    heard = pd.read_csv(speech).set_index("utterance").loc[read.index]
    weights = {
        fold: best_weight(*(read_dev_table(path, str(fold), classes) for path in (speech.parents[1], done[0])), classes)
        for fold in (1, 2)
    }
    for cells, weight in ((half, 0.5), (chosen, read["fold"].map(weights))):
        both = read.assign(**{name: (1 - weight) * heard[name] + weight * read[name] for name in classes})
        tables = [table.reset_index() for table in (heard, read, both)]
        paired = score_together(tables, heard["speaker"].tolist(), classes)
        assert cells[5] == "22"
        np.testing.assert_allclose([float(cell) for cell in cells[6:9]], 100 * paired.observed, atol=0.051)
        gain = paired.comparison(2, 0)
        low, high = gain.interval or (0.0, 0.0)
        assert cells[9] == f"{100 * gain.difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
    assert half[4] == "0.5"
    assert chosen[4].startswith(f"{sum(weights.values()) / 2:.2f} (dev")
    assert "No weight is chosen" not in section


def test_text_the_answers_for_dev_are_those_of_the_model_before_a_refit(folder: Path, tmp_path: Path) -> None:
    root = spoken_corpus(tmp_path / "corpus")
    paths = [
        run(text_settings(folder, root, f"trainer.refit={refit}", f"out={tmp_path}"))[0] for refit in ("true", "false")
    ]
    for fold in ("1", "2"):
        with_refit, without = (pd.read_csv(path / "folds" / fold / "dev.csv") for path in paths)
        assert with_refit.columns.to_list() == ["utterance", "reference", "angry", "happy", "sad"]
        pd.testing.assert_frame_equal(with_refit, without)
        dev = pd.read_csv(paths[0] / "splits.csv").query(f"fold == {fold} and split == 'dev'")
        assert set(with_refit["utterance"]) == set(dev["utterance"])


def test_text_an_older_run_has_no_weight_of_dev_and_the_report_says_so(
    folder: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "runs", tmp_path / "runs")
    for file in (tmp_path / "runs" / "words").rglob("dev.csv"):
        file.unlink()
    assert report([str(tmp_path / "runs")]) == 0
    section = capsys.readouterr().out.replace("\\", "").partition("## Speech and text together")[2]
    assert sum(line.startswith("| hubert") for line in section.partition("\n## ")[0].splitlines()) == 1
    assert "No weight is chosen on dev for hubert" in section
    assert " on csv: a run has no answers for dev (dev.csv), as runs of older versions." in section


@pytest.mark.parametrize(
    "settings",
    [
        ("trainer=frozen", "trainer.epochs=2"),
        ("trainer=finetune", "trainer.epochs=1", "augment=nothing"),
        ("trainer=lora", "trainer.epochs=1", "augment=nothing", "backbone.layer_drop=0.1"),
        ("trainer=finetune", "trainer.epochs=1", "augment=nothing", "trainer.freeze=1", "trainer.batch_seconds=1"),
    ],
    ids=["frozen", "finetune", "lora", "layers"],
)
def test_text_every_trainer_trains_it(folder: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    typed = text_settings(folder, folder / "corpus", *settings)
    typed[typed.index(f"out={folder / 'runs'}")] = f"out={tmp_path}"
    path, result = run(typed)
    assert result["evals"][0]["n"] == 22
    probabilities = small_runs.predictions(path)[["angry", "happy", "sad"]]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)


def test_text_cached_features_give_the_scores_of_computed_ones(folder: Path, tmp_path: Path) -> None:
    found = []
    for name in ("true", "false"):
        typed = text_settings(folder, folder / "corpus", f"cache.features={name}")
        typed[typed.index(f"out={folder / 'runs'}")] = f"out={tmp_path / name}"
        found.append(small_runs.predictions(run(typed)[0])[["angry", "happy", "sad"]])
    pd.testing.assert_frame_equal(*found, atol=1e-4)


def test_text_a_scripted_corpus_is_told(folder: Path, tmp_path: Path) -> None:
    root = spoken_corpus(tmp_path / "acted", scripted=True)
    typed = text_settings(folder, root)
    typed[typed.index(f"out={folder / 'runs'}")] = f"out={tmp_path}"
    _, result = run(typed)
    told = "The speakers of 'csv' read 3 sentences, in all 24 utterances: a score of the words"
    assert any(sentence.startswith(told) for sentence in result["warnings"])
    assert any(sentence.startswith("The words reveal labels of 'csv'") for sentence in result["warnings"])


def test_text_a_scripted_corpus_is_told_when_it_is_scored_later(
    folder: Path, tmp_path: Path, done: tuple[Path, dict[str, Any]]
) -> None:
    run_folder = tmp_path / "run"
    shutil.copytree(done[0], run_folder)
    shutil.copytree(folder / "corpus", tmp_path / "scripted")
    table = pd.read_csv(tmp_path / "scripted" / "table.csv")
    table.assign(text="It is cold today.").to_csv(tmp_path / "scripted" / "table.csv", index=False)
    scripted = ["dataset=csv", "dataset.name=scripted", f"dataset.root={tmp_path / 'scripted'}"]
    evaluate(
        compose([f"run={run_folder}", *scripted, "dataset.table=table.csv", "eval.allow_overlap=true"], "evaluate")
    )
    warnings = json.loads((run_folder / "result.json").read_text())["warnings"]
    assert sum("a score of the words there is about the choice of sentences" in one for one in warnings) == 1


def test_text_settings_of_audio_and_corpora_without_words_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="augment changes audio; set augment=nothing"):
        run(text_settings(folder, folder / "corpus", "trainer=finetune"))
    with pytest.raises(SetupError, match=r"trainer.cuda_graphs is about audio"):
        run(text_settings(folder, folder / "corpus", "trainer=frozen", "trainer.cuda_graphs=true"))
    silent = small_runs.corpus(tmp_path / "silent")
    with pytest.raises(InputError, match="No utterance of 'csv' has words in the column text"):
        run(text_settings(folder, silent))
