"""Our attention, dropout, positions and frozen convolutions agree with transformers, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForAudioClassification

from melt_ser.models.backbone import Backbone
from melt_ser.models.export import save_model
from melt_ser.models.families import load_backbone
from melt_ser.models.kernels.attention import position_bias
from melt_ser.models.kernels.dropout import drop_out
from melt_ser.models.kernels.layers import pack, unpack
from melt_ser.models.kernels.positions import convolve_by_blocks
from small_models import (
    FAMILIES,
    KINDS,
    assert_same_gradients,
    batch_of,
    gradients,
    plain_transformers,
    small_backbone,
    small_classifier,
    small_config,
)

LENGTHS = [400, 719, 720, 8000, 100_000]  # 1, 1, 2, 24 and 312 frames
every_kind = pytest.mark.parametrize("kind", KINDS)
every_family = pytest.mark.parametrize("family", FAMILIES)


def loss_of(frames: Tensor) -> Tensor:
    """Return a loss of the frames of one utterance, (frames, features).

    Its direction is fixed, because after a norm the sum of squares would be constant.
    """
    direction = torch.linspace(-1, 1, frames.numel(), dtype=torch.float64).view_as(frames)
    return (frames.double() * direction).square().sum() / len(frames)


@every_kind
@pytest.mark.parametrize("length", LENGTHS)
def test_gradients_of_one_clip_are_those_of_plain_transformers(kind, length):
    backbone, plain = small_backbone(kind), plain_transformers(kind)
    audio, lengths = batch_of(length)
    expected = gradients(plain, loss_of(plain(audio.double()).last_hidden_state[0]))
    actual = gradients(backbone.model, loss_of(backbone(audio, lengths).last_hidden_state[0]))
    assert_same_gradients(actual, expected)


@every_kind
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
def test_gradients_of_a_padded_batch_are_the_sum_of_those_of_its_clips(kind, checkpointing):
    backbone, plain = small_backbone(kind), plain_transformers(kind)
    if checkpointing:
        backbone.train().gradient_checkpointing_enable()
        without_dropout(backbone)
    clips = [batch_of(length)[0] for length in LENGTHS[:4]]
    expected = gradients(plain, sum(loss_of(plain(clip.double()).last_hidden_state[0]) for clip in clips))
    output = backbone(*batch_of(*LENGTHS[:4]))
    rows = zip(output.last_hidden_state, output.frame_mask, strict=True)
    assert_same_gradients(gradients(backbone.model, sum(loss_of(frames[mask]) for frames, mask in rows)), expected)


@every_kind
@torch.no_grad()
def test_attention_over_the_whole_padded_batch_gives_the_same_frames(kind, monkeypatch):
    """This is the path of a GPU: one fused kernel with the bias and the padding in its mask."""
    backbone = small_backbone(kind)
    expected = backbone(*batch_of(*LENGTHS))
    monkeypatch.setattr("melt_ser.models.kernels.layers.packs_on", lambda device: False)
    actual = backbone(*batch_of(*LENGTHS))
    mask = expected.frame_mask
    assert (actual.last_hidden_state - expected.last_hidden_state)[mask].abs().max() < 1e-5


@pytest.mark.parametrize("frames", [1, 2, 49, 900])
@torch.no_grad()
def test_the_position_bias_is_that_of_transformers(frames):
    attention = small_backbone("wavlm").model.encoder.layers[0].attention
    attention.rel_attn_embed.weight.normal_()
    assert torch.equal(position_bias(attention, frames), attention.compute_bias(frames, frames))


@pytest.mark.parametrize("frames", [1, 2, 128, 129, 130, 258, 400])
@pytest.mark.parametrize("kernel", [5, 19, 64, 127, 128])
def test_positions_by_blocks_are_those_of_a_convolution(frames, kernel):
    generator = torch.Generator().manual_seed(frames)
    features = torch.randn(2, 12, frames, generator=generator, requires_grad=True)
    weight = torch.randn(12, 4, kernel, generator=generator, requires_grad=True)
    actual = convolve_by_blocks(features, weight, kernel // 2, groups=3)
    expected = nn.functional.conv1d(features, weight, padding=kernel // 2, groups=3)
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() < 1e-4  # of values around 20
    direction = torch.randn(actual.shape, generator=generator)
    for ours, theirs in zip(
        torch.autograd.grad(actual, (features, weight), direction),
        torch.autograd.grad(expected, (features, weight), direction),
        strict=True,
    ):
        assert (ours - theirs).abs().max() < 2e-4


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm"])
@torch.no_grad()
def test_long_positional_kernels_agree_with_plain_transformers(family):
    """Published models have long kernels; those of the other tests are short."""
    backbone = load_backbone(small_config(family, num_conv_pos_embeddings=128), seed=0)
    assert "forward" in vars(backbone.model.encoder.pos_conv_embed.conv)
    plain = AutoModel.from_config(backbone.model.config).eval()
    plain.load_state_dict(backbone.model.state_dict())
    plain.double()
    output = backbone(*batch_of(*LENGTHS))
    for length, frames, mask in zip(LENGTHS, output.last_hidden_state, output.frame_mask, strict=True):
        assert (frames[mask] - plain(batch_of(length)[0].double()).last_hidden_state[0]).abs().max() < 1e-5


@every_kind
@torch.no_grad()
def test_frozen_convolutions_give_what_learning_ones_give(kind):
    backbone = small_backbone(kind)
    for lengths in ([400], [401, 404, 405, 409, 410, 719, 720], LENGTHS):
        actual, mask = backbone.convolve(*batch_of(*lengths))
        with torch.enable_grad():
            expected, _ = backbone.convolve(*batch_of(*lengths))
        assert actual.shape == expected.shape
        assert (actual - expected)[mask].abs().max() < 1e-5
        assert not actual[~mask].any()


@every_kind
def test_the_fast_kernels_train_under_bfloat16_with_dropout(kind):
    backbone = with_dropout(small_backbone(kind)).train()
    backbone.freeze("convolution")
    with torch.autocast("cpu", torch.bfloat16):
        output = backbone(*batch_of(*LENGTHS))
    actual = gradients(backbone.model, output.last_hidden_state[output.frame_mask].double().square().mean())
    assert actual and all(torch.isfinite(gradient).all() for gradient in actual.values())


@every_family
def test_dropout_is_the_same_when_checkpointing_recomputes_a_layer(family):
    def gradients_with(checkpointing: bool) -> dict[str, Tensor]:
        backbone = with_dropout(small_backbone(family)).train()
        if checkpointing:
            backbone.gradient_checkpointing_enable()
        torch.manual_seed(3)
        return gradients(backbone.model, backbone(*batch_of(*LENGTHS)).last_hidden_state.square().sum())

    expected = gradients_with(False)
    assert_same_gradients(gradients_with(True), expected, 1e-6)
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 0


@every_family
def test_dropout_is_what_the_configuration_says_and_follows_the_seed(family):
    backbone = with_dropout(small_backbone(family))
    probabilities = {module.p for module in backbone.modules() if isinstance(module, nn.Dropout)}
    assert probabilities == {0.5}
    if family != "wav2vec2_conformer":
        assert {layer.attention.dropout for layer in backbone.model.encoder.layers} == {0.5}

    def frames(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return backbone(*batch_of(8000)).last_hidden_state

    assert torch.equal(frames(0), frames(1))
    backbone.train()
    assert torch.equal(frames(0), frames(0))
    assert not torch.equal(frames(0), frames(1))


def test_dropout_drops_its_share_and_keeps_the_mean():
    torch.manual_seed(0)
    features = torch.ones(1000, 1001, requires_grad=True)
    dropped = drop_out(features, 0.1)
    kept = dropped != 0
    assert kept.double().mean().item() == pytest.approx(0.9, abs=2e-3)  # 6 standard deviations
    assert kept.double().mean(dim=0).std().item() == pytest.approx((0.09 / 1000) ** 0.5, rel=0.2)
    assert dropped.double().mean().item() == pytest.approx(1.0, abs=2e-3)
    assert torch.equal(torch.unique(dropped), torch.tensor([0.0, 65536 / (65536 - 6554)]))
    (gradient,) = torch.autograd.grad(dropped.sum(), features)
    assert torch.equal(gradient, dropped)
    assert drop_out(features, 0.0) is features
    assert not drop_out(features, 1.0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("number", [1, 3, 5, 1001])
def test_dropout_of_any_number_of_units_and_precision(number, dtype):
    torch.manual_seed(0)
    dropped = drop_out(torch.ones(number, dtype=dtype), 0.5)
    assert dropped.dtype is dtype
    assert set(dropped.tolist()) <= {0.0, 2.0}


def test_packing_leaves_out_the_padding_and_unpacking_gives_zeros_there():
    frames, counts = torch.randn(3, 4, 2), [3, 1, 2]
    packed = pack(frames, counts)
    assert packed.shape == (1, 6, 2)
    mask = torch.arange(4) < torch.tensor(counts)[:, None]
    assert torch.equal(packed[0], frames[mask])
    assert torch.equal(unpack(packed, counts, 4), frames.masked_fill(~mask[:, :, None], 0.0))


@pytest.mark.parametrize("kind", ["wav2vec2-base", "hubert-large", "wavlm-base", "wavlm-large", "data2vec-base"])
@torch.no_grad()
def test_a_saved_model_gives_the_same_in_transformers(kind, tmp_path):
    classifier = small_classifier(kind)
    save_model(classifier, tmp_path)
    audio, lengths = batch_of(8000)
    theirs = AutoModelForAudioClassification.from_pretrained(tmp_path, attn_implementation="eager")
    assert (theirs(audio).logits - classifier(audio, lengths)).abs().max() < 1e-5
    assert type(AutoModel.from_pretrained(tmp_path).encoder.layers[0].dropout) is nn.Dropout


def with_dropout(backbone: Backbone) -> Backbone:
    """Set all dropout probabilities to a half."""
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    for layer in backbone.model.encoder.layers:
        if hasattr(layer, "attention"):  # a conformer's has a module for it
            layer.attention.dropout = 0.5
    return backbone


def without_dropout(backbone: Backbone) -> None:
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
