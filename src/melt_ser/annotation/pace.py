"""Keep to a number of requests and of tokens a minute, as a provider's contract states them."""

from __future__ import annotations

import asyncio
import time


class Pace:
    """Space the requests evenly, so that no minute has more of them, or more of their tokens, than allowed."""

    def __init__(self, requests: float | None = None, tokens: float | None = None) -> None:
        """Take the most requests and tokens a minute; None: without limit."""
        self.seconds_a_request = 60.0 / requests if requests else 0.0
        self.seconds_a_token = 60.0 / tokens if tokens else 0.0
        self._next_request = self._next_tokens = 0.0  # in seconds of time.monotonic()

    async def turn(self, tokens: int) -> None:
        """Wait until a request with `tokens` expected tokens, its answer's included, may begin."""
        now = time.monotonic()
        begins = max(now, self._next_request, self._next_tokens)
        self._next_request = max(now, self._next_request) + self.seconds_a_request
        self._next_tokens = max(now, self._next_tokens) + self.seconds_a_token * tokens
        if begins > now:
            await asyncio.sleep(begins - now)

    def correct(self, tokens: int) -> None:
        """Count the tokens that a request took beyond those expected (negative: fewer)."""
        self._next_tokens += self.seconds_a_token * tokens
