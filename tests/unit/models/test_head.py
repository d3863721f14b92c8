"""Waveforms, pooling and heads: their input, the layers that they read, and no effect of padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import Wav2Vec2FeatureExtractor

from melt_ser.audio import RECEPTIVE_FIELD
from melt_ser.audio.waveform import normalise, pad_together, prepare_waveform
from melt_ser.config import FIXED_POOLINGS, HeadConfig, Pooling
from melt_ser.core.errors import SetupError
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.families import load_backbone
from melt_ser.models.pooling import POOLINGS, AttentiveStatistics
from small_models import CLASSES, FAMILIES, KINDS, batch_of, small_backbone, small_classifier, small_config, speechlike

every_pooling = pytest.mark.parametrize("pooling", [pooling.value for pooling in Pooling])

# Waveforms


@settings(max_examples=30)
@given(samples=st.integers(400, 5000), gain=st.floats(1e-4, 10), offset=st.floats(-1, 1))
def test_normalisation_of_waveforms_equals_that_of_transformers(samples, gain, offset):
    waveform = speechlike(samples) * gain + offset
    expected = Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm([waveform.numpy()], None)[0]
    tolerance = 1e-5 * max(1.0, abs(offset) / float(np.sqrt(waveform.numpy().var() + 1e-7)))
    assert np.abs(normalise(waveform).numpy() - expected).max() < tolerance


def test_normalised_silence_is_zeros():
    assert prepare_waveform(torch.zeros(1000), do_normalize=True).abs().max() == 0


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 401])
def test_short_waveforms_are_padded_before_they_are_normalised(samples):
    prepared = prepare_waveform(torch.ones(samples), do_normalize=False)
    assert prepared.tolist() == [1.0] * samples + [0.0] * (RECEPTIVE_FIELD - samples)
    normalised = prepare_waveform(torch.ones(samples), do_normalize=True)
    assert torch.equal(normalised, normalise(prepared))
    assert pad_together([normalised])[1].tolist() == [max(samples, RECEPTIVE_FIELD)]


def test_a_waveform_is_mono_and_becomes_float32():
    assert prepare_waveform(torch.ones(500, dtype=torch.float64), do_normalize=True).dtype == torch.float32
    with pytest.raises(ValueError, match="one dimension"):
        prepare_waveform(torch.ones(2, 500), do_normalize=True)


def test_waveforms_are_padded_with_zeros_at_the_end():
    audio, lengths = pad_together([torch.ones(3), torch.ones(5)])
    assert audio.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert lengths.tolist() == [3, 5]


# Pooling


def pool(pooling: str, frames: Tensor, frame_mask: Tensor) -> Tensor:
    torch.manual_seed(0)
    return POOLINGS[pooling](frames.shape[-1])(frames, frame_mask)


@every_pooling
@settings(max_examples=25)
@given(own=st.integers(1, 20), padding=st.integers(0, 10), values_behind=st.floats(-1e4, 1e4))
def test_padded_frames_have_no_part_in_pooling(pooling, own, padding, values_behind):
    frames = torch.randn(1, own, 6, generator=torch.Generator().manual_seed(own))
    behind = torch.full((1, padding, 6), values_behind)
    frame_mask = torch.arange(own + padding)[None] < own
    alone = pool(pooling, frames, torch.ones(1, own, dtype=torch.bool))
    assert (pool(pooling, torch.cat([frames, behind], dim=1), frame_mask) - alone).abs().max() < 1e-5


def test_mean_pooling_is_the_mean():
    frames = torch.arange(12.0).view(1, 4, 3)
    frame_mask = torch.tensor([[True, True, False, False]])
    assert pool("mean", frames, frame_mask).tolist() == [[1.5, 2.5, 3.5]]


def test_statistics_pooling_is_mean_and_deviation():
    frames = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0))
    frame_mask = torch.tensor([[True, True, True, True, False, False]])
    mean, deviation = pool("statistics", frames, frame_mask).chunk(2, dim=-1)
    assert torch.allclose(mean, frames[:, :4].mean(dim=1), atol=1e-6)
    assert torch.allclose(deviation, frames[:, :4].std(dim=1, correction=0), atol=1e-5)


def test_attentive_statistics_with_equal_weights_are_mean_and_deviation():
    pooling = AttentiveStatistics(3)
    torch.nn.init.zeros_(pooling.score[2].weight)
    frames = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0))
    mean, deviation = pooling(frames, torch.ones(2, 50, dtype=torch.bool)).chunk(2, dim=-1)
    assert torch.allclose(mean, frames.mean(dim=1), atol=1e-5)
    assert torch.allclose(deviation, frames.std(dim=1, correction=0), atol=1e-5)


@every_pooling
@pytest.mark.parametrize("frames", [torch.randn(1, 1, 4), torch.zeros(1, 9, 4)], ids=["one-frame", "equal-frames"])
def test_pooling_of_equal_frames_has_finite_gradients(pooling, frames):
    frames = frames.clone().requires_grad_()
    pool(pooling, frames, torch.ones(frames.shape[:2], dtype=torch.bool)).sum().backward()
    assert torch.isfinite(frames.grad).all()


# Heads


@every_pooling
@pytest.mark.parametrize("layers", ["last", "weighted", "all", 0, 1, 2])
@pytest.mark.parametrize("hidden_sizes", [[], [8], [8, 6]], ids=["linear", "two-layers", "three-layers"])
@torch.no_grad()
def test_logits_of_every_head_do_not_depend_on_the_batch(pooling, layers, hidden_sizes):
    model = small_classifier("wavlm", pooling=pooling, layers=layers, hidden_sizes=hidden_sizes, dropout=0.3)
    logits = model(*batch_of(400, 6000, 2000))
    assert logits.shape == (3, len(CLASSES))
    assert logits.dtype == torch.float32
    alone = torch.cat([model(*batch_of(length)) for length in (400, 6000, 2000)])
    assert (logits - alone).abs().max() < 1e-5


def test_head_hidden_sizes_are_linear_layers_with_relu_between():
    head = small_classifier("wavlm", hidden_sizes=[8], dropout=0.5).head
    names = [type(layer).__name__ for layer in (*head.network, head.output)]
    assert names == ["Dropout", "Linear", "ReLU", "Dropout", "Linear"]


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_head_reads_the_last_hidden_state_or_a_weighted_sum_of_all(kind):
    """layers=last: the output of the model; layers=weighted: a sum of the layers with softmax weights."""
    clips = batch_of(4000)
    last = small_classifier(kind)
    output = last.backbone(*clips, output_hidden_states=True)
    expected = last.head.output(output.last_hidden_state.mean(dim=1))
    assert torch.allclose(last(*clips), expected, atol=1e-5)

    weighted = small_classifier(kind, layers="weighted")
    weighted.head.layer_weights[:] = torch.tensor([-1.0, 2.0, 0.5])
    states = torch.stack(output.hidden_states)
    frames = (weighted.head.layer_weights.softmax(0).view(-1, 1, 1, 1) * states).sum(dim=0)
    assert torch.allclose(weighted(*clips), weighted.head.output(frames.mean(dim=1)), atol=1e-5)


@pytest.mark.parametrize("kind", ["wavlm-large", "wav2vec2-large", "hubert-large", "hubert-base", "data2vec-large"])
@torch.no_grad()
def test_the_last_state_of_the_weighted_sum_comes_before_or_after_the_final_norm(kind):
    """SUPERB's code and transformers 4 take it after the norm, transformers 5 before it; base models have no norm."""
    clips = batch_of(4000)
    before = small_classifier(kind, layers="weighted")
    after = small_classifier(kind, layers="weighted", last_state="after_norm")
    output = after.backbone(*clips, output_hidden_states=True)
    assert torch.equal(after.head.states(output)[-1], output.last_hidden_state)
    assert torch.equal(before.head.states(output)[-1], output.hidden_states[-1])
    has_norm = kind in ("wavlm-large", "wav2vec2-large", "hubert-large")
    assert torch.allclose(before(*clips), after(*clips), atol=1e-6) != has_norm
    assert after.head.normalised == has_norm
    assert not small_classifier(kind, last_state="after_norm").head.normalised  # the last layer alone is never summed


