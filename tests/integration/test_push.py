"""`push` and `predict hub:<owner>/<name>`, against a local stand-in of the hub's HTTP interface."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml
from huggingface_hub import ModelCard, constants

import small_runs
from hub_server import TOKEN, Hub, serving_hub, use_hub
from melt_ser import load_model
from melt_ser.predict import main as predict
from melt_ser.push import main as push
from melt_ser.push import size_text

NAME = "ann/tones"
OWN_DATA = ("--permission", "The tones are mine.", "--yes")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving_hub() as running:
        use_hub(running, monkeypatch, str(tmp_path / "hub_cache"))
        yield running


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones with a text, whose files, speakers and words a card must not tell."""
    root = small_runs.corpus(tmp_path_factory.mktemp("corpus"))
    table = pd.read_csv(root / "table.csv")
    table["text"] = [f"secret words {number % 2}" for number in range(len(table))]
    table["speaker"] = "speaker_" + table["speaker"]
    table.to_csv(root / "table.csv", index=False)
    return root


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose head no class of transformers has."""
    return small_runs.train(tmp_path_factory.mktemp("runs"), corpus, *small_runs.ATTENTION, "dataset.language=de")[0]


@pytest.fixture(scope="module")
def folds(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_runs.train(tmp_path_factory.mktemp("runs"), corpus, "dataset.folds=2", "dataset.fold=all")[0]


def clip_of(corpus: Path) -> str:
    return str(corpus / "wav" / "s0_0.wav")


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what `predict` prints as JSON."""
    capsys.readouterr()
    assert predict([*arguments, "--format", "json"]) == 0
    return capsys.readouterr().out


