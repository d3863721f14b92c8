"""Ask a server of the OpenAI protocol (OpenAI, vLLM, Ollama, llama.cpp, `transformers serve`) by OpenAI's own client.

The client retries dropped connections, 429 and 5xx with back-off, and waits as long as Retry-After says (up to two
minutes). The key comes from the environment and goes only to the server: every text of a server or library passes
through `hide`.
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
RETRIES = 10  # of one call: about a minute by the client's back-off, longer if the server asks for it
LONGEST_ANSWER = 500  # tokens; an answer has about a hundred, and the limit caps the cost of one that rambles
SHORTEST_SECRET = 8  # characters
# Three ways to send the answer's schema: OpenAI's, the older one of llama-cpp-python and others, and not at all.
FORMS = ("json_schema", "json_object", "text")
FIRST_RETRIES = 1  # of a call that tests a form: a server that does not know it may answer 500 each time
ROUNDS = 3  # times that a question is sent, each with RETRIES, if it fails while others are answered (see `ask`)
NO_COMPLETION = 3  # replies in a row that are no chat completion, after which the call has failed


def without_key(text: str, key: str) -> str:
    """Return a text without the key. A word too short for a secret stays, since local servers take any word as key.

    >>> without_key("Bearer sk-12345678", "sk-12345678"), without_key("anger", "a")
    ('Bearer <key>', 'anger')
    """
    return text.replace(key, "<key>") if len(key) >= SHORTEST_SECRET else text


def _address(text: str) -> SplitResult | None:
    """Return the parts of a server's address; None if it is not valid."""
    try:
        address = urlsplit(text)
        address.port  # noqa: B018 (raises ValueError unless the port is a number up to 65535)
    except ValueError:
        return None
    return address if address.scheme in ("http", "https") and address.hostname else None


class Endpoint:
    """A server's address, its key, and the client that speaks to it."""

    client: AsyncOpenAI

    def __init__(self, base_url: str | None = None, key_variable: str = KEY_VARIABLE, timeout: float = 120.0) -> None:
        """Read the key from an environment variable. `timeout` is in seconds.

        Raises SetupError if the key or the package is missing, or the address is not valid.
        """
        try:
            from openai import AsyncOpenAI
        except ModuleNotFoundError:
            raise SetupError("This engine needs the openai package: pip install 'melt-ser[annotate]'.") from None
        address = _address(base_url or OPENAI)
        if address is None:
            raise SetupError(f"--base-url is an address such as http://127.0.0.1:8000/v1, not '{base_url}'.")
        if address.username or address.query:  # messages and files would show it
            raise SetupError(f"--base-url holds a user name or a query; put the key into ${key_variable} instead.")
        self.address = base_url or OPENAI
        self.official = base_url is None
        self.key_variable = key_variable
        self.key = os.environ.get(key_variable, "").strip()
        if not self.key and (self.official or key_variable != KEY_VARIABLE):
            raise SetupError(f"There is no key for {self.address}: set the environment variable {key_variable}.")
        if not self.key.isascii() or not all(map(str.isprintable, self.key)):
            raise SetupError(f"The environment variable {key_variable} does not hold a valid key; set it again.")
        self.client = AsyncOpenAI(
            api_key=self.key or "none", base_url=self.address, timeout=timeout, max_retries=RETRIES
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.client.close()

    def hide(self, text: str) -> str:
        """Return a text without the key."""
        return without_key(text, self.key)

    def request(
        self, model: str, messages: Sequence[Message], schema: Schema, temperature: float, form: str = FORMS[0]
    ) -> dict[str, Any]:
        """Return the body of a chat completion.

        Args:
            model: the server's name of the model.
            messages: the chat.
            schema: of the answer.
            temperature: of the sampling.
            form: one of FORMS, the way to send the schema.
        """
        body: dict[str, Any] = {"model": model, "messages": list(messages), "temperature": temperature}
        # OpenAI's newer models refuse max_tokens; of the other servers, not all know max_completion_tokens.
        body["max_completion_tokens" if self.official else "max_tokens"] = LONGEST_ANSWER
        if form == "json_schema":
            named = {"name": "annotation", "schema": schema, "strict": True}
            body["response_format"] = {"type": form, form: named}
        elif form == "json_object":
            body["response_format"] = {"type": form, "schema": schema}
        return body

    def reply(self, completion: Any) -> Reply | None:
        """Return the reply in a chat completion (parsed JSON); None if it is no chat completion."""
        try:
            message, usage = completion["choices"][0]["message"], completion.get("usage") or {}
            text = message.get("content") or message.get("refusal") or ""
            tokens = {kind: int(usage.get(f"{kind}_tokens") or 0) for kind in ("prompt", "completion")}
            text = str(text).encode("utf-8", "backslashreplace").decode()  # half an emoji cannot be written to a file
            return Reply(self.hide(text), tokens["prompt"], tokens["completion"])
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            return None

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Raise CallFailed if one call failed, SetupError if every other will fail too; neither shows the key."""
        import openai

        try:
            yield
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            reason = f"{self.address} refuses the key in ${self.key_variable} ({self._reason(error)})"
            raise SetupError(f"{reason}; set another key there.") from None
        except openai.NotFoundError as error:
            reason = f"{self.address} does not know this model or address ({self._reason(error)})"
            raise SetupError(f"{reason}; correct --model or --base-url.") from None
        except openai.APIError as error:
            if getattr(error, "code", None) == "insufficient_quota":
                reason = f"{self.address} says that the quota is used up ({self._reason(error)})"
                raise SetupError(
                    f"{reason}; raise it, and the same command continues with the missing calls."
                ) from None
            raise CallFailed(f"{self.address}: {self._reason(error)}") from None

    def nothing_listens(self, error: Exception) -> SetupError:
        """Return the error for an address without a server."""
        hint = "" if self.official else "start it, or correct --base-url; "
        return SetupError(
            f"{self.address}: {self._reason(error)}; {hint}the same command continues with the missing calls."
        )

    def _reason(self, error: Exception) -> str:
        """Return an exception's message on one line, without the key, cut at 300 characters."""
        text = getattr(error, "message", "") or str(error)
        cause = error.__cause__
        if cause is not None and str(cause):
            text = f"{text.rstrip('.')}: {cause}"
        text = self.hide(one_line(" ".join(text.split()))).rstrip(".")
        return text if len(text) <= 300 else text[:300] + "…"


def _is_temporary(error: Exception) -> bool:
    """Return whether the same call may succeed later, after a rate limit, a lost connection or a server error."""
    import openai

    temporary = openai.RateLimitError | openai.APIConnectionError | openai.InternalServerError
    return isinstance(error, temporary) and getattr(error, "code", None) != "insufficient_quota"


def _is_about_the_form(error: Exception) -> bool:
    """Return whether a server may refuse the form of the answer: the status is 400 or 422, or the message names it.

    The message is searched because llama-cpp-python's server answers 500 to a form that it does not know.
    """
    import openai

    named = any(word in str(error) for word in ("response_format", *FORMS[:-1]))
    return isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError) or named


