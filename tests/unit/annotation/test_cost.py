"""Prices of models, and the estimate of a job's tokens, money and time."""

from __future__ import annotations

import pytest

from melt_ser.annotation.cost import Estimate, Price, known_price, parse_price
from melt_ser.annotation.journal import Spent
from melt_ser.core.errors import SetupError


@pytest.mark.parametrize(
    ("model", "batch", "price"),
    [
        ("gpt-4o-2024-08-06", False, Price(2.5, 10.0)),
        ("gpt-4o-2024-08-06", True, Price(1.25, 5.0)),
        ("gpt-4o-2024-05-13", False, Price(5.0, 15.0)),
        ("gpt-4o-mini-2024-07-18", False, Price(0.15, 0.6)),
        ("gpt-4o-audio-preview", False, None),
        ("llama", False, None),
    ],
)
def test_known_price_is_the_models_or_none(model: str, batch: bool, price: Price | None) -> None:
    known = known_price(model, batch)
    assert (known and known[0]) == price
    assert known is None or "platform.openai.com" in known[1]


def test_parse_price_reads_two_numbers() -> None:
    assert parse_price("2.50,10") == Price(2.5, 10.0)
    assert Price(2.5, 10.0).of(1_000_000, 100_000) == 3.5
    for text in ("2.5", "a,b", "-1,2", "nan,1", "1,inf", "1,2,3"):
        with pytest.raises(SetupError, match="--price is US dollars a million tokens"):
            parse_price(text)


def test_the_estimate_uses_characters_until_the_journal_has_answers() -> None:
    messages = [{"role": "user", "content": "x" * 400}]
    rule = Estimate(schema_tokens=50, spent=Spent(3, 999, 999, 9.0))
    measured = Estimate(schema_tokens=50, spent=Spent(20, 4000, 1000, 0.5))
    for estimate in (rule, measured):
        for _ in range(10):
            estimate.add(messages)
    assert (rule.prompt_tokens, rule.completion_tokens, rule.seconds(4)) == (1500, 1100, 5.0)
    assert (measured.prompt_tokens, measured.completion_tokens, measured.seconds(4)) == (2000, 500, 1.25)
    assert measured.cost(Price(1.0, 2.0)) == pytest.approx(0.003)
