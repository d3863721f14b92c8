"""A published classifier gives the answers of transformers' own pipeline, in batches too, and never those of chance."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2Model, pipeline

from melt_ser.audio.waveform import pad_together, prepare_waveform
from melt_ser.config import LastState
from melt_ser.core.errors import SetupError
from melt_ser.models.published_checkpoint import find_published, read_labels
from melt_ser.models.published_classifier import PublishedClassifier, load_published
from published import CLIPS, SUPERB, as_soxan, write_classifier
from small_checkpoints import edit_config, pickle_weights

OWN = {label: [label] for label in SUPERB}  # every label is a class


def loaded(
    folder: Path, classes: dict[str, list[str]] = OWN, last_state: LastState | None = None
) -> PublishedClassifier:
    return load_published(find_published(str(folder)), classes, last_state)


@torch.no_grad()
def answers(classifier: PublishedClassifier, clips: list[torch.Tensor]) -> torch.Tensor:
    """Return the probabilities of clips that are computed as one batch, (clips, classes)."""
    prepared = [prepare_waveform(clip, classifier.backbone.do_normalize) for clip in clips]
    return classifier(*pad_together(prepared)).softmax(dim=1)


def of_pipeline(folder: Path) -> torch.Tensor:
    """Return the probabilities of transformers' pipeline, a clip at a time, (clips, labels)."""
    classify = pipeline("audio-classification", model=str(folder), device="cpu")
    rows = []
    for clip in CLIPS:
        scores = {one["label"]: one["score"] for one in classify(clip.numpy(), top_k=None)}
        rows.append([scores[label] for label in SUPERB])
    return torch.tensor(rows)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("wav2vec2-base", {"use_weighted_layer_sum": True}),  # as superb's are
        ("hubert-large", {"use_weighted_layer_sum": True}),
        ("hubert-base", {}),
        ("wav2vec2-large", {}),
        ("wavlm-base", {"use_weighted_layer_sum": True}),
        ("wavlm-large", {}),
        ("data2vec-base", {}),
        ("unispeech-large", {"use_weighted_layer_sum": True}),
        ("unispeech-sat-base", {}),
        ("conformer-rotary", {"use_weighted_layer_sum": True}),
        ("w2v_bert", {}),
        ("w2v_bert", {"use_weighted_layer_sum": True}),
        ("whisper", {}),
        ("whisper", {"use_weighted_layer_sum": True}),
    ],
)
def test_answers_are_those_of_the_pipeline_in_any_batch(kind: str, settings: dict[str, bool], tmp_path: Path) -> None:
    folder = write_classifier(tmp_path, kind, **settings)
    classifier, expected = loaded(folder), of_pipeline(folder)
    assert expected.std(dim=0).min() > 0.02  # the clips differ, so a constant answer would fail
    together = answers(classifier, CLIPS)
    alone = torch.cat([answers(classifier, [clip]) for clip in CLIPS])
    assert (alone - expected).abs().max() < 1e-4
    assert (together - alone).abs().max() < 5e-5


def test_labels_of_one_class_add_up_and_labels_without_a_class_are_left_out(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path, "hubert-base")
    own = answers(loaded(folder), CLIPS)
    neutral, happy, angry, _ = own.unbind(dim=1)
    mapped = answers(loaded(folder, {"aroused": ["ang", "hap"], "neutral": ["neu"]}), CLIPS)
    expected = torch.stack([happy + angry, neutral], dim=1) / (happy + angry + neutral)[:, None]
    assert torch.allclose(mapped, expected, atol=1e-6)


def test_the_last_state_may_come_after_the_norm_as_in_superbs_code(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path, "hubert-large", use_weighted_layer_sum=True)
    before, after = (answers(loaded(folder, last_state=state), CLIPS) for state in LastState)
    assert torch.equal(before, answers(loaded(folder), CLIPS))
    assert (before - after).abs().max() > 1e-3


