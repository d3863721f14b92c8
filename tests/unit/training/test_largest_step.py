"""`trainer.step_seconds=auto`: the search, and a trial step that leaves weights and random state as they were."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melt_ser.audio.augment import Augmentation
from melt_ser.config import AugmentConfig, TrainerConfig
from melt_ser.core.errors import SetupError
from melt_ser.data.batches import Shard, ShuffledBatches
from melt_ser.data.datasets import WaveformDataset
from melt_ser.data.stage import Stage
from melt_ser.training import largest_step
from melt_ser.training.device import make_accelerator
from melt_ser.training.largest_step import SECONDS, TrialStep, largest_step_seconds, largest_that_fits
from small_models import KINDS, small_classifier
from small_runs import corpus, tones

CONFIG = TrainerConfig(crop_seconds=15.0)


@given(st.integers(0, 400_000), st.integers(1, len(SECONDS)))
def test_the_search_finds_the_greatest_value_that_fits_in_few_trials(room: int, number: int) -> None:
    choice, tried = SECONDS[:number], []

    def fits(seconds: int) -> bool:
        tried.append(seconds)
        return seconds <= room

    assert largest_that_fits(fits, choice) == max((seconds for seconds in choice if seconds <= room), default=None)
    assert len(tried) == len(set(tried)) <= number / 4 + 4


def test_the_values_to_choose_from_rise_by_at_most_a_quarter() -> None:
    assert SECONDS[:6] == [10, 12, 14, 17, 20, 24]
    assert all(1.1 < above / below < 1.25 for below, above in itertools.pairwise(SECONDS))


def test_a_trial_of_mixed_clips(tmp_path: Path) -> None:
    table = tones(corpus(tmp_path / "c"))
    table.augmentation = Augmentation(AugmentConfig(mixup_probability=1.0))
    model = small_classifier("hubert-batch-norm")
    model.backbone.freeze("convolution")
    assert TrialStep(CONFIG, model, Stage.nothing, table, make_accelerator("cpu")).fits(3)


@pytest.fixture
def train(tmp_path: Path) -> WaveformDataset:
    return tones(corpus(tmp_path / "c"))


@pytest.mark.parametrize("freeze", ["nothing", "convolution", 1])
@pytest.mark.parametrize("kind", ["hubert-batch-norm", "wavlm-base", "conformer-relative", "w2v_bert"])
def test_a_trial_changes_neither_weights_nor_random_state(kind: str, freeze: str | int, train: WaveformDataset) -> None:
    assert kind in (*KINDS, "w2v_bert")
    model = small_classifier(kind)
    model.backbone.freeze(freeze)
    trial = TrialStep(CONFIG, model, model.frozen_stage(crops=False), train, make_accelerator("cpu"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    assert trial.fits(3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


def test_a_trial_computes_copies_of_the_longest_clip_at_its_longest(
    train: WaveformDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Augmentation by speed may draw a shorter one, and a later epoch a longer one."""
    train.seconds = train.seconds * 2
    model = small_classifier("hubert-base")
    shapes = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *given: shapes.append(given[0].shape) or forward(*given))
    TrialStep(CONFIG, model, Stage.nothing, train, make_accelerator("cpu")).fits(10)
    longest = train.seconds.max()
    assert shapes == [(math.ceil(10 / longest), round(16000 * longest))]


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
@given(
    seconds=st.sampled_from(SECONDS[:12]),
    lengths=st.lists(st.floats(0.2, 15.0), min_size=1, max_size=60),
    crop=st.one_of(st.none(), st.floats(1.0, 15.0)),
)
@settings(deadline=None, max_examples=60)
def test_a_trial_has_as_much_audio_as_any_share_of_a_step(
    processes: int, seconds: int, lengths: list[float], crop: float | None
) -> None:
    cropped = np.minimum(lengths, crop or np.inf)
    trial = TrialStep.__new__(TrialStep)
    trial.accelerator = SimpleNamespace(num_processes=processes)  # type: ignore[assignment]
    trial.lengths, trial.cropped, trial.seconds = np.array(lengths), cropped, float(cropped.max())
    steps = ShuffledBatches(lengths, 8, seed=0, step_seconds=float(seconds * processes)).batches(epoch=1)
    shares = [Shard(0, processes).of(rows) for rows in steps]
    largest = max(len(rows) * cropped[rows].max() for rows in shares)
    assert trial._copies(seconds) * trial.seconds >= largest - 1e-3


def test_memory_that_runs_out_is_an_answer_and_any_other_failure_an_error(
    train: WaveformDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_classifier("hubert-base")
    trial = TrialStep(CONFIG, model, Stage.nothing, train, make_accelerator("cpu"))

    def fail(error: Exception) -> None:
        def forward(*_: object) -> None:
            raise error

        monkeypatch.setattr(model, "forward", forward)

    fail(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"))
    assert not trial.fits(10)
    fail(RuntimeError("a fault"))
    with pytest.raises(RuntimeError, match="a fault"):
        trial.fits(10)


def test_a_small_corpus_keeps_32_steps_an_epoch(train: WaveformDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(TrialStep, "fits", lambda trial, seconds: not tried.append(seconds))
    arguments = (CONFIG, small_classifier("hubert-base"), Stage.nothing, train, make_accelerator("cpu"))
    train.seconds = train.seconds * (1000 / train.seconds.sum())
    assert largest_step_seconds(*arguments) == 28 == max(tried)  # of 1,000 s / 32 = 31 s
    monkeypatch.setattr(largest_step, "FEWEST_STEPS", 1)
    assert largest_step_seconds(*arguments) == 905


def test_a_gpu_without_room_for_the_least_is_an_error(train: WaveformDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrialStep, "fits", lambda *_: False)
    with pytest.raises(SetupError, match=r"Out of memory: .*trainer\.crop_seconds"):
        largest_step_seconds(CONFIG, small_classifier("hubert-base"), Stage.nothing, train, make_accelerator("cpu"))
