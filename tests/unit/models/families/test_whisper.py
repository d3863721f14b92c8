"""Whisper's encoder: transformers' input and frames to rounding, any length, and no influence of the batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForAudioClassification,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperModel,
)

from melt_ser.audio.waveform import pad_together
from melt_ser.config import BackboneConfig, HeadConfig, Kernels
from melt_ser.core.errors import SetupError
from melt_ser.data.stage import Stage
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.export import load_model, save_head, save_model
from melt_ser.models.families import load_backbone
from melt_ser.models.families.log_mel import LogMel
from melt_ser.models.families.whisper import WhisperBackbone
from small_checkpoints import edit_config
from small_models import CLASSES, speechlike

SMALL = {
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 32,
    "num_mel_bins": 80,
    "vocab_size": 60,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SECOND = 16_000
every_kernel = pytest.mark.parametrize("kernels", list(Kernels))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """Write a folder as on the hub: encoder, decoder and feature extractor."""
    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(3)
    WhisperForConditionalGeneration(WhisperConfig(**SMALL)).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def load(folder: Path | None, **settings: object) -> WhisperBackbone:
    architecture = {} if folder else SMALL
    config = BackboneConfig("w", "whisper", str(folder) if folder else None, architecture=architecture, **settings)
    backbone = load_backbone(config, seed=0).eval()
    assert isinstance(backbone, WhisperBackbone)
    return backbone


def classifier(seed: int = 0, pad_to_window: bool = False, **head: object) -> SpeechClassifier:
    torch.manual_seed(seed)
    return SpeechClassifier(load(None, pad_to_window=pad_to_window), HeadConfig(**head), CLASSES).eval()


@pytest.mark.parametrize("bins", [80, 128])
def test_log_mel_equals_the_extractor_of_transformers_for_every_clip_of_a_batch(bins):
    clips = [speechlike(length) for length in (400, 719, SECOND, SECOND + 1, 3 * SECOND)]
    frames = LogMel(bins)(*pad_together(clips))
    extractor = WhisperFeatureExtractor(feature_size=bins)
    for clip, ours in zip(clips, frames, strict=True):
        expected = extractor(clip.numpy(), sampling_rate=SECOND, padding="do_not_pad", return_tensors="pt")
        own = expected.input_features.shape[-1]
        assert (ours[:, :own] - expected.input_features[0]).abs().max() < 1e-5
        assert not ours[:, own:].any()


@every_kernel
@torch.no_grad()
def test_a_padded_window_has_the_frames_of_transformers(kernels, checkpoint):
    clip = speechlike(2 * SECOND)
    features = WhisperFeatureExtractor()(clip.numpy(), sampling_rate=SECOND, return_tensors="pt").input_features
    expected = WhisperModel.from_pretrained(checkpoint).eval().encoder(features).last_hidden_state
    output = load(checkpoint, kernels=kernels, pad_to_window=True)(*pad_together([clip]))
    assert output.frame_mask.all()
    torch.testing.assert_close(output.last_hidden_state, expected, atol=1e-5, rtol=0)


@every_kernel
@torch.no_grad()
def test_the_frames_of_a_clip_do_not_depend_on_its_batch(kernels):
    backbone = load(None, kernels=kernels)
    clips = [speechlike(length) for length in (400, 719, 3 * SECOND, 30 * SECOND, 30 * SECOND + 100, 31 * SECOND)]
    together = backbone(*pad_together(clips), output_hidden_states=True)
    assert together.frame_mask.sum(dim=1).tolist() == [1, 2, 150, 1500, 1500, 1550]
    for number, clip in enumerate(clips):
        alone = backbone(*pad_together([clip]), output_hidden_states=True)
        own = int(alone.frame_mask.sum())
        for one, many in zip(alone.hidden_states, together.hidden_states, strict=True):
            assert (one[0, :own] - many[number, :own]).abs().max() < 1e-4


@torch.no_grad()
def test_the_lowest_layers_of_a_checkpoint_alone_give_its_first_states(checkpoint):
    whole, lowest = load(checkpoint), load(checkpoint, layers=1)
    states, first = (backbone(*pad_together([speechlike(SECOND)]), True).hidden_states for backbone in (whole, lowest))
    assert (len(first), len(states)) == (2, whole.number_of_layers + 1)
    torch.testing.assert_close(first[1], states[1], atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_windows_of_a_long_clip_are_encoded_alone():
    backbone = load(None)
    first, rest = speechlike(30 * SECOND), speechlike(2 * SECOND)
    joined = backbone(*pad_together([torch.cat([first, rest])])).last_hidden_state[0]
    parts = [backbone(*pad_together([part])).last_hidden_state[0] for part in (first, rest)]
    torch.testing.assert_close(joined, torch.cat(parts), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pad_to_window", [False, True])
@pytest.mark.parametrize("layers", ["last", "weighted"])
@pytest.mark.parametrize("freeze", ["convolution", 1, "everything"])
@torch.no_grad()
def test_features_of_the_frozen_part_give_the_logits_of_the_whole(freeze, layers, pad_to_window):
    model = classifier(pad_to_window=pad_to_window, layers=layers)
    model.backbone.freeze(freeze)
    audio, lengths = pad_together([speechlike(SECOND), speechlike(3 * SECOND)])
    stage = model.frozen_stage(crops=False)
    assert stage is not Stage.nothing
    features, counts = model.compute_stage(stage, audio, lengths)
    assert features.shape[2:] == model.frame_shape(stage)
    torch.testing.assert_close(model(features, counts, stage), model(audio, lengths), atol=1e-5, rtol=0)


def test_training_reaches_all_weights_but_the_fixed_positions_and_a_frozen_part_stays():
    model = classifier()
    model.backbone.freeze(1)
    model.train()
    model(*pad_together([speechlike(SECOND)])).sum().backward()
    learning = {name for name, weight in model.backbone.named_parameters() if weight.grad is not None}
    assert all(name.startswith(("model.layers.1", "model.layer_norm")) for name in learning)
    assert "model.layers.1.fc1.weight" in learning
    model.backbone.freeze("nothing")
    model(*pad_together([speechlike(SECOND)])).sum().backward()
    missing = {name for name, weight in model.backbone.named_parameters() if weight.grad is None}
    assert missing == {"model.embed_positions.weight"}


def test_checkpointing_gives_the_same_gradients():
    gradients = []
    for recomputes in (False, True):
        model = classifier()
        model.backbone.freeze("nothing")
        if recomputes:
            model.backbone.gradient_checkpointing_enable()
        model.train()
        model(*pad_together([speechlike(SECOND), speechlike(2 * SECOND)])).sum().backward()
        gradients.append(model.backbone.model.layers[0].fc1.weight.grad)
    torch.testing.assert_close(*gradients)


def test_masks_follow_the_random_state_and_only_in_training():
    config = BackboneConfig("w", "whisper", None, architecture=SMALL)
    backbone = load_backbone(config, 0, time_mask_probability=0.3, feature_mask_probability=0.3)
    batch = pad_together([speechlike(4 * SECOND)])
    with torch.no_grad():
        plain = backbone.eval()(*batch).last_hidden_state
        backbone.train()
        torch.manual_seed(1)
        masked = backbone(*batch).last_hidden_state
        torch.manual_seed(1)
        again = backbone(*batch).last_hidden_state
    assert torch.equal(masked, again)
    assert not torch.equal(masked, plain)
    torch.testing.assert_close(plain, load(None)(*batch).last_hidden_state)


@pytest.mark.parametrize("head", [{}, {"layers": "weighted"}, {"pooling": "attention"}])
@pytest.mark.parametrize("pad_to_window", [False, True])
@torch.no_grad()
def test_a_saved_model_loads_with_the_same_weights_and_logits(pad_to_window, head, tmp_path):
    model = classifier(pad_to_window=pad_to_window, **head)
    model.backbone.freeze("everything")
    save_model(model, tmp_path / "first")
    for weight in model.head.parameters():
        weight += 1.0
    save_head(model, tmp_path / "second", like=tmp_path / "first")
    batch = pad_together([speechlike(SECOND), speechlike(2 * SECOND)])
    loaded = load_model(tmp_path / "second")
    assert loaded.backbone.pad_to_window == pad_to_window
    assert torch.equal(loaded(*batch), model(*batch))


@torch.no_grad()
def test_transformers_gives_the_same_answer_with_a_saved_model_of_padded_windows(tmp_path):
    model = classifier(pad_to_window=True)
    save_model(model, tmp_path)
    clip = speechlike(2 * SECOND)
    plain, report = AutoModelForAudioClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    extractor = WhisperFeatureExtractor.from_pretrained(tmp_path)
    features = extractor(clip.numpy(), sampling_rate=SECOND, return_tensors="pt").input_features
    torch.testing.assert_close(plain.eval()(features).logits, model(*pad_together([clip])), atol=1e-5, rtol=0)


def test_mel_bands_of_another_model_are_refused(checkpoint, tmp_path):
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    WhisperFeatureExtractor(feature_size=128).save_pretrained(tmp_path)
    with pytest.raises(SetupError, match=r"128 mel bands, but config\.json has num_mel_bins=80"):
        load(tmp_path)


def test_absurd_sizes_are_refused_at_once(checkpoint, tmp_path):
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    edit_config(tmp_path, encoder_layers=10**9)
    with pytest.raises(SetupError, match="encoder_layers must be a whole number from 1 to 1,000"):
        load(tmp_path)


@torch.no_grad()
def test_transformers_sums_the_layers_of_padded_windows_alike_if_the_last_state_is_normalised(tmp_path):
    model = classifier(pad_to_window=True, layers="weighted", last_state="after_norm")
    model.head.layer_weights.data[:] = torch.tensor([0.1, 1.5, -0.7])
    save_model(model, tmp_path)
    clip = speechlike(2 * SECOND)
    plain = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    features = WhisperFeatureExtractor()(clip.numpy(), sampling_rate=SECOND, return_tensors="pt").input_features
    torch.testing.assert_close(plain(features).logits, model(*pad_together([clip])), atol=1e-5, rtol=0)
