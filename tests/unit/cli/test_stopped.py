"""A signal that arrives where Python drops every exception ends the block nevertheless."""

from __future__ import annotations

import signal
import sys
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from melt_ser.cli.signals import SIGNALS, queued_again, stopping_in_order
from melt_ser.cli.stopped import Stopped


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Put back the handlers: after the block of a signal, Ctrl-C stays ignored until the program has ended."""
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGUSR2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Deleted:
    """Send this process a signal while it is deleted."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


class Referred:
    """An object that can be referred to weakly."""


def delete_an_object(number: int) -> None:
    Deleted(number)


def call_back_of_a_weak_reference(number: int) -> weakref.ref[Referred]:
    referred = Referred()
    reference = weakref.ref(referred, lambda _: signal.raise_signal(number))
    del referred
    return reference


@pytest.mark.parametrize("dropping", [delete_an_object, call_back_of_a_weak_reference])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_not_lost_with_the_exception_that_python_drops(
    dropping: Callable[[int], weakref.ref[Referred] | None], number: signal.Signals
) -> None:
    went_on = False
    with pytest.raises(Stopped) as stop, stopping_in_order():
        kept = dropping(number)  # until the block has ended
        went_on = True  # the exception was dropped
        time.sleep(30)
    assert went_on
    assert kept is None or kept() is None
    assert stop.value.exit_code == 128 + number


def test_other_exceptions_that_python_drops_are_reported_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[BaseException] = []
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: reported.append(unraisable.exc_value))

    class Broken:
        def __del__(self) -> None:
            raise ValueError("own")

    with stopping_in_order():
        Broken()
    assert [str(error) for error in reported] == ["own"]


def test_a_job_is_queued_again_though_python_drops_the_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    signal.signal(signal.SIGUSR2, lambda *_: sys.exit(255))  # as submitit's handler does
    with pytest.raises(SystemExit), queued_again():
        delete_an_object(signal.SIGUSR2)
        time.sleep(30)
