"""The money of one run of `annotate`: what is spent, and when to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

from melt_ser.annotation.cost import Estimate, Price, money
from melt_ser.core.errors import SetupError

ROUNDING = 1e-9  # of sums of many costs
CONSENTED = 2  # the job stops at that many times the estimate to which the user has consented


class Purse:
    """Count the money as answers arrive, and allow a call only if the limit holds with it and all calls under way.

    A call that has not ended counts as much as those before it did on average, or as estimated, if that is more.
    """

    def __init__(self, price: Price | None = None, limit: float = inf, before: float = 0.0, each: float = 0.0) -> None:
        """Begin.

        Args:
            price: of the tokens; None if it is not known, so that nothing can be counted.
            limit: US dollars that this run may spend.
            before: US dollars that earlier runs have spent.
            each: US dollars of a call, as estimated.
        """
        self.price, self.limit, self.before, self.each = price, limit, before, each
        self.spent = 0.0
        self._paid = self._under_way = 0
        self._ended = asyncio.Event()  # a call has ended

    def expect(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Take these tokens for those of a call, if no call was estimated: batches can leave calls open again."""
        if self.price is not None and not self.each:
            self.each = self.price.of(prompt_tokens, completion_tokens)

    def room(self) -> float:
        """Return how many further calls keep to the limit."""
        each = max(self.each, self.spent / self._paid if self._paid else 0.0)
        left = self.limit * (1 + ROUNDING) - self.spent
        return max(left / each - self._under_way, 0.0) if each else inf

    def allows(self) -> bool:
        """Return whether a further call keeps to the limit."""
        return self.room() >= 1

    async def turn(self) -> bool:
        """Wait until a further call keeps to the limit; return False if none will.

        Under a limit, the first call goes alone, since the estimate may be far from what it costs.
        """
        while not self.allows() or (self._under_way and not self._paid and self.limit < inf):
            if not self._under_way:
                return False
            self._ended.clear()
            await self._ended.wait()
        return True

    @contextmanager
    def call_under_way(self, calls: int = 1) -> Iterator[None]:
        """Count calls that are asked but not paid yet."""
        self._under_way += calls
        try:
            yield
        finally:
            self._under_way -= calls
            self._ended.set()

    def pay(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Add the cost of a reply."""
        self._paid += 1
        if self.price is not None:
            self.spent += self.price.of(prompt_tokens, completion_tokens)

    def is_empty(self, missing: int) -> SetupError:
        """Return the error that ends a job with `missing` calls for want of money."""
        return SetupError(
            f"{money(self.spent)} is spent, and the limit is {money(self.limit)}: {missing:,} calls are missing; "
            "the same command goes on with them for as much again, or give another --limit."
        )


def purse_for(estimate: Estimate, price: Price | None, limit: float) -> Purse:
    """Return the purse of a run whose estimate the user knows.

    `limit` is the user's, in US dollars; if the estimate is above it, the user has consented, and the limit is twice
    the estimate. If the price is not known (None), nothing can be counted, and there is no limit.
    """
    if price is None:
        return Purse()
    cost = estimate.cost(price)
    before = price.of(estimate.spent.prompt_tokens, estimate.spent.completion_tokens)
    each = cost / estimate.calls if estimate.calls else 0.0
    return Purse(price, limit if cost <= limit else CONSENTED * cost, before, each)
