"""A server of the OpenAI protocol: its address, its key, its client, and its errors as sentences.

The key comes from the environment and goes only to the server: every text of a server or library passes through
`hide`. The client repeats a call after a lost connection, 429 and 5xx with back-off, and waits as long as Retry-After
says (up to two minutes).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from melt_ser.annotation.completions import read_completion
from melt_ser.annotation.dialect import Refusal
from melt_ser.annotation.engines import CallFailed, Message, Reply
from melt_ser.annotation.token_counts import TokenCounter
from melt_ser.core.console import say
from melt_ser.core.errors import SetupError, one_line
from melt_ser.core.secret import without_key

if TYPE_CHECKING:
    from openai import AsyncOpenAI

Result = TypeVar("Result")
OPENAI = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
RETRIES = 10  # of one call: about a minute by the client's back-off, longer if the server asks for it
FILTER_CODES = ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")
CUT_MESSAGE = "output limit was reached"  # OpenAI's
LONGEST_REASON = 300  # characters


def _address(text: str) -> SplitResult | None:
    """Return the parts of a server's address; None if it is not valid."""
    try:
        address = urlsplit(text)
        address.port  # noqa: B018 (raises ValueError unless the port is a number up to 65535)
    except ValueError:
        return None
    return address if address.scheme in ("http", "https") and address.hostname else None


def address_of(base_url: str | None) -> str:
    """Return the address of a server as the journal has it."""
    return (base_url or OPENAI).rstrip("/")