@pytest.mark.parametrize("kind", ["wavlm-large", "hubert-base"])
@torch.no_grad()
def test_a_head_reads_one_state_or_all_side_by_side(kind):
    clips = batch_of(4000)
    output = small_classifier(kind).backbone(*clips, output_hidden_states=True)
    means = [state.mean(dim=1) for state in output.hidden_states]
    for number, mean in enumerate(means):
        one = small_classifier(kind, layers=number)
        assert torch.allclose(one(*clips), one.head.output(mean), atol=1e-5)
    every = small_classifier(kind, layers="all")
    assert torch.allclose(every(*clips), every.head.output(torch.cat(means, dim=-1)), atol=1e-5)
    with pytest.raises(SetupError, match="head.layers=3, but the backbone has the states 0 to 2"):
        small_classifier(kind, layers=3)


@pytest.mark.parametrize("layers", ["last", "all", "weighted", 1])
@pytest.mark.parametrize("hidden_sizes", [[], [8]], ids=["linear", "two-layers"])
@torch.no_grad()
def test_a_standardised_head_gives_its_linear_layers_features_of_mean_0_and_deviation_1(layers, hidden_sizes):
    model = small_classifier(
        "wavlm-base", pooling="statistics", layers=layers, standardise=True, hidden_sizes=hidden_sizes
    )
    clips = batch_of(4000, 800, 6000, 2000)
    pooled = torch.stack(model.head.pooled(model.backbone(*clips, output_hidden_states=True)), dim=1)
    pooled[:, :, 0] = 3.0
    model.head.set_scale(pooled.mean(dim=0), pooled.std(dim=0, correction=0))
    scaled = (pooled - model.head.shift) / model.head.scale
    assert scaled.mean(dim=0).abs().max() < 1e-4
    assert (scaled.std(dim=0, correction=0)[:, 1:] - 1.0).abs().max() < 1e-3
    assert scaled[:, :, 0].abs().max() == 0  # a feature that does not vary
    expected = model(*clips)
    model.fold_standardisation()
    assert model.head.standardises == model.head_config.standardise == (layers == "weighted")
    assert torch.allclose(model(*clips), expected, atol=1e-3)


