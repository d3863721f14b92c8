"""The parts of a backbone that are frozen, and SpecAugment in those that learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from melt_ser.core.errors import SetupError
from melt_ser.models.backbone import Backbone
from melt_ser.models.families import load_backbone
from small_models import FAMILIES, KINDS, NORM_IS_LAST, batch_of, small_backbone, small_config

every_family = pytest.mark.parametrize("family", FAMILIES)


def learning(backbone: Backbone) -> set[str]:
    return {name.removeprefix("model.") for name, parameter in backbone.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("kind", KINDS)
def test_freezing_k_layers_freezes_all_below_them(kind):
    backbone = small_backbone(kind)
    everything = learning(backbone)
    backbone.freeze(1)
    assert not any(
        name.startswith(("feature_", "encoder.pos_conv", "encoder.layers.0.")) for name in learning(backbone)
    )
    assert learning(backbone) >= {name for name in everything if name.startswith("encoder.layers.1.")}
    assert ("encoder.layer_norm.weight" in learning(backbone)) == (kind in NORM_IS_LAST)
    backbone.freeze("convolution")
    assert everything - learning(backbone) == {name for name in everything if name.startswith("feature_extractor.")}
    backbone.freeze("everything")
    assert learning(backbone) == set()
    backbone.freeze("nothing")
    assert learning(backbone) == everything


@every_family
def test_a_frozen_backbone_is_in_evaluation_mode_and_keeps_no_graph(family):
    backbone = small_backbone(family)
    backbone.freeze("everything")
    expected = backbone(*batch_of(800, 4000)).last_hidden_state
    backbone.train()
    actual = backbone(*batch_of(800, 4000)).last_hidden_state
    assert not actual.requires_grad
    assert torch.equal(actual, expected)


@every_family
def test_frozen_parts_stay_in_evaluation_mode_and_the_rest_trains(family):
    backbone = small_backbone(family)
    backbone.freeze(1)
    model = backbone.train().model
    assert not any(
        part.training for part in (model.feature_extractor, model.feature_projection, model.encoder.layers[0])
    )
    assert model.encoder.layers[1].training
    output = backbone(*batch_of(800, 4000))
    output.last_hidden_state.square().sum().backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == learning(backbone)


@every_family
def test_a_backbone_computes_no_gradient_of_the_audio(family):
    """By default, transformers computes it, because reentrant checkpointing needs it."""
    backbone = small_backbone(family).train()
    seen = []
    backbone.model.feature_extractor.conv_layers[0].register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0].requires_grad)
    )
    backbone(*batch_of(800))
    assert seen == [False]


@pytest.mark.parametrize(("top", "as_number"), [(-1, 1), (-2, 0)])
def test_freezing_can_leave_the_top_k_layers_to_learn(top, as_number):
    backbone = small_backbone("wavlm-large")
    backbone.freeze(top)
    learns, stopped = learning(backbone), set(backbone.frozen)
    layers = {name.split(".")[2] for name in learns if name.startswith("encoder.layers.")}
    assert layers == {str(layer) for layer in range(2 + top, 2)}
    backbone.freeze(as_number)
    assert (learning(backbone), set(backbone.frozen)) == (learns, stopped)


@pytest.mark.parametrize("what", ["convolutions", 3, -3])
def test_a_wrong_freeze_is_one_sentence(what):
    with pytest.raises(SetupError, match="trainer.freeze"):
        small_backbone("wavlm").freeze(what)


# SpecAugment


@every_family
def test_specaugment_follows_torchs_random_state_and_only_in_training(family):
    backbone = load_backbone(small_config(family), 0, time_mask_probability=0.5, feature_mask_probability=0.2)
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    clips = batch_of(8000, 16_000)

    def frames(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return backbone(*clips).last_hidden_state.detach()

    backbone.eval()
    assert torch.equal(frames(0), frames(1))
    backbone.train()
    numpy_state = np.random.get_state()[1].copy()
    assert torch.equal(frames(0), frames(0))
    assert not torch.equal(frames(0), frames(1))
    assert (np.random.get_state()[1] == numpy_state).all()


@every_family
def test_specaugment_leaves_too_short_clips_whole(family):
    """transformers raises an error for batches of fewer than ten frames."""
    backbone = load_backbone(small_config(family), 0, time_mask_probability=0.5).train()
    assert torch.isfinite(backbone(*batch_of(400, 2000)).last_hidden_state).all()
