"""The feature cache: the same results with and without it; computed once, whole or absent, within the budget."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from torch import Tensor

from melt_ser.core.errors import InputError, OutputError
from melt_ser.core.package import cache_folder
from melt_ser.data.feature_store import FeatureStore, write_description
from melt_ser.data.stage import Stage
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.export import load_model, save_model
from melt_ser.training import features
from small_models import KINDS, batch_of, small_classifier
from small_runs import ATTENTION, FROZEN_RUNS, corpus, outcome, predictions, train

pytestmark = pytest.mark.usefixtures("empty_cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return corpus(tmp_path / "corpus")


def stores(kind: str = "*") -> list[Path]:
    """Return the folders of cached features, of one stage or of all."""
    folders = (cache_folder() / "features").glob(f"{kind}-*")
    return sorted(path for path in folders if not path.name.startswith("."))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "settings"), FROZEN_RUNS)
def test_results_with_and_without_cached_features_agree(
    tmp_path: Path, root: Path, kind: str, settings: tuple[str, ...]
) -> None:
    with_features, result = train(tmp_path / "with", root, *settings, "trainer.epochs=3")
    assert {path.name.split("-")[0] for path in stores()} == {kind}
    without, other = train(tmp_path / "without", root, *settings, "trainer.epochs=3", "cache.features=false")
    assert result["run"]["id"] == other["run"]["id"]
    assert np.abs(predictions(with_features) - predictions(without)).to_numpy().max() < 1e-3
    rows, others = (pd.read_csv(folder / "metrics.csv") for folder in (with_features, without))
    assert np.allclose(rows["train_loss"], others["train_loss"], atol=1e-3)


def test_features_are_computed_once_for_all_folds_and_seeds(tmp_path: Path, root: Path, monkeypatch) -> None:
    checkpoint = f"backbone.checkpoint={saved_backbone(tmp_path)}"
    settings = [checkpoint, "trainer=frozen", "head=linear", "dataset.fold=all"]
    folder, _ = train(tmp_path / "runs", root, *settings)
    (store,) = stores("pooled")
    backbones = list(folder.glob("folds/*/model/model-00001-of-00002.safetensors"))
    assert len(backbones) > 1
    assert all(path.samefile(backbones[0]) for path in backbones)  # written once too
    monkeypatch.setattr(SpeechClassifier, "compute_stage", None)  # computing again would fail
    train(tmp_path / "runs", root, *settings, "seed=1")
    train(tmp_path / "runs", root, *settings, "head=mlp", "trainer.head_learning_rate=1e-2")
    assert stores("pooled") == [store]


def saved_backbone(folder: Path) -> Path:
    from transformers import Wav2Vec2FeatureExtractor

    path = folder / "checkpoint"
    small_classifier("hubert-base").backbone.model.save_pretrained(path)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(path)
    return path


@pytest.mark.parametrize("change", ["seed=1", "trainer.pad_to_crop=true", "dataset.minimum_seconds=0.25"])
def test_other_weights_padding_or_utterances_have_features_of_their_own(
    tmp_path: Path, root: Path, change: str
) -> None:
    settings = ["trainer=frozen", "trainer.crop_seconds=5"]
    train(tmp_path / "runs", root, *settings)
    before = stores()
    train(tmp_path / "runs", root, *settings, change)
    assert len(stores()) > len(before)


def test_frozen_layers_hear_the_crops_alone_if_the_audio_is_cut(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    compute = SpeechClassifier.compute_stage

    def listen(model: SpeechClassifier, stage: Stage, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        heard.extend(lengths.tolist())
        return compute(model, stage, audio, lengths)

    monkeypatch.setattr(SpeechClassifier, "compute_stage", listen)
    train(tmp_path / "runs", root, "trainer=frozen", "trainer.crop_seconds=0.25", "trainer.crop_places=3")
    seconds = [soundfile.info(path).duration for path in (root / "wav").iterdir()]
    crops = [min(round(length * 16000), 4000) for length in seconds for _ in range(3 if length > 0.25 else 1)]
    whole = [round(length * 16000) for length in seconds]  # for dev and test
    assert sorted(heard) == sorted([*crops, *whole])


def test_cached_features_belong_to_the_audio_not_to_its_name(tmp_path: Path, root: Path) -> None:
    train(tmp_path / "one", root, "trainer=frozen")
    path = root / "wav" / "s0_0.wav"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 0x40  # another sample, the same length
    path.write_bytes(content)
    train(tmp_path / "two", root, "trainer=frozen")
    assert len(stores()) == 2


@pytest.mark.slow
@pytest.mark.parametrize("settings", [("trainer=frozen",), ("trainer=frozen", "head=attention"), ("trainer.freeze=1",)])
def test_the_same_audio_under_other_labels_and_names_is_computed_once(
    tmp_path: Path, root: Path, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result is the same to the bit with a shared cache and with a cache of its own."""
    other = tmp_path / "other"
    shutil.copytree(root, other)
    table = pd.read_csv(other / "table.csv")
    for row, audio in enumerate(table["audio"]):
        table.loc[row, "audio"] = f"wav/{len(table) - row}.wav"  # in another order too
        (other / audio).rename(other / table.loc[row, "audio"])
    table["label"] = table["label"].map({"angry": "happy", "happy": "angry", "sad": "sad"})
    table.to_csv(other / "table.csv", index=False)

    train(tmp_path / "first", root, *settings)
    before = stores()
    with monkeypatch.context() as patch:
        patch.setattr(SpeechClassifier, "compute_stage", None)  # computing again would fail
        shared, _ = train(tmp_path / "second", other, *settings)
    assert stores() == before
    alone, _ = train(tmp_path / "alone", other, *settings, f"cache.folder={tmp_path / 'own'}")
    assert predictions(shared).equals(predictions(alone))


