"""The losses of the group `objective`: what each is, and that it learns what it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from melt_ser.config import AttributeLoss, ClassLoss, ObjectiveConfig, Smoothing
from melt_ser.core.errors import SetupError
from melt_ser.evaluation.rating_metrics import concordance as exact_concordance
from melt_ser.evaluation.rating_metrics import divergence, moments
from melt_ser.models.outputs import Outputs
from melt_ser.training.objective import Objective, concordance, confusability
from melt_ser.training.targets import Targets

CLASSES = np.array([0] * 40 + [1] * 15 + [2] * 5)
VOTES = np.random.default_rng(0).dirichlet([2.0, 1.0, 0.5], 60)
EVERY = np.ones(3)
ROWS = torch.arange(60)


def of_classes(smoothing: float = 0.0, **settings: object) -> Objective:
    return Objective(ObjectiveConfig(**settings), Outputs("abc"), Targets(CLASSES), EVERY, smoothing)


def of_votes(smoothing: float = 0.0, **settings: object) -> Objective:
    targets = Targets(VOTES.argmax(axis=1), VOTES, is_distribution=True)
    return Objective(ObjectiveConfig(**settings), Outputs("abc"), targets, EVERY, smoothing)


def test_the_standard_loss_of_classes_is_torchs_cross_entropy() -> None:
    logits = torch.randn(60, 3)
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(CLASSES), label_smoothing=0.1, reduction="none")
    assert torch.equal(of_classes(0.1)(logits, ROWS), expected)


def test_a_focal_loss_without_focus_is_the_cross_entropy_and_with_it_forgives_easy_clips() -> None:
    logits = torch.randn(60, 3)
    plain = of_classes()(logits, ROWS)
    focal = of_classes(class_loss=ClassLoss.focal, focal_gamma=0.0)(logits, ROWS)
    assert torch.allclose(focal, plain, atol=1e-6)
    focused = of_classes(class_loss=ClassLoss.focal, focal_gamma=2.0)(logits, ROWS)
    right = torch.softmax(logits, 1)[ROWS, torch.from_numpy(CLASSES)]
    assert torch.allclose(focused, (1 - right) ** 2 * plain, atol=1e-6)


def test_logit_adjustment_adds_the_log_shares_of_the_classes() -> None:
    logits = torch.randn(60, 3)
    shares = torch.tensor([40, 15, 5]) / 60
    expected = nn.functional.cross_entropy(logits + shares.log(), torch.from_numpy(CLASSES), reduction="none")
    assert torch.allclose(of_classes(class_loss=ClassLoss.logit_adjusted)(logits, ROWS), expected, atol=1e-6)
    scaled = logits * (torch.tensor([40, 15, 5]) / 40) ** 0.3 + shares.log()
    expected = nn.functional.cross_entropy(scaled, torch.from_numpy(CLASSES), reduction="none")
    found = of_classes(class_loss=ClassLoss.vector_scaling, scaling=0.3)(logits, ROWS)
    assert torch.allclose(found, expected, atol=1e-6)


def test_the_divergence_is_that_of_torch_and_differs_from_the_cross_entropy_by_a_constant() -> None:
    logits = torch.randn(60, 3)
    goal = torch.from_numpy(VOTES).float()
    expected = nn.functional.kl_div(logits.log_softmax(1), goal, reduction="none").sum(dim=1)
    found = of_votes(class_loss=ClassLoss.divergence)(logits, ROWS)
    assert torch.allclose(found, expected, atol=1e-6)
    others = torch.randn(60, 3)
    gap = of_votes()(logits, ROWS) - found
    assert torch.allclose(
        gap, of_votes()(others, ROWS) - of_votes(class_loss=ClassLoss.divergence)(others, ROWS), atol=1e-5
    )


def test_multi_label_takes_every_class_above_its_even_share_as_right() -> None:
    logits = torch.randn(60, 3)
    goal = torch.from_numpy(VOTES > 1 / 3).float()
    expected = nn.functional.binary_cross_entropy_with_logits(logits, goal, reduction="none").mean(dim=1)
    assert torch.allclose(of_votes(class_loss=ClassLoss.multi_label)(logits, ROWS), expected)


def test_confusable_classes_share_the_smoothed_part() -> None:
    votes = np.array([[0.8, 0.2, 0.0], [0.6, 0.4, 0.0], [0.0, 1.0, 0.0]])
    targets = Targets(np.array([0, 0, 1]), votes)
    assert confusability(targets, 3)[0].tolist() == [0.0, 1.0, 0.0]  # raters take the first class for the second only
    assert confusability(targets, 3)[1].tolist() == [0.0, 1.0, 0.0]  # they agree on the second
    config = ObjectiveConfig(smoothing=Smoothing.confusability)
    goal = Objective(config, Outputs("abc"), targets, EVERY, 0.1).goal
    assert torch.allclose(goal, torch.tensor([[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.0, 1.0, 0.0]]))
    with pytest.raises(SetupError, match="needs the votes of raters"):
        Objective(config, Outputs("abc"), Targets(CLASSES), EVERY, 0.1)


def test_concordance_is_that_of_the_metric_and_leaves_out_unknown_numbers() -> None:
    answers, goal = np.random.default_rng(1).normal(size=(2, 50, 2))
    known = np.ones((50, 2))
    known[:20, 1] = 0
    found = concordance(*(torch.from_numpy(values) for values in (answers, goal, known)))
    for column, first in ((0, 0), (1, 20)):
        sums = moments(goal[first:, column], answers[first:, column]).sum(axis=0)
        assert found[column].item() == pytest.approx(float(exact_concordance(sums)), abs=1e-6)


def test_learned_weights_grow_for_the_task_that_is_surer() -> None:
    attributes = np.random.default_rng(2).normal(size=(60, 1))
    targets = Targets(CLASSES, attributes=attributes)
    config = ObjectiveConfig(learned_weights=True, attribute_loss=AttributeLoss.squared_error)
    objective = Objective(config, Outputs("abc", {"arousal": (1.0, 7.0)}), targets, EVERY, 0.0)
    logits = torch.cat([torch.zeros(60, 3), torch.tensor(attributes + 0.1).float()], dim=1)
    uncertainties = nn.Parameter(torch.zeros(2))
    optimiser = torch.optim.SGD([uncertainties], lr=0.1)
    for _ in range(400):
        optimiser.zero_grad()
        objective(logits, ROWS, uncertainties).mean().backward()
        optimiser.step()
    weights = torch.exp(-uncertainties)
    assert weights[1] > 10 * weights[0]  # a squared error of 0.01 against a cross-entropy of log 3
    assert weights[0].item() == pytest.approx(1 / np.log(3), rel=0.05)


def test_fixed_weights_multiply_the_parts() -> None:
    targets = Targets(CLASSES, attributes=np.zeros((60, 1)))
    outputs, logits = Outputs("abc", {"arousal": (1.0, 7.0)}), torch.randn(60, 4)
    config = ObjectiveConfig(attribute_loss=AttributeLoss.squared_error)
    losses = {
        weights: Objective(
            replace(config, class_weight=weights[0], attribute_weight=weights[1]), outputs, targets, EVERY, 0.0
        )
        for weights in ((1.0, 0.0), (0.0, 1.0), (2.0, 3.0))
    }
    parts = {weights: objective(logits, ROWS) for weights, objective in losses.items()}
    assert torch.allclose(parts[2.0, 3.0], 2 * parts[1.0, 0.0] + 3 * parts[0.0, 1.0])


def trained(objective: Objective, features: torch.Tensor, outputs: int, steps: int = 600) -> torch.Tensor:
    """Return the logits of a linear model that was trained with an objective."""
    torch.manual_seed(0)
    model = nn.Linear(features.shape[1], outputs)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    rows = torch.arange(len(features))
    for _ in range(steps):
        optimiser.zero_grad()
        objective(model(features), rows).mean().backward()
        optimiser.step()
    return model(features).detach()


@pytest.mark.parametrize("loss", list(AttributeLoss))
def test_attributes_without_noise_are_learnt(loss: AttributeLoss) -> None:
    generator = np.random.default_rng(3)
    features = generator.normal(size=(300, 5))
    goal = np.tanh(features @ generator.normal(size=(5, 2)) * 0.4)
    outputs = Outputs([], {"arousal": (1.0, 7.0), "valence": (1.0, 5.0)})
    targets = Targets(np.zeros(300, dtype=np.int64), attributes=goal)
    objective = Objective(ObjectiveConfig(attribute_loss=loss), outputs, targets, np.zeros(0), 0.0)
    answers = outputs.answers(trained(objective, torch.tensor(features).float(), 2)).numpy()
    for column, (low, high) in enumerate(outputs.scales.values()):
        right = low + (goal[:, column] + 1) / 2 * (high - low)
        assert float(exact_concordance(moments(right, answers[:, column].astype(float)).sum(axis=0))) > 0.95


@pytest.mark.parametrize("loss", [ClassLoss.cross_entropy, ClassLoss.divergence])
def test_a_distribution_is_learnt(loss: ClassLoss) -> None:
    generator = np.random.default_rng(4)
    features = generator.normal(size=(300, 5))
    scores = np.exp(features @ generator.normal(size=(5, 3)))
    shares = scores / scores.sum(axis=1, keepdims=True)
    targets = Targets(shares.argmax(axis=1), shares, is_distribution=True)
    objective = Objective(ObjectiveConfig(class_loss=loss), Outputs("abc"), targets, EVERY, 0.0)
    answers = Outputs("abc").answers(trained(objective, torch.tensor(features).float(), 3)).numpy()
    assert divergence(shares, answers.astype(float))[:, 1].mean() < 0.05


@pytest.mark.parametrize("loss", [loss for loss in ClassLoss if loss is not ClassLoss.divergence])
def test_every_class_loss_learns_separable_classes(loss: ClassLoss) -> None:
    features = torch.tensor(np.eye(3)[CLASSES]).float() + 0.1 * torch.randn(60, 3)
    logits = trained(of_classes(class_loss=loss), features, 3)
    assert (logits.argmax(dim=1).numpy() == CLASSES).all()


def test_independent_classes_answer_with_scaled_sigmoids() -> None:
    outputs = Outputs("abc", {"arousal": (1.0, 7.0)}, independent=True)
    answers = outputs.answers(torch.tensor([[0.0, 2.0, -1.0, 0.5]]))
    own = torch.sigmoid(torch.tensor([0.0, 2.0, -1.0]))
    assert torch.allclose(answers[0, :3], own / own.sum())
    assert answers[0, 3].item() == pytest.approx(1 + 1.5 * 3)  # a logit of -1 is 1, one of 1 is 7
