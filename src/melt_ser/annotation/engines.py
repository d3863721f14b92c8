"""What every engine (a service, a local model) is to the rest: a question in messages, and its reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from melt_ser.core.errors import InputError

Message = dict[str, str]  # role (system, user or assistant) and content, as chat models take them
Schema = dict[str, Any]  # the JSON schema that the answer has to follow


class CallFailed(InputError):
    """One question got no answer; others may, and the same command asks again."""


@dataclass(frozen=True)
class Reply:
    """The answer as text, what it cost, and each label's probability where the engine scores labels (else None)."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    probabilities: Mapping[str, float] | None = None


class Engine(Protocol):
    """Something that answers; `model` is its name in the labels file."""

    model: str

    async def ask(self, messages: Sequence[Message], schema: Schema, sample: int) -> Reply:
        """The reply to one question; `sample` numbers repeated ones, from 0.

        Raises CallFailed where this question got none, SetupError where no other will either.
        """
        ...