def test_the_poolings_without_weights_are_those_that_the_settings_call_fixed():
    assert {name for name, kind in POOLINGS.items() if kind.is_fixed} == {pooling.value for pooling in FIXED_POOLINGS}


def test_a_pooling_that_learns_cannot_be_standardised():
    with pytest.raises(SetupError, match="head.standardise=true needs head.pooling=mean or statistics"):
        small_classifier("wavlm", pooling="attention", standardise=True)


def test_the_weighted_sum_starts_with_equal_weights_and_learns():
    model = small_classifier("hubert", layers="weighted")
    assert model.head.layer_weights.softmax(0).tolist() == pytest.approx([1 / 3] * 3)
    model(*batch_of(4000, 800)).square().sum().backward()
    assert model.head.layer_weights.grad.abs().min() > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_classifier_learns_two_clips_in_a_few_steps(family):
    """From random weights, all parts learn together."""
    model = small_classifier(family, layers="weighted").train()
    clips, classes = batch_of(4000, 1000), torch.tensor([0, 3])
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(25):
        loss = torch.nn.functional.cross_entropy(model(*clips), classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert model.eval()(*clips).argmax(dim=1).tolist() == [0, 3]


def test_the_head_is_drawn_from_the_global_random_state():
    assert torch.equal(
        small_classifier("wavlm", seed=0).head.output.weight, small_classifier("wavlm").head.output.weight
    )
    torch.manual_seed(5)
    other = SpeechClassifier(small_backbone("wavlm"), HeadConfig(), CLASSES)
    assert not torch.equal(other.head.output.weight, small_classifier("wavlm").head.output.weight)


def test_an_unknown_head_setting_is_answered_with_the_nearest():
    with pytest.raises(SetupError, match=r"head.pooling=means is unknown; did you mean 'mean'\?"):
        small_classifier("wavlm", pooling="means")
    with pytest.raises(SetupError, match=r"head.layers=weigted is unknown; did you mean 'weighted'\?"):
        small_classifier("wavlm", layers="weigted")


def test_a_weighted_head_refuses_layer_drop():
    config = small_config("wavlm")
    config.layer_drop = 0.1
    with pytest.raises(SetupError, match="backbone.layer_drop=0"):
        SpeechClassifier(load_backbone(config, 0), HeadConfig(layers="weighted"), CLASSES)
