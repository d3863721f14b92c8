"""Graphs of padded shapes: the gradients of a batch are those without padding, and no batch sees the one before it.

A stand-in repeats the computation on the fixed tensors, as a graph does; tests/integration/test_gpu.py has real graphs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from melt_ser.config import TrainerConfig
from melt_ser.data.ladder import Ladder, Shape
from melt_ser.training.device import make_accelerator
from melt_ser.training.recorded import RecordedGradients, recorded_gradients
from small_models import KINDS, model_with_gradients, step_input


def stand_in(compute: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Return a function that computes again, and the tensor that it writes."""
    loss = torch.zeros(())

    def repeat() -> None:
        loss.copy_(compute())

    return repeat, loss


@pytest.mark.parametrize("freeze", ["convolution", 1])
@pytest.mark.parametrize("kind", KINDS)
def test_padded_shapes_give_the_loss_and_the_gradients_of_each_batch(kind: str, freeze: str | int) -> None:
    model, stage, learning, gradients = model_with_gradients(kind, freeze)
    recorded = RecordedGradients(gradients, Ladder((Shape(4, 30), Shape(4, 60))), learning, stand_in)
    for lengths in ((16000, 400, 4321), (9000, 5000), (700, 800, 900, 8000), (19000,)):
        batch = step_input(model, stage, *lengths)
        results = []
        for compute in (gradients, recorded):
            for weight in learning:
                nn.init.zeros_(weight.grad)
            loss = compute(batch).item()
            results.append((loss, [weight.grad.clone() for weight in learning]))
        (loss, expected), (same_loss, actual) = results
        assert same_loss == pytest.approx(loss, rel=1e-5)
        largest = max(gradient.abs().max().item() for gradient in expected)
        for own, theirs in zip(actual, expected, strict=True):
            assert (own - theirs).abs().max() < 1e-5 * max(1.0, largest)
    assert set(recorded.graphs) == {Shape(4, 30), Shape(4, 60)}


def test_a_batch_without_room_is_computed_as_it_is() -> None:
    model, stage, learning, gradients = model_with_gradients("hubert-base", "convolution")
    recorded = RecordedGradients(gradients, Ladder((Shape(2, 20),)), learning, stand_in)
    batch = step_input(model, stage, 16000, 400)
    assert recorded(batch) == gradients(batch)
    assert not recorded.graphs


def test_a_failed_recording_is_said_once_and_training_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(compute: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing")

    model, stage, learning, gradients = model_with_gradients("hubert-base", "convolution")
    recorded = RecordedGradients(gradients, Ladder((Shape(4, 60),)), learning, fail)
    batch = step_input(model, stage, 16000, 400)
    for _ in range(2):
        assert recorded(batch) == gradients(batch)
    assert capsys.readouterr().err.count("no graph was recorded, operation not permitted when stream is capturing") == 1


def test_a_training_on_a_cpu_says_that_graphs_have_no_effect(capsys: pytest.CaptureFixture[str]) -> None:
    model, stage, learning, gradients = model_with_gradients("hubert-base", "convolution")
    arguments = (gradients, stage, learning, np.array([[8, 50]]), make_accelerator("cpu"))
    assert recorded_gradients(TrainerConfig(cuda_graphs=True), model, *arguments) is None
    assert "note: trainer.cuda_graphs has no effect: graphs need a CUDA GPU." in capsys.readouterr().err
