"""Any server of the OpenAI protocol (OpenAI, vLLM, Ollama, llama.cpp, `transformers serve`), by the official client.

The client retries dropped connections, 429 and 5xx with back-off, and waits as long as Retry-After says. The key comes
from the environment and leaves it only for the server: whatever a server or library says goes through `hide`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from melt_ser.annotation.engines import CallFailed, Message, Reply, Schema
from melt_ser.core.console import say
from melt_ser.core.errors import SetupError, one_line

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
RETRIES = 10  # of one call: about a minute by the client's back-off, longer where the server asks for it
LONGEST_ANSWER = 500  # tokens; an answer has about a hundred, and one that rambles is not paid for without end
SHORTEST_SECRET = 8  # characters
# How a server can be given the answer's schema: OpenAI's way, the older one of llama-cpp-python and others, not at all.
FORMS = ("json_schema", "json_object", "text")
FIRST_RETRIES = 1  # of a call by which it is found out which of them a server takes
ROUNDS = 3  # of so many tries, for a question without an answer while others got theirs
NO_COMPLETION = 3  # answers in a row that are no chat completion, before the call counts as failed


def without_key(text: str, key: str) -> str:
    """A text in which a key does not stand; what is too short for a secret (local servers take any word) stays.

    >>> without_key("Bearer sk-12345678", "sk-12345678"), without_key("anger", "a")
    ('Bearer <key>', 'anger')
    """
    return text.replace(key, "<key>") if len(key) >= SHORTEST_SECRET else text


def _address(text: str) -> SplitResult | None:
    """The parts of a server's address; None where it is none."""
    try:
        address = urlsplit(text)
        address.port  # noqa: B018 (read for its ValueError: a port is a number up to 65535)
    except ValueError:
        return None
    return address if address.scheme in ("http", "https") and address.hostname else None


class Endpoint:
    """A server's address with the key for it, and the client that speaks to it."""

    client: AsyncOpenAI

    def __init__(self, base_url: str | None = None, key_variable: str = KEY_VARIABLE, timeout: float = 120.0) -> None:
        """Read the key from an environment variable; SetupError where it lacks, the address or the package is wrong."""
        try:
            from openai import AsyncOpenAI
        except ModuleNotFoundError:
            raise SetupError("This engine needs the openai package: pip install 'melt-ser[annotate]'.") from None
        address = _address(base_url or OPENAI)
        if address is None:
            raise SetupError(f"--base-url is an address such as http://127.0.0.1:8000/v1, not '{base_url}'.")
        if address.username or address.query:  # it would come into messages and files
            raise SetupError(f"--base-url holds a user name or a query; put the key into ${key_variable} instead.")
        self.address = base_url or OPENAI
        self.official = base_url is None
        self.key_variable = key_variable
        self.key = os.environ.get(key_variable, "").strip()
        if not self.key and (self.official or key_variable != KEY_VARIABLE):
            raise SetupError(f"There is no key for {self.address}: set the environment variable {key_variable}.")
        if not self.key.isascii() or not all(map(str.isprintable, self.key)):
            raise SetupError(f"The environment variable {key_variable} holds what is no key; set it again.")
        self.client = AsyncOpenAI(
            api_key=self.key or "none", base_url=self.address, timeout=timeout, max_retries=RETRIES
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.client.close()

    def hide(self, text: str) -> str:
        """A text in which the key does not stand."""
        return without_key(text, self.key)

    def request(
        self, model: str, messages: Sequence[Message], schema: Schema, temperature: float, form: str = FORMS[0]
    ) -> dict[str, Any]:
        """The body of a chat completion; with another of FORMS the schema goes another way, or not at all."""
        body: dict[str, Any] = {"model": model, "messages": list(messages), "temperature": temperature}
        body["max_completion_tokens" if self.official else "max_tokens"] = LONGEST_ANSWER  # old name, known everywhere
        if form == "json_schema":
            named = {"name": "annotation", "schema": schema, "strict": True}
            body["response_format"] = {"type": form, form: named}
        elif form == "json_object":
            body["response_format"] = {"type": form, "schema": schema}
        return body

    def reply(self, completion: Any) -> Reply | None:
        """What a chat completion (as parsed JSON) says; None where it is none."""
        try:
            message, usage = completion["choices"][0]["message"], completion.get("usage") or {}
            text = message.get("content") or message.get("refusal") or ""
            tokens = {kind: int(usage.get(f"{kind}_tokens") or 0) for kind in ("prompt", "completion")}
            text = str(text).encode("utf-8", "backslashreplace").decode()  # half an emoji, which no file or table takes
            return Reply(self.hide(text), tokens["prompt"], tokens["completion"])
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            return None

    @contextmanager
    def telling_failures(self) -> Iterator[None]:
        """Raise CallFailed where one call failed, SetupError where every other will fail too; neither holds the key."""
        import openai

        try:
            yield
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            said = f"{self.address} refuses the key in ${self.key_variable} ({self._reason(error)})"
            raise SetupError(f"{said}; set another.") from None
        except openai.NotFoundError as error:
            said = f"{self.address} does not have this ({self._reason(error)})"
            raise SetupError(f"{said}; correct --model or --base-url.") from None
        except openai.APIError as error:
            if getattr(error, "code", None) == "insufficient_quota":
                said = f"{self.address} says that the quota is used up ({self._reason(error)})"
                raise SetupError(f"{said}; the same command goes on.") from None
            raise CallFailed(f"{self.address}: {self._reason(error)}") from None

    def is_not_there(self, error: Exception) -> SetupError:
        """What to say where nothing listens at the address."""
        hint = "" if self.official else "start it, or correct --base-url; "
        return SetupError(f"{self.address}: {self._reason(error)}; {hint}the same command goes on.")

    def _reason(self, error: Exception) -> str:
        """What a client's exception says, on one line, without the key, and not at length."""
        text = getattr(error, "message", "") or str(error)
        cause = error.__cause__
        if cause is not None and str(cause):
            text = f"{text.rstrip('.')}: {cause}"
        text = self.hide(one_line(" ".join(text.split()))).rstrip(".")
        return text if len(text) <= 300 else text[:300] + "…"


def _is_in_passing(error: Exception) -> bool:
    """Whether the same call may be answered later: a limit on the rate, a lost connection, an error of the server."""
    import openai

    in_passing = openai.RateLimitError | openai.APIConnectionError | openai.InternalServerError
    return isinstance(error, in_passing) and getattr(error, "code", None) != "insufficient_quota"


def _is_about_the_form(error: Exception) -> bool:
    """Whether a server refuses the form that an answer is to have: by 400 or 422, or in the words of another status.

    llama-cpp-python's server says 500, which the client would try again and again.
    """
    import openai

    named = any(word in str(error) for word in ("response_format", *FORMS[:-1]))
    return isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError) or named


