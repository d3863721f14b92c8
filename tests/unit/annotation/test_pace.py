"""The pace spaces requests so that no minute has more of them, or of their tokens, than allowed."""

from __future__ import annotations

import asyncio

import pytest

from melt_ser.annotation.pace import Pace


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits of a clock that stands still; the clock goes on by what is waited for."""
    now, waited = [1_000.0], []

    async def wait(seconds: float) -> None:
        waited.append(round(seconds, 6))
        now[0] += seconds

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("asyncio.sleep", wait)
    return waited


def turns(pace: Pace, *tokens: int) -> None:
    async def take() -> None:
        for count in tokens:
            await pace.turn(count)

    asyncio.run(take())


def test_requests_are_spaced_evenly(waits: list[float]) -> None:
    turns(Pace(requests=30), 9, 9, 9)
    assert waits == [2.0, 2.0]


def test_a_request_waits_for_the_tokens_of_those_before(waits: list[float]) -> None:
    turns(Pace(tokens=6_000), 300, 100, 50)
    assert waits == [3.0, 1.0]


def test_the_tokens_that_were_taken_count_and_not_those_expected(waits: list[float]) -> None:
    pace = Pace(tokens=6_000)
    turns(pace, 300)
    pace.correct(-200)
    turns(pace, 100)
    assert waits == [1.0]


def test_without_limits_nothing_waits(waits: list[float]) -> None:
    turns(Pace(), 10**9, 10**9)
    assert waits == []
