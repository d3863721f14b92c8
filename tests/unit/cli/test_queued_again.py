"""A job of submitit that is preempted, or reaches its time limit, ends in order before it is queued again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from melt_ser.cli.signals import queued_again
from melt_ser.core.errors import SetupError

steps: list[str] = []


@pytest.fixture(autouse=True)
def job(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stand for a job of submitit, which has set its handler before it calls the task."""

    def queue_again(number: int, frame: FrameType | None) -> None:
        steps.append("queued again")
        raise SystemExit(255)

    steps.clear()
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    before = signal.signal(signal.SIGUSR2, queue_again)
    yield
    signal.signal(signal.SIGUSR2, before)


def test_the_block_ends_in_order_even_if_it_catches_exceptions_and_then_the_job_is_queued_again() -> None:
    with pytest.raises(SystemExit), queued_again():
        try:
            signal.raise_signal(signal.SIGUSR2)
        except Exception:  # as in an import that has optional parts
            steps.append("lost")
        finally:
            signal.raise_signal(signal.SIGUSR2)  # Slurm may send it twice
            steps.append("tidied up")
    assert steps == ["tidied up", "queued again"]


def test_a_job_that_may_not_be_queued_again_says_how_it_goes_on() -> None:
    class UncompletedJobError(Exception):
        """As submitit raises it."""

    def refuse(number: int, frame: FrameType | None) -> None:
        raise UncompletedJobError("Job not requeued because: timed-out too many times.")

    signal.signal(signal.SIGUSR2, refuse)
    said = r"timed-out too many times\); the same command goes on from the last epoch"
    with pytest.raises(SetupError, match=said), queued_again():
        signal.raise_signal(signal.SIGUSR2)
    assert signal.getsignal(signal.SIGUSR2) is refuse


def test_a_decoding_process_ignores_the_signal() -> None:
    with queued_again():
        child = os.fork()
        if child == 0:
            try:
                signal.raise_signal(signal.SIGUSR2)
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert steps == []


def test_a_failure_or_an_end_without_the_signal_passes_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="own"), queued_again():
        raise ValueError("own")
    monkeypatch.delenv("SUBMITIT_EXECUTOR")
    with pytest.raises(SystemExit), queued_again():  # outside submitit the handler stays
        signal.raise_signal(signal.SIGUSR2)
    assert steps == ["queued again"]
