"""The moving average of the weights: its values, its place in a training, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import melt_ser.training.fit
from melt_ser.models.export import load_model
from melt_ser.training.average import WeightAverage
from melt_ser.training.checkpoints import load_weights
from small_runs import corpus, outcome, train
from stopped_runs import stopped_after_checkpoint

SETTINGS = ("trainer.epochs=4", "trainer.head_learning_rate=1e-2", "trainer.backbone_learning_rate=1e-3")
AVERAGED = (*SETTINGS, "trainer.average=0.9")
RAW = ("train_loss", "head_learning_rate", "padding")  # columns that show the weights themselves


def test_the_average_follows_its_formula() -> None:
    values = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    weight = nn.Parameter(values[0].clone())
    average = WeightAverage([weight], 0.5)
    expected = values[0].double()
    for step, value in enumerate(values[1:]):
        weight.data.copy_(value)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value.double()
    with average.in_model():
        assert weight.detach().double().numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    assert torch.equal(weight, values[-1])


def test_the_weights_are_back_after_an_error() -> None:
    weight = nn.Parameter(torch.zeros(2))
    average = WeightAverage([weight], 0.9)
    weight.data.fill_(1.0)
    average.update()
    with pytest.raises(KeyboardInterrupt), average.in_model():
        raise KeyboardInterrupt
    assert weight.tolist() == [1.0, 1.0]


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus, and the folder of a run on it with an average."""
    place = tmp_path_factory.mktemp("averaged")
    root = corpus(place / "c")
    return root, train(place / "runs", root, *AVERAGED)[0]


def test_training_goes_on_from_the_weights_themselves(averaged: tuple[Path, Path], tmp_path: Path) -> None:
    root, folder = averaged
    plain, _ = train(tmp_path, root, *SETTINGS)
    with_average, without = (pd.read_csv(each / "metrics.csv") for each in (folder, plain))
    assert with_average[[*RAW]].equals(without[[*RAW]])
    assert (with_average["dev_loss"] != without["dev_loss"]).all()


def test_dev_and_the_saved_model_have_the_average(averaged: tuple[Path, Path], tmp_path: Path, monkeypatch) -> None:
    """The averages of the last epoch, computed here anew from every step's weights, are the model that is saved."""
    root, _ = averaged
    seen: dict[str, Any] = {"models": []}
    make_optimiser, load = melt_ser.training.fit.make_optimiser, load_weights

    def watch(config: Any, model: nn.Module, scaled: bool) -> Any:
        learning = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        copies = {name: weight.detach().double().clone() for name, weight in learning.items()}
        optimiser, steps = make_optimiser(config, model, scaled), iter(range(10_000))

        def after_step(*_: Any) -> None:
            step = next(steps)
            decay = min(0.9, (1 + step) / (10 + step))
            for name, weight in learning.items():
                copies[name] = decay * copies[name] + (1 - decay) * weight.detach().double()

        optimiser.register_step_post_hook(after_step)
        seen["averages"], seen["frozen"] = copies, set(dict(model.named_parameters())) - set(learning)
        return optimiser

    def keep(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
        seen["kept"] = weights
        load(model, weights)

    monkeypatch.setattr("melt_ser.training.fit.make_optimiser", watch)
    monkeypatch.setattr("melt_ser.training.fit.load_weights", keep)
    folder, _ = train(tmp_path, root, *AVERAGED, "trainer.refit=true")  # without dev the last epoch is the best
    assert set(seen["kept"]) == set(seen["averages"])
    assert not seen["frozen"] & set(seen["kept"])
    for name, weight in seen["kept"].items():
        assert weight.dtype == torch.float32
        assert np.abs(weight.double() - seen["averages"][name]).max() < 1e-6, name
    saved = dict(load_model(folder / "model").named_parameters())
    assert all(torch.equal(saved[name], weight) for name, weight in seen["kept"].items())


def test_a_stopped_run_with_an_average_resumes_exactly(averaged: tuple[Path, Path], tmp_path: Path) -> None:
    root, whole = averaged
    with stopped_after_checkpoint(lambda _, state: state.epoch == 2):
        train(tmp_path, root, *AVERAGED)
    [checkpoint] = tmp_path.glob("*/*/*/checkpoints/epoch0002")
    raw, best = (load_file(checkpoint / f"{name}.safetensors") for name in ("model", "best"))
    assert any(not torch.equal(raw[name], best[name]) for name in raw)
    resumed, _ = train(tmp_path, root, *AVERAGED)
    assert outcome(resumed) == outcome(whole)
