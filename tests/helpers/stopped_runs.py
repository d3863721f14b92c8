"""Runs that stop as by Ctrl-C, at a place or after a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from melt_ser.training.checkpoints import save_checkpoint

BEFORE_THE_MODEL = "melt_ser.runs.fold.save_model"  # the training is done, and its last checkpoint is there


@contextmanager
def stopped_at(place: str = BEFORE_THE_MODEL) -> Iterator[None]:
    """Stop the run within the block when it calls a function, which is named by its path."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(place, stop)
        yield


@contextmanager
def stopped_after_checkpoint(is_last: Callable[[Path, Any], bool]) -> Iterator[None]:
    """Stop the run within the block when it has written a checkpoint.

    is_last: says whether to stop, from the folder of the checkpoints and the state of the training.
    """

    def save_then_stop(folder: Path, state: Any, *others: Any) -> None:
        save_checkpoint(folder, state, *others)
        if is_last(folder, state):
            stop()

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("melt_ser.training.fit.save_checkpoint", save_then_stop)
        yield


def stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
