"""Find `trainer.step_seconds=auto`: the most audio of a step that fits into the memory of a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch.nn.functional import cross_entropy

from melt_ser.audio import SAMPLE_RATE
from melt_ser.config import TrainerConfig
from melt_ser.core.errors import SetupError
from melt_ser.core.memory import memory_advice
from melt_ser.data.datasets import Batch, ClipDataset
from melt_ser.data.loading import AheadLoader
from melt_ser.data.stage import Stage
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.training.fit import LESS_MEMORY, frames_of_crops, frozen_features

IN_A_DOUBLING = 4
SECONDS = [round(10 * 2 ** (place / IN_A_DOUBLING)) for place in range(60)]  # 10, 12, 14, 17, 20, ... 275,000
"""The values to choose from. They are coarse, so that runs on one kind of GPU find the same."""

FEWEST_STEPS = 32
"""Steps of an epoch that are left: a small corpus would otherwise have one step an epoch on a large GPU."""


def largest_step_seconds(
    config: TrainerConfig, model: SpeechClassifier, stage: Stage, train: ClipDataset, accelerator: Accelerator
) -> int:
    """Return the greatest of `SECONDS` that fits on every process's GPU, times the number of processes.

    It is at most a 32nd of the training part, but not below the least of `SECONDS`. The weights and the random state
    stay as they are.

    Args:
        config: the `trainer` settings.
        model: the model, on the accelerator's device.
        stage: the end of its frozen part.
        train: the utterances to learn from.
        accelerator: device, precision and processes.

    Raises SetupError if the least does not fit.
    """
    processes = accelerator.num_processes
    most = float(train.seconds.sum()) / FEWEST_STEPS / processes
    choice = [seconds for seconds in SECONDS if seconds <= most] or SECONDS[:1]
    trial = TrialStep(config, model, stage, train, accelerator)
    found = min(gather_object([largest_that_fits(trial.fits, choice) or 0]))
    if found == 0:
        raise SetupError(f"Out of memory: {LESS_MEMORY}.")
    return int(found * processes)


def largest_that_fits(fits: Callable[[int], bool], choice: Sequence[int]) -> int | None:
    """Return the greatest value that fits, of rising ones; None if none does.

    The values are doubled until one does not fit; then the interval is halved.
    """
    reached, refused = -1, len(choice)
    while refused - reached > 1:
        place = (reached + refused) // 2
        if refused == len(choice):
            place = min(reached + IN_A_DOUBLING, len(choice) - 1)
        if fits(choice[place]):
            reached = place
        else:
            refused = place
    return choice[reached] if reached >= 0 else None


class TrialStep:
    """A training step without an update, on copies of the longest utterance: the shape that needs most memory."""

    def __init__(
        self, config: TrainerConfig, model: SpeechClassifier, stage: Stage, train: ClipDataset, accelerator: Accelerator
    ) -> None:
        """Load the longest utterance; the arguments are those of `largest_step_seconds`."""
        self.model, self.stage, self.accelerator = model, stage, accelerator
        longest = int(train.seconds.argmax())
        loader = AheadLoader(train, [[longest]], for_gpu=False, workers=0, generator=torch.Generator())
        self.batch = _at_its_longest(next(iter(loader)), float(train.seconds[longest]))
        crop_seconds = config.crop_seconds or float("inf")
        self.lengths, self.cropped = train.seconds, np.minimum(train.seconds, crop_seconds)
        self.seconds = float(self.cropped.max())
        self.crop_frames = frames_of_crops(config, model, stage)
        self.learning = [weight for weight in model.parameters() if weight.requires_grad]
        self.copies = 3 if config.average > 0 else 2  # the two moments of Adam, and the average

    def fits(self, seconds: int) -> bool:
        """Return whether a step of this many seconds, padding included, has room in memory beside the optimiser."""
        device = self.accelerator.device
        devices = [device] if device.type == "cuda" else []
        self.model.train()
        fits = True
        with torch.random.fork_rng(devices):
            try:
                with memory_advice(""):
                    self._compute(self._copies(seconds), device)
            except SetupError:
                fits = False
        for weight in self.learning:
            weight.grad = None
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return fits

    def _copies(self, seconds: int) -> int:
        """Return how many copies of the longest utterance are at least as much audio as one process's share of a step.

        Two clips of 12 s are a step of 24 s, also if the longest clip has 13 s. Several processes share steps of
        `seconds` times their number, and shares differ by an utterance: of three, one of two processes has two.
        """
        processes = self.accelerator.num_processes
        numbers = np.ceil(np.maximum(1, seconds * processes // self.lengths) / processes)
        return math.ceil(float((numbers * self.cropped).max()) / self.seconds - 1e-6)

    def _compute(self, utterances: int, device: torch.device) -> None:
        _reserved = [torch.empty_like(weight) for weight in self.learning for _ in range(self.copies)]
        one = self.batch
        batch = replace(one, inputs=one.inputs.to(device), lengths=one.lengths.repeat(utterances))
        batch.inputs = batch.inputs.repeat_interleave(utterances, dim=0)
        features = frozen_features(self.model, self.stage, batch, self.accelerator)
        if self.crop_frames is not None:
            frames = min(self.crop_frames, features.inputs.shape[1])
            features = replace(features, inputs=features.inputs[:, :frames], lengths=features.lengths.clamp(max=frames))
        with self.accelerator.autocast():
            text = None if one.text is None else one.text.to(device).repeat(utterances, 1)
            logits = self.model(features.inputs, features.lengths, self.stage, text)
        loss = cross_entropy(logits.float(), one.classes.to(device).repeat_interleave(utterances, dim=0))
        loss.backward()  # type: ignore[no-untyped-call]


def _at_its_longest(batch: Batch, seconds: float) -> Batch:
    """Return a batch of one utterance at its greatest length: augmentation by speed may have drawn another."""
    missing = round(seconds * SAMPLE_RATE) - batch.inputs.shape[1]
    if batch.stage is not Stage.nothing or missing <= 0:
        return batch
    audio = torch.nn.functional.pad(batch.inputs, (0, missing))
    return replace(batch, inputs=audio, lengths=torch.tensor([audio.shape[1]]))
