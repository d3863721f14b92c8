"""Saved models load with the same weights to the bit, and plain transformers gives the same answers with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, pipeline

from melt_ser.audio.waveform import pad_together, prepare_waveform
from melt_ser.core.errors import InputError, SetupError
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.export import load_model, save_head, save_model
from small_models import CLASSES, FAMILIES, KINDS, batch_of, each_with_the_first, small_classifier, speechlike

HEADS = {
    "mean": {},
    "mean-weighted": {"layers": "weighted", "dropout": 0.2},
    "mean-after-norm": {"layers": "weighted", "last_state": "after_norm"},
    "mean-hidden": {"hidden_sizes": [8], "dropout": 0.2},
    "attention": {"pooling": "attention"},
    "attentive-weighted": {"pooling": "attentive_statistics", "layers": "weighted", "hidden_sizes": [8]},
    "mean-state-1": {"layers": 1},
    "statistics-all": {"pooling": "statistics", "layers": "all", "last_state": "after_norm"},
    "standardised-weighted": {"pooling": "statistics", "layers": "weighted", "standardise": True},
}
PLAIN = ("mean", "mean-weighted", "mean-state-1")  # the heads that transformers' own classifier can hold
NEWER = {"format_version": 99}


def trained(kind: str, head: str, do_normalize: bool = True) -> SpeechClassifier:
    """Build a classifier with unequal layer weights, and a standardisation that changes the features."""
    model = small_classifier(kind, **HEADS[head])
    model.backbone.do_normalize = do_normalize
    if model.head.layers == "weighted":
        model.head.layer_weights.data[:] = torch.tensor([0.1, 1.5, -0.7])
    if model.head.standardises:
        model.head.set_scale(torch.rand_like(model.head.shift), 0.5 + torch.rand_like(model.head.scale))
    return model


@pytest.mark.parametrize(("kind", "head"), each_with_the_first(KINDS, HEADS))
@torch.no_grad()
def test_a_saved_model_loads_with_the_same_weights_and_logits(kind, head, tmp_path):
    model = trained(kind, head, do_normalize=kind.endswith("base"))
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    expected = model.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    assert torch.equal(loaded(*batch_of(400, 5000)), model(*batch_of(400, 5000)))
    assert loaded.classes == CLASSES
    assert loaded.backbone.do_normalize == model.backbone.do_normalize
    assert not loaded.training


@pytest.mark.parametrize(
    ("kind", "head"), each_with_the_first(("wavlm-large", "wav2vec2-base", "data2vec-base"), HEADS)
)
@torch.no_grad()
def test_saved_models_of_one_frozen_backbone_share_its_file(kind, head, tmp_path):
    model = trained(kind, head)
    model.backbone.freeze("everything")
    save_model(model, tmp_path / "first")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    for weight in model.head.parameters():
        weight += 1.0
    save_head(model, tmp_path / "second", like=tmp_path / "first")
    (shared,) = (path for path in (tmp_path / "second").iterdir() if path.stat().st_nlink == 2)
    assert shared.name in ("model.safetensors", "model-00001-of-00002.safetensors")
    assert shared.samefile(tmp_path / "first" / shared.name)
    for folder, expected in (("first", before), ("second", model.state_dict())):
        loaded = load_model(tmp_path / folder).state_dict()
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(weight, expected[name]) for name, weight in loaded.items())
    save_model(model, tmp_path / "whole")
    whole, second = (sorted((tmp_path / name).iterdir()) for name in ("whole", "second"))
    assert [(path.name, path.read_bytes()) for path in whole] == [(path.name, path.read_bytes()) for path in second]
    if head in PLAIN:
        plain = AutoModelForAudioClassification.from_pretrained(tmp_path / "second", local_files_only=True).eval()
        audio, lengths = batch_of(5000)
        torch.testing.assert_close(plain(audio).logits, model.eval()(audio, lengths), atol=1e-5, rtol=0)


@pytest.mark.parametrize("do_normalize", [True, False])
@pytest.mark.parametrize(("kind", "head"), each_with_the_first(KINDS, PLAIN))
@torch.no_grad()
def test_the_pipeline_of_transformers_gives_the_same_probabilities(kind, head, do_normalize, tmp_path):
    model = trained(kind, head, do_normalize)
    save_model(model, tmp_path)
    clip = speechlike(7000)
    answer = pipeline("audio-classification", model=str(tmp_path), device="cpu")(clip.numpy(), top_k=None)
    ours = model(*pad_together([prepare_waveform(clip, do_normalize)])).softmax(dim=-1)[0].tolist()
    expected = dict(zip(CLASSES, ours, strict=True))
    assert {entry["label"]: entry["score"] for entry in answer} == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("kind", "head"), each_with_the_first(KINDS, PLAIN))
@torch.no_grad()
def test_the_classifier_of_transformers_lacks_no_weight(kind, head, tmp_path):
    model = trained(kind, head)
    save_model(model, tmp_path)
    plain, report = AutoModelForAudioClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    audio, lengths = batch_of(6000)
    assert (plain(audio).logits - model(audio, lengths)).abs().max() < 1e-5
    assert plain.config.id2label == dict(enumerate(CLASSES))
    assert plain.config.label2id == {name: number for number, name in enumerate(CLASSES)}
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert (extractor.do_normalize, extractor.return_attention_mask, extractor.sampling_rate) == (True, True, 16_000)


@pytest.mark.parametrize("kind", FAMILIES)
@torch.no_grad()
def test_a_saved_model_with_another_head_holds_a_plain_backbone(kind, tmp_path):
    model = trained(kind, "attention")
    save_model(model, tmp_path)
    plain, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    audio, lengths = batch_of(6000)
    expected = model.backbone(audio, lengths).last_hidden_state
    assert (plain(audio).last_hidden_state - expected).abs().max() < 1e-5


def test_a_saved_model_is_a_checkpoint_to_start_from(tmp_path):
    from melt_ser.config import BackboneConfig
    from melt_ser.models.families import load_backbone

    model = trained("hubert", "mean", do_normalize=False)
    save_model(model, tmp_path)
    again = load_backbone(BackboneConfig(family="hubert", checkpoint=str(tmp_path)), seed=0)
    assert not again.do_normalize
    assert torch.equal(
        again.model.encoder.layers[1].attention.k_proj.weight,
        model.backbone.model.encoder.layers[1].attention.k_proj.weight,
    )


def test_saving_a_model_does_not_change_it(tmp_path):
    model = trained("wavlm", "mean-weighted").train()
    before = model.backbone.model.config.to_dict()
    state = torch.get_rng_state()
    save_model(model, tmp_path)
    load_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    changed = {key for key, value in model.backbone.model.config.to_dict().items() if before.get(key) != value}
    assert changed <= {"architectures", "dtype"}
    assert model.training
    assert torch.isfinite(model(*batch_of(4000))).all()


def test_a_saved_model_has_no_pickle_and_no_leftover_files(tmp_path):
    for head in HEADS:
        save_model(trained("wav2vec2-large", head), tmp_path / "model")  # each replaces the model before
        names = {path.name for path in (tmp_path / "model").iterdir()}
        expected = {"config.json", "preprocessor_config.json", "melt_ser.json", "model.safetensors"}
        assert names == expected | (set() if head in PLAIN else {"head.safetensors"})
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def damage(folder: Path, how: str) -> None:
    description = folder / "melt_ser.json"
    if how.startswith("["):
        description.write_text(json.dumps(json.loads(description.read_text()) | {"classes": json.loads(how)}))
    if how == "not ours":
        description.unlink()
    elif how == "not JSON":
        description.write_text("{")
    elif how == "newer":
        description.write_text(json.dumps(json.loads(description.read_text()) | NEWER))
    elif how == "head lost":
        (folder / "head.safetensors").unlink()
    elif how == "head truncated":
        (folder / "head.safetensors").write_bytes((folder / "head.safetensors").read_bytes()[:-8])
    elif how == "backbone lost":
        (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("not ours", "has no melt_ser.json"),
        ("not JSON", "melt_ser.json cannot be read"),
        ("newer", "format version 99"),
        ('["angry", "angry"]', "has the output 'angry' twice"),
        ('["angry", "label"]', "has the output 'label', which is also a column of predictions"),
        ('["angry", " "]', "has the output ' ', which is no name"),
        ("head lost", "head's weights"),
        ("head truncated", "head's weights"),
        ("backbone lost", "has no weights"),
    ],
)
def test_a_damaged_model_folder_is_one_sentence(how, message, tmp_path):
    save_model(trained("wavlm", "attention"), tmp_path)
    damage(tmp_path, how)
    with pytest.raises(SetupError, match=message) as error:
        load_model(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("layers", ["chosen", "first", -1, True, 1.0, None])
def test_a_description_with_layers_that_no_saved_model_reads_is_refused(layers, tmp_path):
    save_model(trained("wavlm", "statistics-all"), tmp_path)
    description = json.loads((tmp_path / "melt_ser.json").read_text())
    description["head"]["layers"] = layers
    (tmp_path / "melt_ser.json").write_text(json.dumps(description))
    with pytest.raises(SetupError, match=r"melt_ser\.json does not describe a model of ours; save the model again\."):
        load_model(tmp_path)


def test_a_saved_model_with_a_trained_projector_is_refused(tmp_path):
    save_model(trained("wavlm", "mean"), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["projector.weight"][0, 1] = 0.5
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="projector"):
        load_model(tmp_path)
