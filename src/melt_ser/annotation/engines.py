"""The interface of every engine (a service, a local model): it takes a question in messages and returns a reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from melt_ser.core.errors import InputError

Message = dict[str, str]  # role (system, user or assistant) and content, as chat models take them
Schema = dict[str, Any]  # the JSON schema of the answer


class CallFailed(InputError):
    """One question got no answer. Other questions may get one; the same command asks this one again."""


@dataclass(frozen=True)
class Reply:
    """The answer as text and its cost in tokens; also each label's probability, if the engine scores labels.

    The other fields tell where it comes from, as far as the engine knows: `finish` is the server's reason to end the
    answer (such as stop, length or content_filter), `model` and `fingerprint` name the model that answered, `thought`
    is text that came before the answer, `max_tokens` was the limit, and `temperature_sent` is False if the server
    refused a temperature.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    probabilities: Mapping[str, float] | None = None
    finish: str = ""
    model: str = ""
    fingerprint: str = ""
    thought: str = ""
    max_tokens: int | None = None
    temperature_sent: bool = True


class Engine(Protocol):
    """Anything that answers questions; `model` is its name in the labels file."""

    model: str

    async def ask(self, messages: Sequence[Message], schema: Schema, sample: int) -> Reply:
        """Return the reply to one question; `sample` counts repetitions of it from 0.

        Raises CallFailed if this question got no answer, SetupError if no other question will get one either.
        """
        ...