class OpenAIEngine:
    """Chat completions one by one, with the schema where the server takes one."""

    def __init__(self, endpoint: Endpoint, model: str, temperature: float) -> None:
        self.endpoint = endpoint
        self.model = model
        self.temperature = temperature
        self.form: str | None = None  # which of FORMS the server takes; None: not known yet
        self.answered = 0

    async def ask(self, messages: Sequence[Message], schema: Schema, sample: int) -> Reply:
        """The reply to one question.

        A server that refuses one of FORMS is asked in the next, from then on. One that answers others in the meantime
        is asked again: where it says 429 until it is this one's turn, where the last of the client's tries failed in
        another way (most of them may have been 429) `ROUNDS` times.
        """
        import openai

        failed = 0
        with self.endpoint.telling_failures():
            while True:
                answered = self.answered
                try:
                    reply = await self._ask(messages, schema)
                except openai.APIError as error:
                    failed += not isinstance(error, openai.RateLimitError)
                    if not _is_in_passing(error) or self.answered == answered or failed == ROUNDS:
                        raise
                else:
                    self.answered += 1
                    return reply

    async def _ask(self, messages: Sequence[Message], schema: Schema) -> Reply:
        import openai

        client = self.endpoint.client
        if self.form is not None:
            return await self._complete(client, messages, schema, self.form)
        for form in FORMS:
            for patience in (client.with_options(max_retries=FIRST_RETRIES), client):
                try:
                    reply = await self._complete(patience, messages, schema, form)
                except openai.APIError as error:
                    # Where another call has seen by now that the server takes this form, it refuses the question.
                    if form not in (self.form, FORMS[-1]) and _is_about_the_form(error):
                        break
                    if self.answered == 0 and type(error.__cause__).__name__ == "ConnectError":
                        raise self.endpoint.is_not_there(error) from None
                    if patience is client or not _is_in_passing(error):
                        raise
                else:
                    self._take(form)
                    return reply
        raise AssertionError("The last form ends the loop.")

    def _take(self, form: str) -> None:
        if self.form is None and form != FORMS[0]:
            instead = "is given it as that of a JSON object" if form == FORMS[1] else "is asked without it"
            say(f"note: {self.endpoint.address} refuses the answer's schema and {instead}")
        self.form = form

    async def _complete(self, client: AsyncOpenAI, messages: Sequence[Message], schema: Schema, form: str) -> Reply:
        body = self.endpoint.request(self.model, messages, schema, self.temperature, form)
        for _ in range(NO_COMPLETION):
            try:
                raw = await client.chat.completions.with_raw_response.create(**body)
                reply = self.endpoint.reply(raw.http_response.json())
            except ValueError:  # no JSON
                continue
            if reply is not None:
                return reply
        raise CallFailed(f"{self.endpoint.address} answers with what is no chat completion.")
