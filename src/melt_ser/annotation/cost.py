"""What a job will take: tokens, money and time, estimated before anything is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import yaml

from melt_ser.annotation.engines import Message
from melt_ser.annotation.journal import Spent
from melt_ser.core.errors import SetupError

CHARACTERS_A_TOKEN = 4  # of English text, by the rule of thumb that OpenAI gives for its tokenizers
ANSWER_TOKENS = 110  # of an answer with all that the prompts ask for, a sentence for the context and the impact each
SECONDS_A_CALL = 2.0  # of a service, until an answer of that length is there
ENOUGH = 20  # answers in the journal from which their own means are taken instead


class Price(NamedTuple):
    """US dollars for a million tokens of prompts and of answers."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars for so many tokens."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


FREE = Price(0.0, 0.0)


def parse_price(text: str) -> Price:
    """A value of --price, such as 2.50,10."""
    try:
        prompt, completion = map(float, text.split(","))
        if min(prompt, completion) >= 0 and max(prompt, completion) < float("inf"):
            return Price(prompt, completion)
    except ValueError:
        pass
    raise SetupError(
        f"--price is US dollars a million tokens of prompts and of answers, such as 2.50,10, not '{text}'."
    )


def known_price(model: str, batch: bool) -> tuple[Price, str] | None:
    """The price of one of OpenAI's models, and where it is from; None for one that is not known."""
    prices = yaml.safe_load((Path(__file__).parent / "prices.yaml").read_text(encoding="utf-8"))
    fitting = [name for name in prices["models"] if model == name or model.startswith(f"{name}-20")]  # a dated version
    if not fitting:
        return None
    share = prices["batch"] if batch else 1.0
    price = prices["models"][max(fitting, key=len)]
    return Price(price["prompt"] * share, price["completion"] * share), f"{prices['source']} as of {prices['read']}"


def is_own_machine(address: str | None) -> bool:
    """Whether an address is of this machine or a private network, where nothing is paid by the token."""
    name = urlsplit(address or "").hostname or ""
    try:
        return ip_address(name).is_private
    except ValueError:
        return name == "localhost"


@dataclass
class Estimate:
    """Tokens of the calls that are open; `add` one after the other, then ask for money and time."""

    schema_tokens: int
    spent: Spent  # by earlier answers of the same model to the same prompt
    calls: int = 0
    prompt_tokens: float = 0.0

    def add(self, messages: Sequence[Message]) -> None:
        """Count a call that will be made."""
        self.calls += 1
        if self.measured:
            self.prompt_tokens += self.spent.prompt_tokens / self.spent.answers
        else:
            self.prompt_tokens += sum(tokens(message["content"]) for message in messages) + self.schema_tokens

    @property
    def measured(self) -> bool:
        """Whether it rests on answers that are there, not on rules of thumb."""
        return self.spent.answers >= ENOUGH

    @property
    def completion_tokens(self) -> float:
        """Tokens of the answers."""
        each = self.spent.completion_tokens / self.spent.answers if self.measured else ANSWER_TOKENS
        return self.calls * each

    def cost(self, price: Price) -> float:
        """US dollars."""
        return price.of(round(self.prompt_tokens), round(self.completion_tokens))

    def seconds(self, concurrency: int) -> float:
        """Seconds of the whole, with so many calls at a time and a server that keeps up with them."""
        each = self.spent.seconds if self.measured and self.spent.seconds is not None else SECONDS_A_CALL
        return self.calls * each / concurrency


def tokens(text: str) -> float:
    """About how many tokens a text has."""
    return len(text) / CHARACTERS_A_TOKEN


def schema_tokens(schema: dict[str, object]) -> int:
    """About how many tokens of each prompt the schema of the answer takes."""
    return round(tokens(json.dumps(schema)))


def thousands(count: float) -> str:
    """A count in thousands, no more exact than an estimate is.

    >>> thousands(5_343_473), thousands(1_234), thousands(0)
    ('5,343', '1.2', '0.0')
    """
    return f"{count / 1e3:,.0f}" if count >= 1e5 else f"{count / 1e3:.1f}"


def money(dollars: float) -> str:
    """US dollars as text.

    >>> money(0.0042), money(12.345)
    ('US$ 0.0042', 'US$ 12.35')
    """
    return f"US$ {dollars:.2f}" if dollars >= 0.1 or dollars == 0 else f"US$ {dollars:.4f}"


def duration(seconds: float) -> str:
    """Seconds as text.

    >>> duration(40), duration(3500), duration(86000)
    ('40 s', '58 min', '23.9 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