@pytest.mark.parametrize("output", ["out_proj", "output"])
def test_a_head_of_soxan_is_read_and_not_drawn_at_random(output: str, tmp_path: Path) -> None:
    folder = write_classifier(tmp_path, "wav2vec2-large")
    dense, last = as_soxan(folder, output)
    encoder = Wav2Vec2Model.from_pretrained(folder).eval()
    clip = prepare_waveform(CLIPS[0], do_normalize=True)
    with torch.no_grad():
        pooled = encoder(clip[None]).last_hidden_state.mean(dim=1)
        expected = last(torch.tanh(dense(pooled))).softmax(dim=1)
    assert torch.allclose(answers(loaded(folder), CLIPS[:1]), expected, atol=1e-5)


def test_pickled_weights_are_read_if_that_is_allowed(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path, "wavlm-base")
    expected = answers(loaded(folder), CLIPS)
    pickle_weights(folder)
    with pytest.raises(SetupError, match=r"set classifier\.allow_pickle=true"):
        find_published(str(folder))
    read = load_published(find_published(str(folder), allow_pickle=True), OWN)
    assert torch.equal(answers(read, CLIPS), expected)


@pytest.mark.parametrize(
    ("settings", "labels", "sentence"),
    [
        (
            {},
            ("arousal", "dominance", "valence"),
            r"gives dimensions \(arousal, dominance, valence\), from which no class",
        ),
        ({"problem_type": "multi_label_classification"}, SUPERB, "does not choose one of several labels"),
        ({}, ("stress",), r"does not choose one of several labels \(.*, 1 labels\)"),
    ],
)
def test_what_chooses_no_emotion_is_refused(
    settings: dict[str, str], labels: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    folder = write_classifier(tmp_path, "wav2vec2-base", labels, **settings)
    with pytest.raises(SetupError, match=sentence):
        find_published(str(folder))


def test_a_model_of_the_hub_is_refused_before_its_weights_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--someone--dimensions" / "snapshots" / "0123abc"
    write_classifier(folder, "wav2vec2-base", ("Arousal", "Valence"))
    (folder / "model.safetensors").unlink()
    with pytest.raises(SetupError, match="gives dimensions"):
        read_labels("someone/dimensions", "0123abc")
    with pytest.raises(SetupError, match="not in the Hugging Face cache"):
        find_published("someone/dimensions", "0123abc")


def test_other_models_and_broken_labels_are_refused(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path, "hubert-base")
    edit_config(folder, id2label={"0": "a", "1": "a"})
    with pytest.raises(SetupError, match="id2label has a label twice"):
        find_published(str(folder))
    edit_config(folder, id2label={"1": "a", "2": "b"})
    with pytest.raises(SetupError, match="id2label does not number its labels from 0"):
        find_published(str(folder))
    edit_config(folder, model_type="audio-spectrogram-transformer")
    with pytest.raises(SetupError, match="is a 'audio-spectrogram-transformer' model; only classifiers on wav2vec2, "):
        find_published(str(folder))


def test_a_head_that_is_missing_or_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path, "hubert-base")
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "classifier.weight": torch.zeros(7, 24)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(SetupError, match=r"does not fit config\.json"):
        loaded(folder)
    save_file({**weights, "projector.bias": torch.full((24,), torch.nan)}, folder / "model.safetensors")
    with pytest.raises(SetupError, match="NaN"):
        loaded(folder)
    del weights["projector.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(SetupError, match=r"no head that is known here .*; choose a checkpoint of a \*ForSequenceClass"):
        loaded(folder)


@pytest.mark.parametrize(
    ("checkpoint", "sentence"),
    [
        ("someone/unknown", r"not in the Hugging Face cache .*, or set run=<local folder>\.$"),
        ("/not/there", r"/not/there does not exist; correct run\.$"),
    ],
)
def test_errors_name_the_settings_of_evaluate(checkpoint: str, sentence: str) -> None:
    with pytest.raises(SetupError, match=sentence):
        find_published(checkpoint)
