"""Prices of models, and the estimate of a job's tokens, money and time."""

from __future__ import annotations

import sys

import pytest

from melt_ser.annotation.cost import TEXT_TOKENS, Estimate, Price, answer_tokens, known_price, parse_price
from melt_ser.annotation.fields import read_fields
from melt_ser.annotation.journal import Spent
from melt_ser.annotation.prompts import load_prompt
from melt_ser.annotation.token_counts import BY_RULE
from melt_ser.core.errors import SetupError


@pytest.mark.parametrize(
    ("model", "address", "batch", "price"),
    [
        ("gpt-4o-2024-08-06", None, False, Price(2.5, 10.0)),
        ("gpt-4o-2024-08-06", None, True, Price(1.25, 5.0)),
        ("gpt-4o-mini-2024-07-18", "https://api.openai.com/v1", False, Price(0.15, 0.6)),
        ("o3-mini", None, False, Price(1.1, 4.4)),
        ("claude-sonnet-4-5", "https://api.anthropic.com/v1/", False, Price(3.0, 15.0)),
        ("gpt-4o", "https://models.example/v1", False, None),
        ("llama", None, False, None),
    ],
)
def test_known_price_is_the_providers_or_none(
    model: str, address: str | None, batch: bool, price: Price | None
) -> None:
    known = known_price(model, address, batch)
    assert (known and known[0]) == (price and pytest.approx(price))
    assert known is None or " by genai-prices " in known[1]


def test_prices_are_not_known_without_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert known_price("gpt-4o", None, False) is None


def test_parse_price_reads_two_numbers() -> None:
    assert parse_price("2.50,10") == Price(2.5, 10.0)
    assert Price(2.5, 10.0).of(1_000_000, 100_000) == 3.5
    for text in ("2.5", "a,b", "-1,2", "nan,1", "1,inf", "1,2,3"):
        with pytest.raises(SetupError, match="--price is US dollars a million tokens"):
            parse_price(text)


def test_the_estimate_counts_tokens_until_the_journal_has_answers() -> None:
    messages = [{"role": "user", "content": "x" * 384}]
    rule = Estimate(BY_RULE, schema_tokens=50, answer_tokens=110, spent=Spent(3, 999, 999, 9.0))
    measured = Estimate(BY_RULE, schema_tokens=50, answer_tokens=110, spent=Spent(20, 4000, 1000, 0.5))
    for estimate in (rule, measured):
        for _ in range(10):
            estimate.add(messages)
    assert (rule.prompt_tokens, rule.completion_tokens, rule.seconds(4)) == (1500, 1100, 5.0)
    assert (measured.prompt_tokens, measured.completion_tokens, measured.seconds(4)) == (2000, 500, 1.25)
    assert measured.cost(Price(1.0, 2.0)) == pytest.approx(0.003)


def test_the_answer_counts_by_the_fields_of_its_prompt() -> None:
    assert all(answer_tokens(load_prompt(name).fields, BY_RULE) == 110 for name in ("melt", "context", "few_shot"))
    label = answer_tokens(load_prompt("dialogue").fields, BY_RULE)
    assert 5 <= label <= 10, 'such as {"emotion": "surprise"}'
    answer = {"mood": "distribution", "arousal": {"type": "score", "from": 1, "to": 7}}
    fields = read_fields(answer, ["joy", "anger", "fear"])
    shares = answer_tokens(fields, BY_RULE)
    assert 12 <= shares <= 25, 'such as {"mood": {"joy": 0.25, "anger": 0.25, "fear": 0.25}, "arousal": 5}'
    with_reason = answer_tokens(read_fields({**answer, "why": "text"}, ["joy", "anger", "fear"]), BY_RULE)
    assert TEXT_TOKENS < with_reason - shares < TEXT_TOKENS + 5