def test_a_copy_within_a_corpus_has_the_features_of_its_original(tmp_path: Path, root: Path) -> None:
    table = pd.read_csv(root / "table.csv")
    (root / table["audio"][0]).with_name("copy.wav").write_bytes((root / table["audio"][0]).read_bytes())
    copy = table.iloc[[0]].assign(audio="wav/copy.wav")
    pd.concat([table, copy]).to_csv(root / "table.csv", index=False)
    folder, _ = train(tmp_path / "runs", root, "trainer=frozen", "dataset.fold=all")
    assert len(FeatureStore(stores("pooled")[0]).clips) == len(table)
    answers = predictions(folder)
    difference = answers.loc["wav/copy"] - answers.loc["wav/s0_0"]
    assert difference.abs().max() < 1e-6  # several threads do not round each row alike


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_has_the_features_of_the_one_that_was_trained(tmp_path: Path, kind: str) -> None:
    classifier = small_classifier(kind)
    save_model(classifier, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    for model in (classifier, loaded):
        model.backbone.freeze("everything")
    digest, loaded_digest = (features.digest_of(model, Stage.pooled) for model in (classifier, loaded))
    assert digest == loaded_digest
    with torch.no_grad():
        next(loaded.backbone.parameters()).add_(1e-3)
    assert features.digest_of(loaded, Stage.pooled) != digest


def test_features_that_do_not_fit_into_the_cache_are_computed_each_time(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture
) -> None:
    folder, _ = train(tmp_path / "runs", root, "trainer=frozen", "cache.max_gib=1e-9")
    assert capsys.readouterr().err.count("computed anew every epoch") == 1
    assert not stores()
    assert (folder / "result.json").is_file()


@pytest.mark.parametrize("settings", [("trainer=frozen",), ("trainer.freeze=convolution",)])
def test_a_feature_cache_that_cannot_be_written_costs_time_not_the_run(
    tmp_path: Path, root: Path, settings: tuple[str, ...], capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the folder's place")
    folder, _ = train(tmp_path / "runs", root, *settings, f"cache.folder={tmp_path / 'file'}")
    messages = capsys.readouterr().err
    assert re.search("computed anew every epoch: .*file/features cannot be written .*; set cache.folder", messages)
    assert messages.count("every epoch: ") == 1
    assert (folder / "result.json").is_file()


@pytest.mark.parametrize(("owner", "step"), [(features.FeatureCache, "_compute"), (features, "write_description")])
def test_a_disk_that_fills_up_with_features_costs_time_not_the_run(
    tmp_path: Path, root: Path, owner: object, step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, fail)
        anew, _ = train(tmp_path / "anew", root, "trainer=frozen", "dataset.fold=all")
    messages = capsys.readouterr().err  # once: the other folds do not try again
    assert messages.count("cannot be written (No space left on device); set cache.folder") == 1
    assert not any(path.is_dir() for path in (cache_folder() / "features").iterdir())
    cached, _ = train(tmp_path / "cached", root, "trainer=frozen", "dataset.fold=all")
    assert len(stores()) == 1
    assert np.abs(predictions(anew) - predictions(cached)).to_numpy().max() < 1e-5


def test_remains_of_deleted_features_are_replaced(tmp_path: Path, root: Path) -> None:
    one, _ = train(tmp_path / "one", root, "trainer=frozen")
    (store,) = stores()
    (store / "about.json").unlink()
    two, _ = train(tmp_path / "two", root, "trainer=frozen")
    assert outcome(one) == outcome(two)
    assert (store / "about.json").is_file()


def test_features_that_others_may_only_read_are_used(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "one", root, "trainer=frozen")

    def fail(*arguments: object, **named: object) -> None:
        raise OutputError(tmp_path, "Read-only file system", "free space there")

    monkeypatch.setattr(features, "exclusive_lock", fail)
    monkeypatch.setattr(SpeechClassifier, "compute_stage", None)
    train(tmp_path / "two", root, "trainer=frozen")


def test_features_that_float16_cannot_hold_are_stored_as_float32(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = SpeechClassifier.compute_stage

    def loud(*arguments):
        computed, counts = compute(*arguments)
        return computed * 1e6, counts

    monkeypatch.setattr(SpeechClassifier, "compute_stage", loud)
    train(tmp_path / "runs", root, *ATTENTION)
    (store,) = stores()
    assert FeatureStore(store).dtype == np.float32


@pytest.mark.parametrize("settings", [("trainer=frozen",), ATTENTION])
def test_features_that_memory_does_not_hold_are_read_batch_by_batch(
    tmp_path: Path, root: Path, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, _ = train(tmp_path / "at_once", root, *settings)
    monkeypatch.setattr("melt_ser.data.feature_store.MEMORY_LIMIT", 0)
    by_batch, _ = train(tmp_path / "by_batch", root, *settings)
    assert outcome(by_batch) == outcome(at_once)


@pytest.mark.parametrize("memory_limit", [0, 2**20])
def test_features_that_are_cut_short_stop_the_run(
    tmp_path: Path, root: Path, memory_limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("melt_ser.data.feature_store.MEMORY_LIMIT", memory_limit)
    train(tmp_path / "one", root, "trainer=frozen")
    (path,) = stores()[0].glob("features*.bin")
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(InputError, match=rf"{path.name} is cut short; delete .*{path.parent.name} and run again"):
        train(tmp_path / "two", root, "trainer=frozen")


@pytest.mark.parametrize("name", ["about.json", "clips.parquet", "features0.bin"])
@pytest.mark.parametrize("is_missing", [False, True])
def test_a_damaged_or_missing_file_of_a_store_is_one_sentence(tmp_path: Path, name: str, is_missing: bool) -> None:
    rows = pd.DataFrame({"clip": ["a"], "part": [0], "first": [0], "count": [1]})
    write_description(tmp_path, Stage.states, (1, 2), np.dtype(np.float32), rows)
    np.ones((1, 1, 2), dtype=np.float32).tofile(tmp_path / "features0.bin")
    one = np.array([0]), np.array([0]), np.array([1])
    assert FeatureStore(tmp_path).read(*one).tolist() == [[[[1.0, 1.0]]]]
    (tmp_path / name).unlink() if is_missing else (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"(cannot be read \(.*\)|is cut short); delete .* and run again"):
        FeatureStore(tmp_path).read(*one)


def test_a_killed_computation_of_features_leaves_nothing_that_is_read(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    write = features.write_description
    monkeypatch.setattr(features, "write_description", lambda *arguments: (_ for _ in ()).throw(KilledError))
    with pytest.raises(KilledError):
        train(tmp_path / "killed", root, "trainer=frozen")
    assert not stores()
    monkeypatch.setattr(features, "write_description", write)
    folder, _ = train(tmp_path / "killed", root, "trainer=frozen")
    assert [path.name.startswith(".") for path in stores()[0].parent.iterdir() if path.is_dir()] == [False]
    other, _ = train(tmp_path / "other", root, "trainer=frozen")
    assert outcome(folder) == outcome(other)


@pytest.mark.parametrize("kind", KINDS)
def test_features_in_float16_move_the_logits_by_less_than_a_thousandth(kind: str) -> None:
    classifier = small_classifier(kind)
    audio, lengths = batch_of(4000, 9000, 16000)
    for freeze in ("convolution", 1):
        classifier.backbone.freeze(freeze)
        stage = classifier.frozen_stage(crops=False)
        with torch.no_grad():
            computed, counts = classifier.compute_stage(stage, audio, lengths)
            rounded = classifier(computed.half(), counts, stage)
            assert (rounded - classifier(audio, lengths)).abs().max() < 1e-3
