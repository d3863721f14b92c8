"""Ask a server of the OpenAI protocol (OpenAI, vLLM, Ollama, llama.cpp, `transformers serve`) by OpenAI's own client.

The first question goes alone and finds out what the server takes: the form of the answer's schema, the key of the
limit of tokens, a temperature, and whether the model thinks before it answers. All others are asked in that way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from melt_ser.annotation.completions import CUT, error_in, read_json
from melt_ser.annotation.dialect import ANSWER_LIMIT, ANSWER_TOKENS, THINKING_LIMIT, Dialect, Options, first_dialect
from melt_ser.annotation.endpoint import Endpoint, finish_in, is_temporary
from melt_ser.annotation.engines import CallFailed, Message, Reply, Schema
from melt_ser.annotation.pace import Pace
from melt_ser.annotation.token_counts import BY_RULE, TokenCounter
from melt_ser.core.console import say

if TYPE_CHECKING:
    from openai import AsyncOpenAI

FIRST_RETRIES = 1  # of a call that finds out: a server that does not know a form may answer 500 each time
ROUNDS = 3  # times that a question is sent, each with the client's retries, if it fails while others are answered
TIMEOUTS = 2  # times that a question is sent if no answer comes in time
NO_COMPLETION = 3  # replies in a row that are no chat completion, after which the call has failed


class OpenAIEngine:
    """Chat completions, a request for each call (not the Batch API)."""

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        options: Options | None = None,
        counter: TokenCounter = BY_RULE,
        pace: Pace | None = None,
        limit: int = ANSWER_LIMIT,
    ) -> None:
        """Prepare the engine.

        Args:
            endpoint: the server.
            model: the server's name of the model.
            options: the user's choices.
            counter: counts the tokens if the server does not.
            pace: requests and tokens a minute.
            limit: tokens of an answer to begin with, if the options have no `max_tokens`.
        """
        self.endpoint = endpoint
        self.model = model
        self.options = options or Options()
        self.counter = counter
        self.pace = pace or Pace()
        self.limit = self.options.max_tokens or limit
        self.dialect: Dialect | None = None  # what the server takes; None: not known yet
        self.answered = 0
        self._first = asyncio.Lock()  # held by the question that finds out

    async def ask(self, messages: Sequence[Message], schema: Schema, sample: int) -> Reply:
        """Return the reply to one question.

        After a temporary error, a question is asked again if others were answered in the meantime: without limit after
        429, otherwise in up to `ROUNDS` rounds. One round would be too few, because the client may have spent most of
        its retries on 429. A question without an answer in time is asked `TIMEOUTS` times.
        """
        import openai

        failed = timeouts = 0
        with self.endpoint.translated_errors():
            while True:
                answered = self.answered
                try:
                    reply = await self._ask(messages, schema)
                except openai.APITimeoutError:
                    timeouts += 1
                    if timeouts == TIMEOUTS:
                        raise
                except openai.APIError as error:
                    failed += not isinstance(error, openai.RateLimitError)
                    if not is_temporary(error) or self.answered == answered or failed == ROUNDS:
                        raise
                else:
                    self.answered += 1
                    self._raise_limit(reply)
                    return reply

    async def _ask(self, messages: Sequence[Message], schema: Schema) -> Reply:
        if self.dialect is None:
            async with self._first:
                if self.dialect is None:
                    return await self._find_out(messages, schema)
        return await self._complete(self.endpoint.client, messages, schema, self.dialect)

    async def _find_out(self, messages: Sequence[Message], schema: Schema) -> Reply:
        """Return the reply to the first question, and learn what the server refuses."""
        import openai

        dialect = first_dialect(self.endpoint.official)
        impatient = self.endpoint.client.with_options(max_retries=FIRST_RETRIES)
        client, timeouts = impatient, 0
        while True:
            try:
                reply = await self._complete(client, messages, schema, dialect)
            except openai.APITimeoutError:
                timeouts += 1
                if timeouts == TIMEOUTS:
                    raise self.endpoint.never_answers() from None
            except openai.APIError as error:
                simpler = dialect.without(self.endpoint.refusal(error), self.options)
                if simpler is not None:
                    dialect, client = simpler, impatient
                elif self.answered == 0 and type(error.__cause__).__name__ == "ConnectError":
                    raise self.endpoint.nothing_listens(error) from None
                elif client is impatient and is_temporary(error):
                    client = self.endpoint.client
                else:
                    raise
            else:
                if not reply.prompt_tokens:  # a filter has refused the question, perhaps before anything else was read
                    return reply
                self.dialect = dialect
                for note in dialect.notes():
                    say(f"note: {self.endpoint.address} {note}")
                return reply

    async def _complete(
        self, client: AsyncOpenAI, messages: Sequence[Message], schema: Schema, dialect: Dialect
    ) -> Reply:
        import openai

        question, limit = list(messages), self.limit
        body = dialect.body(self.model, question, schema, self.options, limit)
        extra = {key: body.pop(key) for key in self.options.extra_body}
        expected = self.counter.of_messages(question) + ANSWER_TOKENS
        content: object = None
        for _ in range(NO_COMPLETION):
            await self.pace.turn(expected)
            try:
                raw = await client.chat.completions.with_raw_response.create(**body, extra_body=extra)
                content = read_json(raw.http_response.content)
                reply = self.endpoint.reply(content, question, self.counter)
            except openai.BadRequestError as error:
                finish = finish_in(f"{error.code} {error}")
                if finish is None:
                    raise
                return Reply("", 0, 0, finish=finish, max_tokens=limit)
            except ValueError:  # not JSON
                continue
            if reply is not None:
                self.pace.correct(reply.prompt_tokens + reply.completion_tokens - expected)
                return replace(reply, max_tokens=limit, temperature_sent="temperature" in body)
        told = self.endpoint.hide(error_in(content))
        if told:
            raise CallFailed(f"{self.endpoint.address}: {told}")
        raise CallFailed(f"{self.endpoint.address} does not answer with a chat completion; check --base-url.")

    def _raise_limit(self, reply: Reply) -> None:
        """Give a model that was cut while it thought more tokens from now on, unless the user has set the limit."""
        thinks = reply.finish in CUT and not reply.text.strip()
        if thinks and self.options.max_tokens is None and self.limit < THINKING_LIMIT:
            self.limit = THINKING_LIMIT
            say(
                f"note: {self.model} thinks before it answers and was cut at {reply.max_tokens:,} tokens; "
                f"its answers may have {THINKING_LIMIT:,} tokens from now on (--max-tokens sets another limit)"
            )
