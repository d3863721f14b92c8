"""The frames and logits of an utterance do not depend on padding, order or neighbours."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from melt_ser.models.kernels.masking import BatchPadding, UtteranceGroupNorm, normalise_together
from small_models import KINDS, assert_same_gradients, batch_of, plain_transformers, small_classifier

TOLERANCE = 1e-5
BOUNDARIES = [400, 401, 404, 405, 409, 410, 719, 720, 721]  # around the first two frames and the first strides
VERY_DIFFERENT = [400, 16_000, 3_200, 801]

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def models() -> dict[str, object]:
    """Classifiers by kind, made once; a test that changes one copies it."""
    return {kind: small_classifier(kind, layers="weighted") for kind in KINDS}


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    """Return all gradients; large models lack those of the last norm, which a weighted sum of layers leaves out."""
    actual = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name, gradient in actual.items() if gradient is None} <= {
        "backbone.model.encoder.layer_norm.weight",
        "backbone.model.encoder.layer_norm.bias",
    }
    return {name: gradient.clone() for name, gradient in actual.items() if gradient is not None}


def training_without_dropout(model: nn.Module) -> nn.Module:
    model = copy.deepcopy(model).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def logits_alone(model: nn.Module, lengths: list[int]) -> Tensor:
    return torch.cat([model(*batch_of(length)) for length in lengths])


@every_kind
@pytest.mark.parametrize("lengths", [BOUNDARIES, VERY_DIFFERENT], ids=["boundaries", "very-different"])
@torch.no_grad()
def test_logits_do_not_depend_on_the_batch(models, kind, lengths):
    model = models[kind]
    together, alone = model(*batch_of(*lengths)), logits_alone(model, lengths)
    assert (together - alone).abs().max() < TOLERANCE
    assert alone.std(dim=0).min() > 100 * TOLERANCE  # equal logits would prove nothing


@every_kind
def test_logits_do_not_depend_on_the_batch_while_training(models, kind):
    model = training_without_dropout(models[kind])
    assert (model(*batch_of(*VERY_DIFFERENT)) - logits_alone(model, VERY_DIFFERENT)).abs().max() < TOLERANCE


@every_kind
@torch.no_grad()
def test_frames_of_one_clip_agree_with_plain_transformers(models, kind):
    backbone, plain = models[kind].backbone, plain_transformers(kind)
    for length in [*BOUNDARIES, 8000]:
        audio, lengths = batch_of(length)
        expected = plain(audio.double(), output_hidden_states=True)
        actual = backbone(audio, lengths, output_hidden_states=True)
        assert (actual.last_hidden_state - expected.last_hidden_state).abs().max() < TOLERANCE
        for ours, theirs in zip(actual.hidden_states, expected.hidden_states, strict=True):
            assert (ours - theirs).abs().max() < TOLERANCE


@every_kind
@torch.no_grad()
def test_frames_of_a_padded_clip_agree_with_plain_transformers_on_the_clip_alone(models, kind):
    plain = plain_transformers(kind)
    actual = models[kind].backbone(*batch_of(*VERY_DIFFERENT))
    for row, length in enumerate(VERY_DIFFERENT):
        expected = plain(batch_of(length)[0].double()).last_hidden_state[0]
        assert actual.frame_mask[row].sum() == len(expected)
        assert (actual.last_hidden_state[row, : len(expected)] - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize("kind", ["wav2vec2-base", "hubert-base", "hubert-batch-norm", "wavlm-base", "data2vec-base"])
@torch.no_grad()
def test_frames_of_plain_transformers_do_depend_on_padding(kind):
    """Otherwise the tests of this file could not fail."""
    plain = plain_transformers(kind)
    audio, lengths = batch_of(4000, 16_000)
    audio = audio.double()
    mask = torch.arange(audio.shape[1]) < lengths[:, None]
    alone = plain(audio[:1, :4000]).last_hidden_state[0]
    padded = plain(audio, attention_mask=mask.long()).last_hidden_state[0, : len(alone)]
    assert (padded - alone).abs().max() > 1000 * TOLERANCE


@pytest.mark.parametrize("kind", ["hubert-batch-norm", "wavlm-base", "data2vec-base"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(400, 4000), min_size=1, max_size=5),
    padding=st.integers(0, 1000),
    random=st.randoms(use_true_random=False),
)
@torch.no_grad()
def test_logits_do_not_depend_on_lengths_order_and_padding(models, kind, lengths, padding, random):
    model = models[kind]
    order = random.sample(range(len(lengths)), len(lengths))
    audio, own_lengths = batch_of(*(lengths[row] for row in order))
    together = model(nn.functional.pad(audio, (0, padding)), own_lengths)
    assert (together - logits_alone(model, lengths)[order]).abs().max() < TOLERANCE


@every_kind
def test_gradients_do_not_depend_on_the_batch(models, kind):
    model = copy.deepcopy(models[kind])

    def gradients(*lengths: int) -> dict[str, Tensor]:
        model.zero_grad()
        model(*batch_of(*lengths))[0].square().sum().backward()
        return gradients_of(model)

    assert_same_gradients(gradients(2000, 6000, 400), gradients(2000))


@every_kind
def test_gradient_checkpointing_recomputes_with_the_lengths_of_its_forward_pass(models, kind):
    model = training_without_dropout(models[kind])

    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        loss = model(*batch_of(2000, 6000, 400)).square().sum()
        with torch.no_grad():
            model(*batch_of(800, 500))  # another batch before the backward pass
        loss.backward()
        return gradients_of(model)

    expected = gradients()
    model.backbone.gradient_checkpointing_enable()
    assert model.backbone.model.is_gradient_checkpointing
    assert_same_gradients(gradients(), expected)


@every_kind
def test_padded_batches_train_under_bfloat16(models, kind):
    model = copy.deepcopy(models[kind])
    expected = model(*batch_of(2000, 6000, 400))
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(*batch_of(2000, 6000, 400))
        logits.square().sum().backward()
    assert logits.dtype == torch.float32
    assert (logits - expected).abs().max() < 0.1
    assert all(torch.isfinite(gradient).all() for gradient in gradients_of(model).values())


@every_kind
@torch.no_grad()
def test_padded_batches_give_no_warning(models, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models[kind](*batch_of(*VERY_DIFFERENT))


@torch.no_grad()
def test_a_copied_model_has_its_own_padding(models):
    """The hooks and methods of a copied model refer to the copy."""
    original = models["data2vec-base"]
    copied = copy.deepcopy(original)
    assert (copied(*batch_of(*VERY_DIFFERENT)) - original(*batch_of(*VERY_DIFFERENT))).abs().max() == 0


def test_group_norm_computes_statistics_of_bfloat16_in_float32():
    """bfloat16 has 8 bits, too few for a mean of 30 with a deviation of 1."""
    features = (torch.randn(2, 3, 500, generator=torch.Generator().manual_seed(0)) + 30).bfloat16()
    padding = BatchPadding()
    norm = UtteranceGroupNorm(nn.GroupNorm(3, 3), padding)
    with torch.no_grad(), padding.set(first_frames=[200, 500]):
        actual = norm(features)
    expected = nn.functional.group_norm(features[:1, :, :200].float(), 3)
    assert (actual[0, :, :200] - expected[0]).abs().max() < 0.02
    assert actual.dtype == torch.bfloat16
    assert actual[0, :, 200:].abs().max() == 0


@pytest.mark.parametrize("groups", [8, 2])
def test_group_norm_of_all_utterances_at_once_is_that_of_each(groups: int) -> None:
    """A GPU computes it at once; its results and gradients are those of one utterance after another."""
    generator = torch.Generator().manual_seed(2)
    features = (3 * torch.randn(3, 8, 50, generator=generator) + 5).requires_grad_()
    padding, frames = BatchPadding(), [50, 1, 17]
    norm = UtteranceGroupNorm(nn.GroupNorm(groups, 8), padding)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(8, generator=generator))
        norm.bias.copy_(torch.randn(8, generator=generator))
    direction = torch.randn(features.shape, generator=generator)
    results = []
    for together in (False, True):
        with padding.set(first_frames=frames):
            arguments = (features, norm.weight, norm.bias, frames, groups, norm.eps)
            output = normalise_together(*arguments) if together else norm(features)
        results.append([output, *torch.autograd.grad(output, (features, norm.weight, norm.bias), direction)])
    for each, at_once in zip(*results, strict=True):
        assert (each - at_once).abs().max() < 1e-4  # of values and gradients around 30


def test_group_norm_has_the_gradient_of_finite_differences():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, 2, 7, generator=generator)
    direction, weights = torch.randn(2, 2, 2, 7, generator=generator)
    padding = BatchPadding()
    norm = UtteranceGroupNorm(nn.GroupNorm(2, 2), padding)

    def loss(step: float) -> Tensor:
        with padding.set(first_frames=[4, 7]):
            return (norm(features + step * direction) * weights).sum()

    features.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(0.0), features)
    assert (gradient * direction).sum().item() == pytest.approx((loss(0.01) - loss(-0.01)).item() / 0.02, rel=1e-2)
    assert gradient[0, :, 4:].abs().max() == 0
