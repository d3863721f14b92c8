"""The loss of an epoch stays on the device, and the first one that is not finite is named when it is read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from melt_ser.core.errors import InputError
from melt_ser.training.progress import RunningLoss

CLIPS: Any = SimpleNamespace(path=lambda row: Path(f"clip{row}.wav"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose only number is the time that the loss sees."""
    now = [100.0]
    monkeypatch.setattr("melt_ser.training.progress.time.monotonic", lambda: now[0])
    return now


def test_the_sum_is_read_once_a_second(clock: list[float]) -> None:
    running = RunningLoss(1, CLIPS, torch.device("cpu"))
    running.add(torch.tensor(3.0), 1, torch.tensor([0, 1]), 2)
    assert running.mean == 1.5  # the first loss is shown at once
    for seconds, loss, mean in ((0.5, 1.0, 1.5), (0.9, 1.0, 1.5), (1.1, 2.0, 7.0 / 5)):
        clock[0] = 100.0 + seconds
        running.add(torch.tensor(loss), 2, torch.tensor([2]), 1)
        assert running.mean == pytest.approx(mean)
    assert running.read() == 7.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_first_loss_that_is_not_finite_is_named(clock: list[float], bad: float) -> None:
    running = RunningLoss(4, CLIPS, torch.device("cpu"))
    for step, value in enumerate((1.0, 2.0, bad, 3.0, float("nan")), start=1):
        running.add(torch.tensor(value), step, torch.tensor([10 * step, 10 * step + 1]), 2)
    with pytest.raises(InputError, match=r"not finite at epoch 4, step 3; .*batch: clip30\.wav, clip31\.wav$"):
        running.read()
