"""The frozen prefix: computed apart from the rest it gives the same logits and gradients, and draws nothing."""

from __future__ import annotations

import pytest
import torch

from melt_ser.data.stage import Stage
from melt_ser.training.frozen import crop_at_random
from small_models import KINDS, batch_of, small_classifier

every_kind = pytest.mark.parametrize("kind", KINDS)
HEADS = [
    {},
    {"layers": "weighted"},
    {"pooling": "attention", "layers": "weighted"},
    {"pooling": "attentive_statistics", "hidden_sizes": [8]},
]


@every_kind
@pytest.mark.parametrize("head", HEADS, ids=lambda head: "-".join(map(str, head.values())) or "linear")
@pytest.mark.parametrize("freeze", ["nothing", "convolution", 0, 1, 2, "everything"])
def test_a_prefix_and_what_comes_after_are_the_whole(kind: str, head: dict, freeze: int | str) -> None:
    classifier = small_classifier(kind, **head)
    classifier.backbone.freeze(freeze)
    audio, lengths = batch_of(4000, 9000, 400)
    whole = classifier(audio, lengths)
    for crops in (False, True):
        prefix = classifier.frozen_stage(crops)
        apart = classifier(*classifier.compute_stage(prefix, audio, lengths), prefix)
        assert torch.allclose(apart, whole, atol=1e-5)


@pytest.mark.parametrize(
    ("freeze", "head", "crops", "prefix"),
    [
        ("nothing", {}, False, Stage.nothing),
        ("convolution", {}, True, Stage.convolution),
        (0, {}, False, Stage.layers),
        (1, {"layers": "weighted"}, False, Stage.convolution),
        (1, {}, True, Stage.layers),
        ("everything", {"layers": "weighted"}, False, Stage.pooled),
        ("everything", {}, True, Stage.states),
        ("everything", {"pooling": "attention"}, False, Stage.states),
    ],
)
def test_the_longest_prefix_that_freezing_allows(freeze: int | str, head: dict, crops: bool, prefix: Stage) -> None:
    classifier = small_classifier("wavlm", **head)
    classifier.backbone.freeze(freeze)
    assert classifier.frozen_stage(crops) is prefix


@pytest.mark.parametrize("setting", ["layerdrop", "mask_time_prob", "mask_feature_prob"])
def test_frozen_layers_that_draw_at_random_are_no_prefix(setting: str) -> None:
    classifier = small_classifier("hubert")
    classifier.backbone.freeze(1)
    setattr(classifier.backbone.model.config, setting, 0.5)
    assert classifier.frozen_stage(crops=False) is Stage.convolution


@every_kind
@pytest.mark.parametrize("freeze", ["convolution", 1, "everything"])
def test_a_prefix_is_the_same_while_the_rest_trains(kind: str, freeze: int | str) -> None:
    classifier = small_classifier(kind)
    classifier.backbone.freeze(freeze)
    batch = batch_of(4000, 9000)
    prefix = classifier.frozen_stage(crops=False)
    expected, _ = classifier.eval().compute_stage(prefix, *batch)
    state = torch.get_rng_state()
    features, counts = classifier.train().compute_stage(prefix, *batch)
    assert torch.equal(features, expected)
    assert torch.equal(torch.get_rng_state(), state)
    classifier(features, counts, prefix).sum().backward()
    learning = {name for name, parameter in classifier.named_parameters() if parameter.grad is not None}
    frozen = {name for name, parameter in classifier.named_parameters() if not parameter.requires_grad}
    assert learning and frozen and not learning & frozen


def test_random_crops_cut_the_longer_ones_only_and_are_the_same_again() -> None:
    features = torch.arange(2 * 10, dtype=torch.float32).reshape(2, 10, 1)
    counts, rows = torch.tensor([10, 3]), torch.tensor([7, 8])
    starts = set()
    for epoch in range(40):
        cropped, cropped_counts = crop_at_random(features, counts, rows, 4, seed=0, epoch=epoch)
        again, _ = crop_at_random(features.flip(0), counts.flip(0), rows.flip(0), 4, seed=0, epoch=epoch)
        assert torch.equal(again.flip(0), cropped)
        assert cropped_counts.tolist() == [4, 3]
        assert cropped[0, :, 0].diff().tolist() == [1, 1, 1]
        assert cropped[1, :3, 0].tolist() == [10, 11, 12]
        starts.add(int(cropped[0, 0, 0]))
    assert starts == set(range(7))