class Endpoint:
    """A server's address, its key, and the client that speaks to it."""

    client: AsyncOpenAI

    def __init__(
        self,
        base_url: str | None = None,
        key_variable: str = KEY_VARIABLE,
        timeout: float = 120.0,
        api_version: str | None = None,
    ) -> None:
        """Read the key from an environment variable.

        Args:
            base_url: the address; None is OpenAI's.
            key_variable: the name of the environment variable.
            timeout: seconds that one reply may take, from the request to its last byte.
            api_version: of Azure's addresses of a deployment.

        Raises SetupError if the key or the package is missing, or the address is not valid.
        """
        try:
            from openai import AsyncOpenAI

            from melt_ser.annotation.bounded_client import BoundedClient
        except ModuleNotFoundError:
            raise SetupError("This engine needs the openai package: pip install 'melt-ser[annotate]'.") from None
        address = _address(base_url or OPENAI)
        if address is None:
            raise SetupError(f"--base-url is an address such as http://127.0.0.1:8000/v1, not '{base_url}'.")
        if "api-version=" in address.query:
            raise SetupError("--base-url holds an api-version; give it by --api-version instead.")
        if address.username or address.query:  # messages and files would show it
            raise SetupError(f"--base-url holds a user name or a query; put the key into ${key_variable} instead.")
        self.address = address_of(base_url)
        self.official = self.address == OPENAI
        self.key_variable = key_variable
        self.timeout = timeout
        self._told_count = False  # whether the user knows that the server does not count the tokens
        self.key = os.environ.get(key_variable, "").strip()
        if not self.key and (self.official or key_variable != KEY_VARIABLE):
            raise SetupError(f"There is no key for {self.address}: set the environment variable {key_variable}.")
        if not self.key.isascii() or not all(map(str.isprintable, self.key)):
            raise SetupError(f"The environment variable {key_variable} does not hold a valid key; set it again.")
        azure = {"api-key": self.key} if api_version else {}  # a redirect would take this header along
        self.client = AsyncOpenAI(
            api_key=self.key or "none",
            base_url=self.address,
            max_retries=RETRIES,
            default_headers=azure,
            default_query={"api-version": api_version} if api_version else {},
            http_client=BoundedClient(timeout, follow_redirects=not api_version),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def twice(self, ask: Callable[[], Awaitable[Result]]) -> Result:
        """Return what a request returns; ask again once if it is not answered in time."""
        import openai

        try:
            return await ask()
        except openai.APITimeoutError:
            return await ask()

    def hide(self, text: str) -> str:
        """Return a text without the key."""
        return without_key(text, self.key)

    def reply(self, completion: Any, question: list[Message], counter: TokenCounter) -> Reply | None:
        """Return the reply in a chat completion (parsed JSON); None if it is no chat completion.

        `counter` counts the tokens of the question and of the answer if the server does not.
        """
        read = read_completion(completion)
        if read is None:
            return None
        prompt, answer = read.prompt_tokens, read.completion_tokens
        if (prompt is None or answer is None) and not self._told_count:
            self._told_count = True
            say(f"note: {self.address} does not count the tokens; they are counted by {counter.name}")
        return Reply(
            self.hide(read.text),
            counter.of_messages(question) if prompt is None else prompt,
            counter.count(read.thought) + counter.count(read.text) if answer is None else answer,
            finish=self.hide(read.finish),
            model=self.hide(read.model),
            fingerprint=self.hide(read.fingerprint),
            thought=self.hide(read.thought),
        )

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Raise CallFailed if one call failed, SetupError if every other will fail too; neither shows the key."""
        import openai

        try:
            yield
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            reason = f"{self.address} refuses the key in ${self.key_variable} ({self.reason(error)})"
            raise SetupError(f"{reason}; set another key there.") from None
        except openai.NotFoundError as error:
            reason = f"{self.address} does not know this model or address ({self.reason(error)})"
            raise SetupError(f"{reason}; correct --model or --base-url.") from None
        except openai.APIError as error:
            if getattr(error, "code", None) == "insufficient_quota":
                reason = f"{self.address} says that the quota is used up ({self.reason(error)})"
                raise SetupError(
                    f"{reason}; raise it, and the same command continues with the missing calls."
                ) from None
            raise CallFailed(f"{self.address}: {self.reason(error)}") from None

    def refusal(self, error: Exception) -> Refusal:
        """Return what a server's error says; `named` is the parameter that it names, or else its whole text."""
        status, named = getattr(error, "status_code", None), getattr(error, "param", None)
        return Refusal(status, str(named or error), self.reason(error))

    def nothing_listens(self, error: Exception) -> SetupError:
        """Return the error for an address without a server."""
        hint = "" if self.official else "start it, or correct --base-url; "
        return SetupError(
            f"{self.address}: {self.reason(error)}; {hint}the same command continues with the missing calls."
        )

    def never_answers(self) -> SetupError:
        """Return the error for a server that has answered nothing in two tries."""
        return SetupError(
            f"{self.address} gives no answer within --timeout {self.timeout:g} s, twice; give a longer --timeout, or "
            "correct --base-url; the same command continues with the missing calls."
        )

    def reason(self, error: Exception) -> str:
        """Return an exception's message on one line, without the key, cut at 300 characters."""
        import openai

        text = getattr(error, "message", "") or str(error)
        if isinstance(error, openai.APITimeoutError):
            text = f"no answer within --timeout {self.timeout:g} s"
        cause = error.__cause__
        if cause is not None and str(cause):
            text = f"{text.rstrip('.')}: {cause}"
        text = self.hide(one_line(" ".join(text.split()))).rstrip(".")
        return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON] + "…"


def finish_in(error: str) -> str | None:
    """Return why an answer ended, if a server tells it by an error with a status of 400; None for any other error.

    Azure's content filter does so, and OpenAI if a model reaches the limit of tokens while it thinks.
    """
    if any(code in error for code in FILTER_CODES):
        return "content_filter"
    return "length" if CUT_MESSAGE in error else None


def is_temporary(error: Exception) -> bool:
    """Return whether the same call may succeed later, after a rate limit, a lost connection or a server error."""
    import openai

    temporary = openai.RateLimitError | openai.APIConnectionError | openai.InternalServerError
    return isinstance(error, temporary) and getattr(error, "code", None) != "insufficient_quota"
