"""Loss weights, the fused optimiser, and exact products while models are scored."""

from __future__ import annotations

import copy
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from melt_ser.config import Balance, ObjectiveConfig, Optimiser, TrainerConfig
from melt_ser.evaluation.inference import exact_products
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.outputs import Outputs
from melt_ser.training.objective import Objective
from melt_ser.training.optimisation import Weighting, cell_weights, make_optimiser
from melt_ser.training.targets import Targets
from small_models import batch_of, small_classifier, small_whisper_classifier

CLASS_OF, CORPUS_OF = np.array([0] * 6 + [1] * 2 + [0] * 3 + [1]), np.array([0] * 8 + [1] * 4)


@pytest.mark.parametrize("balance", list(Balance))
def test_weighting_balances_the_loss_or_the_sampling_or_neither(balance: Balance) -> None:
    weighting = Weighting.of(balance, CLASS_OF, CORPUS_OF, 3)
    by_cell = cell_weights(CLASS_OF, CORPUS_OF)
    assert (weighting.in_loss == (by_cell if balance is Balance.loss else 1)).all()
    assert (weighting.sampling is not None) == (balance is Balance.sampling)
    assert weighting.sampling is None or (weighting.sampling == by_cell).all()


def test_label_smoothing_does_not_drive_answers_to_an_absent_class() -> None:
    classes = np.repeat([0, 1, 2], 60)
    weighting = Weighting.of(Balance.loss, classes, np.zeros_like(classes), 4)
    loss = Objective(ObjectiveConfig(), Outputs("abcd"), Targets(classes), weighting.smoothed, smoothing=0.1)
    right, absent = torch.tensor([[4.0, 0, 0, 0]]), torch.tensor([[4.0, 0, 0, 6]])
    assert loss(right, torch.tensor([0])).item() < loss(absent, torch.tensor([0])).item()
    without = Objective(ObjectiveConfig(), Outputs("abc"), Targets(classes), np.ones(3), smoothing=0.1)
    never = torch.tensor([[4.0, 0, 0, -1e4]])
    assert loss(never, torch.tensor([0])) == pytest.approx(without(right[:, :3], torch.tensor([0])))


@pytest.mark.parametrize("kind", list(Optimiser))
def test_the_fused_optimiser_does_what_the_plain_one_does(kind):
    """The plain one is for scaled losses: the fused one would not report skipped steps to accelerate."""
    config = TrainerConfig(optimiser=kind, backbone_learning_rate=1e-3)
    weights = []
    for scaled in (False, True):
        model = small_classifier("wavlm")
        optimiser = make_optimiser(config, model, scaled)
        assert all(group["fused"] is not scaled for group in optimiser.param_groups)
        for _ in range(3):
            optimiser.zero_grad()
            model(*batch_of(400, 2000))[:, 0].sum().backward()
            optimiser.step()
        weights.append(copy.deepcopy(model.state_dict()))
    started = small_classifier("wavlm").state_dict()
    for name, tensor in weights[0].items():
        # Softmax cancels the bias of keys: its gradient is only rounding, but Adam makes full steps of it.
        bound = 2 * 3 * 1e-3 if name.endswith("k_proj.bias") else 1e-5
        assert (tensor - weights[1][name]).abs().max() < bound, name
    assert (weights[0]["head.output.weight"] - started["head.output.weight"]).abs().max() > 1e-3


def rates_of(config: TrainerConfig, model: SpeechClassifier) -> dict[str, tuple[float, float]]:
    """Return learning rate and weight decay of each weight that the optimiser has."""
    groups = make_optimiser(config, model).param_groups
    of_weight = {weight: (group["lr"], group["weight_decay"]) for group in groups for weight in group["params"]}
    assert len(of_weight) == sum(len(group["params"]) for group in groups)
    return {name: of_weight[weight] for name, weight in model.named_parameters() if weight in of_weight}


@pytest.mark.parametrize("kind", ["hubert-base", "wavlm-large", "data2vec-base", "whisper"])
def test_each_layer_has_its_decayed_rate(kind: str) -> None:
    config = TrainerConfig(backbone_learning_rate=1e-3, head_learning_rate=1e-2, layer_decay=0.5, weight_decay=0.1)
    model = small_whisper_classifier() if kind == "whisper" else small_classifier(kind)
    model.backbone.freeze("nothing")
    rates, plain = rates_of(config, model), rates_of(replace(config, layer_decay=1.0), model)
    assert rates.keys() == plain.keys()
    last_norm = "backbone.model.layer_norm." if kind == "whisper" else "backbone.model.encoder.layer_norm."
    for name, (rate, decay) in rates.items():
        assert decay == plain[name][1], "the weight decay stays"
        if name.startswith("head."):
            assert rate == plain[name][0] == 1e-2
            continue
        assert plain[name][0] == 1e-3
        in_layer = re.search(r"model\.(?:encoder\.)?layers\.(\d+)\.", name)
        is_top = name.startswith(last_norm) and model.backbone.normalises_last
        expected = 1e-3 if is_top else 5e-4 * 2 ** int(in_layer[1]) if in_layer else 2.5e-4
        assert rate == pytest.approx(expected), name
    assert {rate for rate, _ in rates.values()} == {2.5e-4, 5e-4, 1e-3, 1e-2}


def test_a_frozen_layer_has_no_rate_and_the_others_keep_theirs() -> None:
    config, model = TrainerConfig(backbone_learning_rate=1e-3, layer_decay=0.5), small_classifier("hubert-base")
    model.backbone.freeze(1)
    backbone = {name: rate for name, (rate, _) in rates_of(config, model).items() if name.startswith("backbone.")}
    assert set(backbone.values()) == {1e-3}
    assert all(".layers.1." in name for name in backbone)


@pytest.mark.parametrize("allowed", [False, True])
def test_scoring_is_exact_and_leaves_training_as_it_was(allowed):
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = allowed
        with exact_products():
            assert not torch.backends.cuda.matmul.allow_tf32
            assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