def test_a_pushed_model_labels_a_clip_as_the_run_does_also_without_a_network(
    run: Path, corpus: Path, hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert push([str(run), NAME, *OWN_DATA]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"result: {hub.address}/{NAME}/commit/")
    here = answer(capsys, str(run), clip_of(corpus))
    assert answer(capsys, f"hub:{NAME}", clip_of(corpus)) == here
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = len(hub.requests)
    assert answer(capsys, f"hub:{NAME}", clip_of(corpus)) == here
    assert len(hub.requests) == before
    assert load_model(f"hub:{NAME}").classes == ["angry", "happy", "sad"]


def test_a_repository_is_private_and_has_no_file_speaker_or_word_of_the_corpus(
    run: Path, corpus: Path, hub: Hub
) -> None:
    stray = run / "model" / "clip.wav"
    shutil.copyfile(clip_of(corpus), stray)
    try:
        assert push([str(run), NAME, *OWN_DATA]) == 0
    finally:
        stray.unlink()
    repository = hub.repositories[NAME]
    assert repository.private
    assert set(repository.files) == {
        *("README.md", "config.json", "preprocessor_config.json", "melt_ser.json", "model.safetensors"),
        *("head.safetensors", "figures/confusion_csv.png", "figures/training_curve.png"),
    }
    for path, content in repository.files.items():
        assert not re.search(rb"s\d_\d|speaker_s\d|secret words", content), path
        assert str(corpus).encode() not in content and str(run).encode() not in content, path


def test_predictions_and_splits_are_uploaded_only_if_asked_for_and_the_card_says_so(
    run: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push([str(run), NAME, *OWN_DATA, "--include", "predictions", "--include", "splits"]) == 0
    files = hub.repositories[NAME].files
    assert {"predictions/csv.csv", "splits.csv"} <= set(files) and "result.json" not in files
    assert "but in `predictions` and `splits.csv`" in files["README.md"].decode()
    assert "they name" not in capsys.readouterr().out


def test_what_will_be_uploaded_is_shown_with_its_size_before_anything_is_asked_of_the_hub(
    run: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push([str(run), NAME, *OWN_DATA, "--dry-run"]) == 0
    shown = capsys.readouterr()
    size = (run / "model" / "head.safetensors").stat().st_size
    assert f"To upload to {NAME} (private)" in shown.out
    assert re.search(rf"head\.safetensors +{size_text(size)}", shown.out)
    assert "not uploaded: predictions/" in shown.err
    assert hub.requests == []


def test_without_consent_nothing_is_uploaded(
    run: Path, hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = [str(run), NAME, *OWN_DATA[:2]]
    assert push(typed) == 2
    assert "Nobody can be asked for consent here; look at --dry-run, then add --yes." in capsys.readouterr().err

    class Person:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return "\n"

    monkeypatch.setattr("sys.stdin", Person())
    assert push(typed) == 0
    assert "nothing was uploaded" in capsys.readouterr().err
    assert hub.repositories == {}


@pytest.mark.parametrize("permission", [[], ["--permission", " "]])
def test_a_corpus_without_a_known_licence_is_not_shared_without_a_reason(
    permission: list[str], run: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push([str(run), NAME, "--yes", *permission]) == 2
    told = capsys.readouterr().err
    assert "the corpus csv has a licence that is not known" in told
    assert "--permission '<sentence>'" in told and "dataset.licence" in told
    assert hub.requests == []


def test_the_reason_and_the_owners_licence_stand_in_the_card(run: Path, hub: Hub) -> None:
    assert push([str(run), NAME, *OWN_DATA, "--licence", "cc-by-4.0"]) == 0
    card = ModelCard(hub.repositories[NAME].files["README.md"].decode())
    assert card.data.license == "cc-by-4.0" and card.data.language == ["de"]
    assert "why it may be shared: The tones are mine." in card.text
    assert f'predict "hub:{NAME}" clip.wav' in card.text


def test_a_repository_that_is_public_is_not_filled_as_a_private_one(
    run: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push([str(run), NAME, *OWN_DATA, "--public"]) == 0
    assert not hub.repositories[NAME].private
    assert push([str(run), NAME, *OWN_DATA]) == 2
    assert f"{NAME} is public already; add --public, or give another name." in capsys.readouterr().err
    assert push([str(run), NAME, *OWN_DATA, "--public", "--licence", "mit"]) == 0
    assert "README.md, " in capsys.readouterr().err  # the files that will be replaced


def test_the_models_of_all_folds_answer_together_and_fold_chooses_one(
    folds: Path, corpus: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = clip_of(corpus)
    assert push([str(folds), NAME, *OWN_DATA]) == 0
    assert {"folds/1/model/config.json", "folds/2/model/model.safetensors"} <= set(hub.repositories[NAME].files)
    assert answer(capsys, f"hub:{NAME}", clip) == answer(capsys, str(folds), clip)
    assert answer(capsys, f"hub:{NAME}", clip, "--fold", "2") == answer(capsys, str(folds), clip, "--fold", "2")
    assert predict([f"hub:{NAME}", clip, "--fold", "3"]) == 2
    assert f"hub:{NAME} has no fold 3; choose from: 1, 2." in capsys.readouterr().err
    assert push([str(folds), "ann/one", *OWN_DATA, "--fold", "2"]) == 0
    assert answer(capsys, "hub:ann/one", clip) == answer(capsys, str(folds), clip, "--fold", "2")
    assert (
        'pipeline("audio-classification", model="ann/one")' in hub.repositories["ann/one"].files["README.md"].decode()
    )
    assert push([str(folds), NAME, *OWN_DATA, "--fold", "3"]) == 2


def test_a_repository_holds_the_model_that_was_pushed_last_and_keeps_files_that_are_no_models(
    folds: Path, run: Path, corpus: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = clip_of(corpus)
    assert push([str(folds), NAME, *OWN_DATA, "--fold", "2"]) == 0
    hub.repositories[NAME].files |= {"notes.md": b"mine", "folds/notes.json": b"{}"}
    capsys.readouterr()
    assert push([str(folds), NAME, *OWN_DATA]) == 0
    told = f"{NAME} has files of another model, which will be removed: config.json, melt_ser.json, model.safetensors"
    assert told in capsys.readouterr().err
    assert "melt_ser.json" not in hub.repositories[NAME].files
    assert {"notes.md", "folds/notes.json"} <= set(hub.repositories[NAME].files)
    assert answer(capsys, f"hub:{NAME}", clip) == answer(capsys, str(folds), clip)
    assert push([str(run), NAME, *OWN_DATA]) == 0
    assert not any(path.startswith("folds/1") for path in hub.repositories[NAME].files)
    assert answer(capsys, f"hub:{NAME}", clip) == answer(capsys, str(run), clip)


def test_the_token_is_in_no_output_whatever_the_hub_answers(
    run: Path, hub: Hub, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for status in (401, 403, 400):
        hub.refuses = status
        assert push([str(run), NAME, *OWN_DATA]) == 2
        output = capsys.readouterr()
        assert f"it answered {status}" in output.err and "<key>" in output.err
        assert TOKEN not in output.out + output.err + caplog.text


def test_push_without_a_token_or_with_a_wrong_name_says_what_to_do(
    run: Path, hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert push([str(run), "tones", *OWN_DATA]) == 2
    assert "'tones' is no name of a repository; give <owner>/<name>." in capsys.readouterr().err
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert push([str(run), NAME, *OWN_DATA]) == 2
    assert "run `hf auth login`, or set HF_TOKEN" in capsys.readouterr().err
    assert hub.requests == []


def test_predict_says_what_is_wrong_with_a_name_of_the_hub(
    hub: Hub, corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hub_server import Repository

    hub.repositories["ann/other"] = Repository(False, {"config.json": b"{}", "model.safetensors": b"x" * 100})
    for name, sentence in {
        "ann/nothing": "is not on the Hugging Face hub, or it is private",
        "a/b/c": "is no name of the hub",
        "ann/other": "has no melt_ser.json, so melt_ser did not push it",
    }.items():
        assert predict([f"hub:{name}", clip_of(corpus)]) == 2
        assert sentence in capsys.readouterr().err
    assert not any("resolve" in path for _, path in hub.requests)  # no weights of a foreign model are downloaded
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert predict(["hub:ann/tones", clip_of(corpus)]) == 2
    assert "is not in the Hugging Face cache and HF_HUB_OFFLINE forbids asking the hub" in capsys.readouterr().err


def test_a_student_is_shared_with_its_card(corpus: Path, hub: Hub, tmp_path: Path) -> None:
    settings = (
        "backbone=wavlm_tiny",
        "backbone.checkpoint=melt_ser/wavlm_tiny",
        "trainer=probe",
        "dataset.licence=CC0",
    )
    folder, _ = small_runs.train(tmp_path / "runs", corpus, *settings)
    assert push([str(folder), NAME, "--yes"]) == 2  # the licence of the student's weights is not settled
    assert push([str(folder), NAME, *OWN_DATA]) == 0
    assert {"students/README.md", "students/speech.md"} <= set(hub.repositories[NAME].files)


def test_a_run_on_a_data_set_of_the_hub_has_its_results_in_the_hubs_form(run: Path, hub: Hub, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    result = json.loads((copy / "result.json").read_text())
    result["config"]["dataset"] |= {"repository": "ann/tones-data", "licence": "CC BY 4.0", "revision": "a" * 40}
    of_train = [row | {"split": "train", "overlap": row["n"], "ua": 1.0} for row in result["evals"]]  # evaluated later
    (copy / "result.json").write_text(json.dumps(result | {"evals": result["evals"] + of_train}))
    assert push([str(copy), NAME, "--yes"]) == 0
    (entry,) = yaml.safe_load(hub.repositories[NAME].files[".eval_results/csv.yaml"])
    assert entry["dataset"] == {"id": "ann/tones-data", "task_id": "default", "revision": "a" * 40}
    assert entry["value"] == round(result["evals"][0]["ua"], 4)
