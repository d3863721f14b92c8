"""w2v-BERT 2.0: transformers' input and frames to rounding, and no influence of the batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForAudioClassification,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertForCTC,
    Wav2Vec2BertModel,
    pipeline,
)

from melt_ser.audio.waveform import pad_together
from melt_ser.config import BackboneConfig, HeadConfig, Kernels
from melt_ser.core.errors import SetupError
from melt_ser.data.stage import Stage
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.export import load_model, save_head, save_model
from melt_ser.models.families import load_backbone
from melt_ser.models.families.filter_bank import FilterBank
from melt_ser.models.families.w2v_bert import W2vBertBackbone
from small_checkpoints import pickle_weights, same_weights
from small_models import CLASSES, SMALL_W2V_BERT, speechlike

SECOND = 16_000
LENGTHS = (400, 879, 880, SECOND, 3 * SECOND + 100)
EXTRACTOR = {"feature_size": 80, "num_mel_bins": 80, "padding_value": 1, "stride": 2}  # as published: it pads with ones
every_kernel = pytest.mark.parametrize("kernels", list(Kernels))
every_position = pytest.mark.parametrize("positions", ["relative_key", "relative", "rotary"])


def write(folder: Path, with_head: bool = False, **architecture: object) -> Path:
    """Write a folder as on the hub: a plain model as facebook/w2v-bert-2.0, or one with a head and a prefix."""
    torch.manual_seed(3)
    config = Wav2Vec2BertConfig(**SMALL_W2V_BERT | architecture, vocab_size=30)
    (Wav2Vec2BertForCTC if with_head else Wav2Vec2BertModel)(config).save_pretrained(folder)
    SeamlessM4TFeatureExtractor(**EXTRACTOR).save_pretrained(folder)
    return folder


def load(folder: Path | None, **settings: object) -> W2vBertBackbone:
    architecture = settings.pop("architecture", {}) | ({} if folder else SMALL_W2V_BERT)
    config = BackboneConfig("w", "w2v_bert", str(folder) if folder else None, architecture=architecture, **settings)
    backbone = load_backbone(config, seed=0).eval()
    assert isinstance(backbone, W2vBertBackbone)
    return backbone


def classifier(**head: object) -> SpeechClassifier:
    backbone = load(None)
    torch.manual_seed(0)
    return SpeechClassifier(backbone, HeadConfig(**head), CLASSES).eval()


def clips(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    return pad_together([speechlike(length) for length in lengths])


def test_the_filter_bank_equals_the_extractor_of_transformers_for_every_clip_of_a_batch():
    lengths = (560, 719, 720, 880, SECOND, SECOND + 1, 10 * SECOND)
    frames = FilterBank()(*clips(*lengths))
    extractor = SeamlessM4TFeatureExtractor(**EXTRACTOR)
    for length, ours in zip(lengths, frames, strict=True):
        expected = extractor(speechlike(length).numpy(), sampling_rate=SECOND, return_tensors="pt")
        own = int(expected.attention_mask.sum())
        assert int(FilterBank().frames_of(torch.tensor(length))) == own
        assert (ours[:own] - expected.input_features[0, :own]).abs().max() < 1e-5
        assert not ours[own:].any()


def test_silence_and_the_shortest_clips_have_finite_frames():
    frames = FilterBank()(torch.zeros(2, 400), torch.tensor([400, 400]))
    assert frames.shape == (2, 1, 160) and not frames.any()
    assert FilterBank()(*clips(400, 559)).isfinite().all()


@every_position
@every_kernel
@torch.no_grad()
def test_frames_of_one_clip_agree_with_plain_transformers(positions, kernels, tmp_path):
    write(tmp_path, position_embeddings_type=positions)
    plain = AutoModel.from_pretrained(tmp_path).eval()
    extractor = SeamlessM4TFeatureExtractor.from_pretrained(tmp_path)
    backbone = load(tmp_path, kernels=kernels)
    for length in (560, 880, 3 * SECOND + 100):
        inputs = extractor(speechlike(length).numpy(), sampling_rate=SECOND, return_tensors="pt")
        expected = plain(**inputs, output_hidden_states=True)
        own = int(inputs.attention_mask.sum())
        actual = backbone(*clips(length), output_hidden_states=True)
        assert actual.frame_mask.sum() == own
        for ours, theirs in zip(actual.hidden_states, expected.hidden_states, strict=True):
            assert (ours - theirs[:, :own]).abs().max() < 1e-4
        assert (actual.last_hidden_state - expected.last_hidden_state[:, :own]).abs().max() < 1e-4


@every_position
@every_kernel
@torch.no_grad()
def test_the_frames_of_a_clip_do_not_depend_on_its_batch(positions, kernels):
    backbone = load(None, kernels=kernels, architecture={"position_embeddings_type": positions})
    together = backbone(*clips(*LENGTHS), output_hidden_states=True)
    assert together.frame_mask.sum(dim=1).tolist() == [1, 1, 2, 49, 149]
    for row, length in enumerate(LENGTHS):
        alone = backbone(*clips(length), output_hidden_states=True)
        own = int(alone.frame_mask.sum())
        for one, many in zip(alone.hidden_states, together.hidden_states, strict=True):
            assert (one[0, :own] - many[row, :own]).abs().max() < 1e-5


@every_position
def test_rounding_under_bfloat16_leaves_nothing_behind(positions):
    """transformers keeps the positions of the last call in the type that they had then."""
    backbone = load(None, architecture={"position_embeddings_type": positions})
    with torch.no_grad():
        before = backbone(*clips(*LENGTHS)).last_hidden_state
        with torch.autocast("cpu", torch.bfloat16):
            backbone(*clips(*LENGTHS))
        assert torch.equal(backbone(*clips(*LENGTHS)).last_hidden_state, before)


@pytest.mark.parametrize("with_head", [False, True], ids=["plain", "with a head"])
@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickle"])
def test_a_checkpoint_loads_in_every_layout(with_head, pickled, tmp_path, caplog):
    folder = write(tmp_path, with_head)
    expected = AutoModel.from_pretrained(folder).state_dict()
    if pickled:
        pickle_weights(folder)
    caplog.clear()
    loaded = load(folder, allow_pickle=pickled).model.state_dict()
    assert all(torch.equal(weight, loaded[name]) for name, weight in expected.items() if name in loaded)
    assert len(loaded) >= len(expected) - 1  # all but the mask's vector
    assert not caplog.text


@torch.no_grad()
def test_the_lowest_layers_of_a_checkpoint_alone_give_its_first_states(tmp_path):
    write(tmp_path / "whole")
    whole, lowest = load(tmp_path / "whole"), load(tmp_path / "whole", layers=1)
    states, first = (backbone(*clips(SECOND), True).hidden_states for backbone in (whole, lowest))
    torch.testing.assert_close(first[1], states[1], atol=1e-6, rtol=0)
    lowest.save(tmp_path / "saved")
    assert same_weights(load(tmp_path / "saved"), lowest)


@pytest.mark.parametrize("layers", ["last", "weighted"])
@pytest.mark.parametrize("freeze", ["convolution", 0, 1, "everything"])
@torch.no_grad()
def test_features_of_the_frozen_part_give_the_logits_of_the_whole(freeze, layers):
    model = classifier(layers=layers)
    model.backbone.freeze(freeze)
    audio, lengths = clips(*LENGTHS)
    for crops in (False, True):
        stage = model.frozen_stage(crops)
        assert stage is not Stage.nothing
        features, counts = model.compute_stage(stage, audio, lengths)
        assert features.shape[2:] == model.frame_shape(stage)
        torch.testing.assert_close(model(features, counts, stage), model(audio, lengths), atol=1e-5, rtol=0)


def test_training_reaches_all_weights_that_learn_and_recomputed_layers_give_the_same_gradients():
    gradients = []
    for recomputes in (False, True):
        model = classifier(layers="weighted")
        model.backbone.freeze("convolution")
        if recomputes:
            model.backbone.gradient_checkpointing_enable()
        model.train()
        model(*clips(*LENGTHS)).square().sum().backward()
        assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)
        gradients.append(model.backbone.model.encoder.layers[0].conv_module.depthwise_conv.weight.grad)
    torch.testing.assert_close(*gradients)


def test_masks_follow_the_random_state_and_only_in_training():
    config = BackboneConfig("w", "w2v_bert", None, architecture=SMALL_W2V_BERT)
    backbone = load_backbone(config, 0, time_mask_probability=0.3, feature_mask_probability=0.3)
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch, frames = clips(4 * SECOND), []
    with torch.no_grad():
        plain = backbone.eval()(*batch).last_hidden_state
        backbone.train()
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            frames.append(backbone(*batch).last_hidden_state)
    assert torch.equal(frames[0], frames[1])
    assert not torch.equal(frames[0], frames[2])
    assert not torch.equal(frames[0], plain)


@pytest.mark.parametrize("head", [{}, {"layers": "weighted"}, {"layers": 1}, {"pooling": "attention"}])
@torch.no_grad()
def test_a_saved_model_loads_with_the_same_weights_and_logits(head, tmp_path):
    model = classifier(**head)
    model.backbone.freeze("everything")
    save_model(model, tmp_path / "first")
    for weight in model.head.parameters():
        weight += 1.0
    save_head(model, tmp_path / "second", like=tmp_path / "first")
    assert torch.equal(load_model(tmp_path / "second")(*clips(*LENGTHS)), model(*clips(*LENGTHS)))


@pytest.mark.parametrize("head", [{}, {"layers": "weighted"}])
@torch.no_grad()
def test_the_pipeline_of_transformers_gives_the_same_probabilities(head, tmp_path):
    model = classifier(**head)
    save_model(model, tmp_path)
    _, report = AutoModelForAudioClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    for length in (7000, 7100):  # an even and an odd number of frames of 10 ms
        answer = pipeline("audio-classification", model=str(tmp_path), device="cpu")(
            speechlike(length).numpy(), top_k=None
        )
        expected = dict(zip(CLASSES, model(*clips(length)).softmax(dim=-1)[0].tolist(), strict=True))
        assert {entry["label"]: entry["score"] for entry in answer} == pytest.approx(expected, abs=1e-5)


def test_mel_bands_of_another_model_are_refused(tmp_path):
    write(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_mel_bins": 128}))
    with pytest.raises(SetupError, match=r"joins 2 frames of 128 mel bands, but .*feature_projection_input_dim=160"):
        load(tmp_path)


def test_random_weights_are_about_a_million():
    backbone = load_backbone(BackboneConfig(family="w2v_bert"), seed=0)
    assert 0.9e6 < sum(parameter.numel() for parameter in backbone.parameters()) < 2e6
