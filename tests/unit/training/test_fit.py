"""`fit`: the loss of a step, its micro-batches, the choice of the best epoch, patience, losses that are not finite."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import Accelerator

from melt_ser.config import Balance, Schedule, TrainerConfig
from melt_ser.core.errors import InputError
from melt_ser.data.batches import ShuffledBatches
from melt_ser.data.datasets import WaveformDataset
from melt_ser.data.stage import Stage
from melt_ser.evaluation.inference import predict_probabilities
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.training.checkpoints import FitState, learning_weights
from melt_ser.training.dev_scores import DevScores
from melt_ser.training.device import make_accelerator
from melt_ser.training.fit import fit
from melt_ser.training.optimisation import cell_weights
from small_models import small_classifier
from small_runs import NO_DROPOUT, corpus, tones, train

FROZEN = TrainerConfig(
    epochs=1,
    batch_size=4,
    freeze="everything",
    head_learning_rate=1e-2,
    schedule=Schedule.constant,
    warmup_fraction=0.0,
    crop_seconds=None,
)


@pytest.fixture
def clips(tmp_path: Path) -> WaveformDataset:
    """Tones of three of the four classes; the first class has twice as many as each other."""
    return tones(corpus(tmp_path / "tones", speakers=2, each=8, classes=("angry", "happy", "angry", "sad")))


def fit_head(clips: WaveformDataset, folder: Path, **settings: object) -> tuple[SpeechClassifier, FitState]:
    """Fit a new head on a frozen backbone, without dropout, and score it on the same clips."""
    config = dataclasses.replace(FROZEN, **settings)
    model = small_classifier("hubert-base", dropout=0.0)
    model.backbone.freeze(config.freeze)
    state = fit(config, model, Stage.pooled, clips, clips, 0, folder, make_accelerator("cpu"))
    return model, state


@pytest.mark.parametrize("balance", list(Balance))
def test_the_loss_of_fit_is_the_weighted_mean_over_utterances(
    clips: WaveformDataset, tmp_path: Path, balance: Balance
) -> None:
    """However the utterances are cut into steps and micro-batches; sampling draws other utterances every epoch."""
    settings = {"balance": balance, "head_learning_rate": 0.0, "weight_decay": 0.0}
    losses = [
        fit_head(clips, tmp_path / str(number), **settings, **cut)[1].history[0]["train_loss"]
        for number, cut in enumerate(({}, {"gradient_accumulation": 3}, {"batch_size": 16, "batch_seconds": 1.0}))
    ]
    if balance is Balance.sampling:
        assert np.isfinite(losses).all()
        return
    model = small_classifier("hubert-base", dropout=0.0)
    probabilities = predict_probabilities(model, clips, 4, make_accelerator("cpu"))
    own_losses = -np.log(probabilities[np.arange(len(clips)), clips.classes])
    weights = np.ones(len(clips))
    if balance is Balance.loss:
        weights = cell_weights(clips.classes, clips.corpora)
        assert len(set(weights)) == 2
    assert losses == pytest.approx([(weights * own_losses).sum() / weights.sum()] * 3, rel=1e-5)


def test_fit_steps_in_micro_batches_learn_what_whole_steps_learn(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c", each=7)
    settings = (*NO_DROPOUT, "trainer.epochs=5", "dataset.folds=4", "trainer.head_learning_rate=1e-2")
    settings += ("trainer.batch_size=8", "trainer.gradient_accumulation=2")
    losses = [
        pd.read_csv(train(tmp_path / "runs", root, *settings, *more)[0] / "metrics.csv")["train_loss"]
        for more in ((), ("trainer.batch_seconds=1",))
    ]
    assert 0 < np.abs(losses[0] - losses[1]).max() < 1e-4  # only rounding: the cuts differ, the steps do not


def test_steps_by_seconds_give_each_clip_the_same_weight_in_an_epoch(
    clips: WaveformDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At one point, the mean gradient of an epoch's steps is the gradient of the mean loss over all clips.

    Steps that were means over their own clips would give a clip among few others more weight.
    """
    gradients: list[torch.Tensor] = []

    class Recorder(torch.optim.SGD):
        def step(self, closure: object = None) -> None:
            gradients.append(torch.cat([weight.grad.flatten() for weight in self.param_groups[0]["params"]]))

    monkeypatch.setattr(
        "melt_ser.training.fit.make_optimiser", lambda config, model, **_: Recorder(model.head.parameters(), 1.0)
    )
    fit_head(clips, tmp_path / "whole", batch_size=16, max_grad_norm=0.0)
    [whole] = gradients
    gradients.clear()
    fit_head(clips, tmp_path / "by_seconds", step_seconds=1, max_grad_norm=0.0)
    assert len(gradients) > 4
    mean = torch.stack(gradients).mean(dim=0)
    assert torch.allclose(mean, whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


def test_the_rates_of_steps_by_seconds_grow_with_the_root_of_their_clips(
    clips: WaveformDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mean number of clips in a step is counted over all epochs, and `batch_size` has the rates of the settings."""
    _, state = fit_head(clips, tmp_path, epochs=3, batch_size=4, step_seconds=1)
    steps = ShuffledBatches(clips.seconds, 4, 0, step_seconds=1).steps_until(3)
    factor = math.sqrt(16 * 3 / steps / 4)
    assert factor < 1
    assert [row["head_learning_rate"] for row in state.history] == pytest.approx(
        [FROZEN.head_learning_rate * factor] * 3
    )
    assert f"the learning rates are {factor:.2f} times those of trainer.batch_size=4." in capsys.readouterr().err


def test_fit_learns_from_accumulated_batches_as_from_one_batch(tmp_path: Path) -> None:
    """A step of one batch of 64 learns what four batches of 7 to 16 learn together, classes weighted or not."""
    root = corpus(tmp_path / "c", each=7)
    settings = (*NO_DROPOUT, "trainer.epochs=5", "dataset.folds=4", "trainer.head_learning_rate=1e-2")
    histories = [
        pd.read_csv(
            train(
                tmp_path / "runs", root, *settings, f"trainer.batch_size={size}", f"trainer.gradient_accumulation={k}"
            )[0]
            / "metrics.csv"
        )
        for size, k in ((64, 1), (4, 16))
    ]
    assert np.abs(histories[0]["train_loss"] - histories[1]["train_loss"]).max() < 1e-4


def prescribe_dev_scores(monkeypatch: pytest.MonkeyPatch, scores: list[tuple[float, float]]) -> None:
    """Give each epoch of the next fit a dev UA and a dev loss."""
    remaining = iter(scores)

    def dev_scores(*_: object) -> DevScores:
        ua, loss = next(remaining)
        return DevScores("ua", ua, loss, {"dev_ua": ua, "dev_wa": ua})

    monkeypatch.setattr("melt_ser.training.fit.dev_scores", dev_scores)


def test_fit_ends_with_the_weights_of_its_best_epoch(
    clips: WaveformDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [(0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.7, 0.8), (0.6, 0.1)]
    prescribe_dev_scores(monkeypatch, scores)
    model, state = fit_head(clips, tmp_path / "five", epochs=5)
    assert state.best_epoch == 3  # the highest UA, then the lowest loss, then the first
    assert (state.best_dev_ua, state.best_dev_value, state.best_dev_loss) == (0.7, 0.7, 0.8)
    assert [row["dev_ua"] for row in state.history] == [ua for ua, _ in scores]
    prescribe_dev_scores(monkeypatch, scores)
    after_three, _ = fit_head(clips, tmp_path / "three", epochs=3)
    for name, weight in learning_weights(after_three).items():
        assert torch.equal(learning_weights(model)[name], weight)


def test_fit_without_dev_takes_all_epochs_and_keeps_the_last(clips: WaveformDataset, tmp_path: Path) -> None:
    """What `trainer.refit` needs: patience has no dev part to look at, and the rate ends at 0."""
    settings = {"epochs": 3, "schedule": Schedule.linear, "warmup_fraction": 0.2, "patience": 1}
    config, model = dataclasses.replace(FROZEN, **settings), small_classifier("hubert-base", dropout=0.0)
    model.backbone.freeze("everything")
    state = fit(config, model, Stage.pooled, clips, None, 0, tmp_path / "refit", make_accelerator("cpu"))
    assert state.best_epoch == state.epoch == len(state.history) == 3
    assert state.history[-1]["head_learning_rate"] == 0.0
    for name, weight in state.best_weights.items():
        assert torch.equal(learning_weights(model)[name], weight)


@pytest.mark.parametrize(("patience", "epochs"), [(1, 2), (2, 6), (None, 7)])
def test_fit_stops_when_its_patience_is_over(
    clips: WaveformDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int | None, epochs: int
) -> None:
    uas = (0.5, 0.4, 0.6, 0.7, 0.6, 0.6, 0.6)
    prescribe_dev_scores(monkeypatch, [(ua, 1.0) for ua in uas])
    _, state = fit_head(clips, tmp_path, epochs=7, patience=patience)
    assert state.epoch == len(state.history) == len(pd.read_csv(tmp_path / "metrics.csv")) == epochs


def test_fit_names_step_and_files_of_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    settings = ("trainer.head_learning_rate=1e30", "trainer.backbone_learning_rate=1e30", "trainer.max_grad_norm=0")
    with pytest.raises(InputError, match=r"The loss is not finite at epoch \d+, step \d+.*wav/s\d_\d\.wav"):
        train(tmp_path / "runs", corpus(tmp_path / "c"), *settings, "trainer.epochs=5")


@pytest.mark.filterwarnings("error:.*lr_scheduler")
@pytest.mark.filterwarnings("error:.*optimizer.step")
def test_fit_steps_optimiser_and_schedule_in_their_order_with_scaled_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fp16's loss scaling, here on the CPU, the first gradients overflow; torch warns if the order is wrong."""

    def scaling(*arguments: object) -> Accelerator:
        accelerator = make_accelerator(*arguments)  # type: ignore[arg-type]
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
        return accelerator

    monkeypatch.setattr("melt_ser.runs.fold.make_accelerator", scaling)
    settings = ("trainer.epochs=3", "trainer.batch_size=2", "trainer.schedule=constant", "trainer.warmup_fraction=0.5")
    folder, _ = train(tmp_path / "runs", corpus(tmp_path / "c"), *settings)
    rates = pd.read_csv(folder / "metrics.csv")["head_learning_rate"]
    assert 0 < rates[0] < rates[1]  # skipped steps do not count


def test_fit_records_how_much_of_each_epoch_was_padding(tmp_path: Path) -> None:
    folder, result = train(tmp_path / "runs", corpus(tmp_path / "c"), "trainer.epochs=2")
    by_epoch = pd.read_csv(folder / "metrics.csv")["padding"]
    assert result["train"]["padding"] == pytest.approx(by_epoch.mean(), abs=1e-4)
    assert 0 < result["train"]["padding"] < 0.5
