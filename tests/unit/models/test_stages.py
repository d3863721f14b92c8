"""The frozen stage: computed apart from the rest, it gives the same logits and gradients and draws nothing."""

from __future__ import annotations

import pytest
import torch

from melt_ser.data.stage import Stage
from small_models import KINDS, batch_of, each_with_the_first, small_classifier

every_kind = pytest.mark.parametrize("kind", KINDS)
HEADS = [
    {},
    {"layers": "weighted"},
    {"layers": "weighted", "last_state": "after_norm"},
    {"pooling": "attention", "layers": "weighted"},
    {"pooling": "attentive_statistics", "hidden_sizes": [8]},
    {"pooling": "statistics", "layers": "weighted", "standardise": True},
    {"pooling": "statistics", "layers": "all"},
    {"layers": 1, "standardise": True},
]


@pytest.mark.parametrize(("kind", "head"), each_with_the_first(KINDS, HEADS), ids=str)
@pytest.mark.parametrize("freeze", ["nothing", "convolution", 0, 1, 2, "everything"])
def test_a_stage_and_the_rest_of_the_model_give_the_logits_of_the_whole(
    kind: str, head: dict, freeze: int | str
) -> None:
    classifier = small_classifier(kind, **head)
    classifier.backbone.freeze(freeze)
    audio, lengths = batch_of(4000, 9000, 400)
    whole = classifier(audio, lengths)
    for crops in (False, True):
        stage = classifier.frozen_stage(crops)
        apart = classifier(*classifier.compute_stage(stage, audio, lengths), stage)
        assert torch.allclose(apart, whole, atol=1e-5)


@pytest.mark.parametrize(
    ("freeze", "head", "crops", "stage"),
    [
        ("nothing", {}, False, Stage.nothing),
        ("convolution", {}, True, Stage.convolution),
        (0, {}, False, Stage.layers),
        (-1, {}, False, Stage.layers),
        (1, {"layers": "weighted"}, False, Stage.convolution),
        (1, {}, True, Stage.layers),
        ("everything", {"layers": "weighted"}, False, Stage.pooled),
        ("everything", {}, True, Stage.states),
        ("everything", {"pooling": "attention"}, False, Stage.states),
        ("everything", {"pooling": "statistics", "layers": "all"}, False, Stage.pooled),
        (1, {"layers": 2}, False, Stage.convolution),
    ],
)
def test_the_frozen_stage_is_the_last_that_freezing_allows(
    freeze: int | str, head: dict, crops: bool, stage: Stage
) -> None:
    classifier = small_classifier("wavlm", **head)
    classifier.backbone.freeze(freeze)
    assert classifier.frozen_stage(crops) is stage


@pytest.mark.parametrize("setting", ["layerdrop", "mask_time_prob", "mask_feature_prob"])
def test_frozen_layers_that_draw_at_random_are_no_stage(setting: str) -> None:
    classifier = small_classifier("hubert")
    classifier.backbone.freeze(1)
    assert classifier.frozen_stage(crops=False) is Stage.layers
    assert classifier.frozen_stage(crops=False, draws=True) is Stage.convolution  # as the training of a loaded model
    setattr(classifier.backbone.model.config, setting, 0.5)
    assert classifier.frozen_stage(crops=False) is Stage.convolution


@every_kind
@pytest.mark.parametrize("freeze", ["convolution", 1, "everything"])
def test_a_frozen_stage_stays_the_same_while_the_rest_trains(kind: str, freeze: int | str) -> None:
    classifier = small_classifier(kind)
    classifier.backbone.freeze(freeze)
    batch = batch_of(4000, 9000)
    stage = classifier.frozen_stage(crops=False)
    expected, _ = classifier.eval().compute_stage(stage, *batch)
    state = torch.get_rng_state()
    features, counts = classifier.train().compute_stage(stage, *batch)
    assert torch.equal(features, expected)
    assert torch.equal(torch.get_rng_state(), state)
    classifier(features, counts, stage).sum().backward()
    learning = {name for name, parameter in classifier.named_parameters() if parameter.grad is not None}
    frozen = {name for name, parameter in classifier.named_parameters() if not parameter.requires_grad}
    assert learning and frozen and not learning & frozen
