"""The optimiser's one pass over the weights, and products that are exact where models are scored."""

from __future__ import annotations

import copy

import pytest
import torch

from melt_ser.config import Optimiser, TrainerConfig
from melt_ser.evaluation.inference import exact_products
from melt_ser.training.optimisation import make_optimiser
from small_models import batch_of, small_classifier


@pytest.mark.parametrize("kind", list(Optimiser))
def test_the_fused_optimiser_does_what_the_plain_one_does(kind):
    """The plain one is for scaled losses, where the fused one would hide from accelerate that it skipped a step."""
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
        # Softmax cancels the bias of keys: its gradient is rounding, of which Adam makes steps of the learning rate.
        bound = 2 * 3 * 1e-3 if name.endswith("k_proj.bias") else 1e-5
        assert (tensor - weights[1][name]).abs().max() < bound, name
    assert (weights[0]["head.output.weight"] - started["head.output.weight"]).abs().max() > 1e-3


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
