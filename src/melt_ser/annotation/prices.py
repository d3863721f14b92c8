"""Prices of models in US dollars a million tokens, and money as text."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import yaml

from melt_ser.core.errors import SetupError


class Price(NamedTuple):
    """US dollars for a million tokens of prompts and of answers."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the cost of these tokens in US dollars."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


FREE = Price(0.0, 0.0)


def price_of(model: str, engine: str, base_url: str | None, given: str | None) -> tuple[Price | None, str]:
    """Return the price of a model's tokens and its source; (None, "") if it is not known.

    `given` is the value of --price (None: not given). Raises SetupError if it is malformed.
    """
    if given:
        return parse_price(given), "--price"
    if engine == "local" or is_own_machine(base_url):
        return FREE, "your own machine"
    return known_price(model, engine == "batch") or (None, "")


def parse_price(text: str) -> Price:
    """Return the price in a value of --price, such as 2.50,10. Raises SetupError for anything else."""
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
    """Return the price of one of OpenAI's models and its source; None for an unknown model."""
    prices = yaml.safe_load((Path(__file__).parent / "prices.yaml").read_text(encoding="utf-8"))
    fitting = [name for name in prices["models"] if model == name or model.startswith(f"{name}-20")]  # a dated version
    if not fitting:
        return None
    share = prices["batch"] if batch else 1.0
    price = prices["models"][max(fitting, key=len)]
    return Price(price["prompt"] * share, price["completion"] * share), f"{prices['source']} as of {prices['read']}"


def is_own_machine(address: str | None) -> bool:
    """Return whether an address is on this machine or a private network, where tokens cost nothing."""
    name = urlsplit(address or "").hostname or ""
    try:
        return ip_address(name).is_private
    except ValueError:
        return name == "localhost"


def money(dollars: float) -> str:
    """Return US dollars as text.

    >>> money(0.0042), money(12.345)
    ('US$ 0.0042', 'US$ 12.35')
    """
    return f"US$ {dollars:.2f}" if dollars >= 0.1 or dollars == 0 else f"US$ {dollars:.4f}"