class OpenAIEngine:
    """Chat completions, a request for each call (not the Batch API), with the schema if the server takes one."""

    def __init__(self, endpoint: Endpoint, model: str, temperature: float) -> None:
        self.endpoint = endpoint
        self.model = model
        self.temperature = temperature
        self.form: str | None = None  # one of FORMS that the server takes; None: not known yet
        self.answered = 0

    async def ask(self, messages: Sequence[Message], schema: Schema, sample: int) -> Reply:
        """Return the reply to one question.

        If the server refuses one of FORMS, the next one is tried. After a temporary error, a question is asked again if
        others were answered in the meantime: without limit after 429, otherwise in up to `ROUNDS` rounds. One round
        would be too few, because the client may have spent most of its retries on 429.
        """
        import openai

        failed = 0
        with self.endpoint.translated_errors():
            while True:
                answered = self.answered
                try:
                    reply = await self._ask(messages, schema)
                except openai.APIError as error:
                    failed += not isinstance(error, openai.RateLimitError)
                    if not _is_temporary(error) or self.answered == answered or failed == ROUNDS:
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
                    # If another call has succeeded with this form by now, the server refuses the question itself.
                    if form not in (self.form, FORMS[-1]) and _is_about_the_form(error):
                        break
                    if self.answered == 0 and type(error.__cause__).__name__ == "ConnectError":
                        raise self.endpoint.nothing_listens(error) from None
                    if patience is client or not _is_temporary(error):
                        raise
                else:
                    self._take(form)
                    return reply
        raise AssertionError("the last form returns or raises")

    def _take(self, form: str) -> None:
        if self.form is None and form != FORMS[0]:
            instead = "gets it as that of a JSON object" if form == FORMS[1] else "is asked without it"
            say(f"note: {self.endpoint.address} refuses the answer's schema and {instead}")
        self.form = form

    async def _complete(self, client: AsyncOpenAI, messages: Sequence[Message], schema: Schema, form: str) -> Reply:
        body = self.endpoint.request(self.model, messages, schema, self.temperature, form)
        for _ in range(NO_COMPLETION):
            try:
                raw = await client.chat.completions.with_raw_response.create(**body)
                reply = self.endpoint.reply(raw.http_response.json())
            except ValueError:  # not JSON
                continue
            if reply is not None:
                return reply
        raise CallFailed(f"{self.endpoint.address} does not answer with a chat completion; check --base-url.")
