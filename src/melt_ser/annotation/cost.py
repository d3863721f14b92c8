"""The cost of a job: prices of tokens, an estimate before anything is asked, and the user's consent."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from melt_ser.annotation.dialect import ANSWER_TOKENS
from melt_ser.annotation.endpoint import OPENAI
from melt_ser.annotation.engines import Message
from melt_ser.annotation.fields import Field
from melt_ser.annotation.job import Job, open_calls
from melt_ser.annotation.journal import Journal, Spent
from melt_ser.annotation.token_counts import TokenCounter
from melt_ser.core.console import duration
from melt_ser.core.errors import SetupError

BATCH_SHARE = 0.5  # the Batch API's share of the price
SECONDS_A_CALL = 2.0  # the time that a service takes for an answer like the paper's
TEXT_TOKENS = 20  # a sentence
ENOUGH = 20  # with this many answers in the journal, their means replace the rules of thumb


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
    return known_price(model, base_url, engine == "batch") or (None, "")


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


def known_price(model: str, base_url: str | None, batch: bool) -> tuple[Price, str] | None:
    """Return the price of a model's tokens at a provider and its source; None if it is not known.

    It is the price of short requests in the table of the package genai-prices, which needs no network.
    """
    try:
        import genai_prices
    except ModuleNotFoundError:
        return None
    thousand = genai_prices.Usage(input_tokens=1_000, output_tokens=1_000)
    try:
        cost = genai_prices.calc_price(thousand, model, provider_api_url=base_url or OPENAI)
    except (LookupError, ValueError):  # no such provider, no such model, or no price of its texts
        return None
    share = 1e3 * (BATCH_SHARE if batch else 1.0)
    source = f"{cost.provider.name} by genai-prices {version('genai-prices')}"
    return Price(float(cost.input_price) * share, float(cost.output_price) * share), source


def is_own_machine(address: str | None) -> bool:
    """Return whether an address is localhost or a private IP address; tokens cost nothing there."""
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


@dataclass
class Estimate:
    """Tokens of the open calls (those still to be made): `add` each call, then read `cost` and `seconds`."""

    counter: TokenCounter
    schema_tokens: int
    answer_tokens: int  # as the prompt's fields let expect
    spent: Spent  # by earlier answers of the same model to the same prompt
    calls: int = 0
    prompt_tokens: float = 0.0

    def add(self, messages: Sequence[Message]) -> None:
        """Count one open call."""
        self.calls += 1
        if self.measured:
            self.prompt_tokens += self.spent.prompt_tokens / self.spent.answers
        else:
            self.prompt_tokens += self.counter.of_messages(messages) + self.schema_tokens

    @property
    def measured(self) -> bool:
        """Whether the estimate uses the means of earlier answers instead of rules of thumb."""
        return self.spent.answers >= ENOUGH

    @property
    def completion_tokens(self) -> float:
        """Tokens of the answers."""
        each = self.spent.completion_tokens / self.spent.answers if self.measured else self.answer_tokens
        return self.calls * each

    def cost(self, price: Price) -> float:
        """Return the cost in US dollars."""
        return price.of(round(self.prompt_tokens), round(self.completion_tokens))

    def seconds(self, concurrency: int) -> float:
        """Return the seconds of all calls, `concurrency` at a time, if the server keeps up with them."""
        each = self.spent.seconds if self.measured and self.spent.seconds is not None else SECONDS_A_CALL
        return self.calls * each / concurrency


def estimate_job(job: Job, journal: Journal, counter: TokenCounter) -> Estimate:
    """Return the estimate of a job's open calls; `counter` counts the tokens of their questions."""
    schema_tokens = counter.count(json.dumps(job.prompt.schema))
    spent = journal.spent(job.model, job.prompt.version)
    estimate = Estimate(counter, schema_tokens, answer_tokens(job.prompt.fields, counter), spent)
    for call in open_calls(job, journal):
        estimate.add(call.question())
    return estimate


def answer_tokens(fields: Sequence[Field], counter: TokenCounter) -> int:
    """Return how many tokens an answer with these fields has, without thoughts.

    The paper's answer was measured. Of another one the JSON is counted, with its longest labels and a sentence for
    each text.
    """
    if any(field.group for field in fields):
        return ANSWER_TOKENS
    texts = sum(field.kind == "text" for field in fields)
    usual = json.dumps({field.name: field.usual for field in fields}, ensure_ascii=False)
    return counter.count(usual) + texts * TEXT_TOKENS


def describe(
    job: Job, estimate: Estimate, price: Price | None, source: str, engine: str, concurrency: int
) -> list[str]:
    """Return the estimate in sentences.

    Args:
        job: the lines, the model and the prompt.
        estimate: of the job's open calls.
        price: US dollars a million tokens; None if it is not known.
        source: the origin of the price, such as --price.
        engine: openai, batch or local.
        concurrency: calls at a time.
    """
    temperature = "no temperature" if job.temperature is None else f"temperature {job.temperature:g}"
    model = f"{job.model} by the prompt {job.prompt.name} ({job.prompt.version}) at {temperature}"
    answered = len(job) - estimate.calls
    before = f"; {answered:,} are answered or submitted already" if answered else ""
    sentences = [f"{_calls(len(job))} of {model}{before}"]
    if not estimate.calls:
        return sentences
    if engine == "local":  # it scores labels, one line after the other, and writes no answer
        time = f"about {duration(estimate.seconds(1))}" if estimate.measured else f"not known before {ENOUGH} answers"
        return [*sentences, f"time: {time}; nothing is paid"]
    basis = f"by {estimate.counter.name}; {estimate.answer_tokens} tokens an answer, thoughts not counted"
    basis = f"as the {estimate.spent.answers:,} answers before" if estimate.measured else basis
    prompts, answers = thousands(estimate.prompt_tokens), thousands(estimate.completion_tokens)
    sentences.append(f"tokens: about {prompts} thousand of prompts and {answers} thousand of answers ({basis})")
    if price is None:
        sentences.append(f"cost: not known, since the price of {job.model} is not; give it, such as --price 2.50,10")
    elif price == FREE:
        sentences.append(f"cost: nothing by the token ({source})")
    else:
        each = f"US$ {price.prompt:.2f} and {price.completion:.2f} a million tokens"
        sentences.append(f"cost: about {money(estimate.cost(price))} ({each}, {source})")
    if engine == "batch":
        sentences.append("time: within a day of each batch, as the Batch API promises")
    else:
        sentences.append(f"time: about {duration(estimate.seconds(concurrency))}, {_calls(concurrency)} at a time")
    return sentences


def _calls(number: int) -> str:
    return f"{number:,} call{'s' if number != 1 else ''}"


def confirm_cost(dollars: float | None, limit: float) -> None:
    """Ask the user whether to go on if the cost is unknown (None) or above the limit, both in US dollars.

    Raises SetupError if the user declines, or if there is no terminal.
    """
    if dollars is not None and dollars <= limit:
        return
    cost = "the cost is not known (give --price, such as 2.50,10)" if dollars is None else f"about {money(dollars)}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise SetupError(f"{cost}, and --limit is {money(limit)}; add --yes, or a higher --limit.")
    print(f"{cost}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise SetupError("stopped before any call; --first 50 tries a prompt for less.")


def thousands(count: float) -> str:
    """Return a count in thousands, rounded as an estimate should be.

    >>> thousands(5_343_473), thousands(1_234), thousands(0)
    ('5,343', '1.2', '0.0')
    """
    return f"{count / 1e3:,.0f}" if count >= 1e5 else f"{count / 1e3:.1f}"
