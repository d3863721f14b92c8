"""The body of a request, and what a server takes of it: what it refuses is left out from then on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from melt_ser.annotation.engines import Message, Schema
from melt_ser.core.errors import SetupError

ANSWER_TOKENS = 110  # the paper's answer with every field, a sentence each for context and impact
ANSWER_LIMIT = 500  # tokens; the limit caps the cost of an answer that rambles
THINKING_LIMIT = 8_000  # tokens of an answer and of the thoughts before it, for a model that was seen to think
# Three ways to send the answer's schema: OpenAI's, the older one of llama-cpp-python and others, and not at all.
FORMS = ("json_schema", "json_object", "text")
LIMIT_KEYS = ("max_tokens", "max_completion_tokens")
DEFAULT_TEMPERATURE = 1.0  # models that refuse a temperature use this one
MALFORMED = (400, 422)  # statuses of a request that a server does not take


@dataclass(frozen=True)
class Options:
    """How a model is asked, beyond the messages.

    `temperature` None is not sent. `max_tokens` None begins with `ANSWER_LIMIT` and goes on with `THINKING_LIMIT` once
    the model is seen to think. `extra_body` is added to every request.
    """

    temperature: float | None = DEFAULT_TEMPERATURE
    max_tokens: int | None = None
    reasoning_effort: str | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shaping(self) -> dict[str, Any]:
        """What shapes an answer and is part of a call's name, apart from the temperature; empty by default."""
        effort = {"reasoning_effort": self.reasoning_effort} if self.reasoning_effort else {}
        return effort | ({"extra_body": dict(self.extra_body)} if self.extra_body else {})


class Refusal(NamedTuple):
    """A server's error for a request: its status, the text that names the refused parameter, and the sentence."""

    status: int | None
    named: str
    sentence: str


def first_dialect(official: bool) -> Dialect:
    """Return the dialect to try first: OpenAI's newer models refuse `max_tokens`, other servers may know only that."""
    return Dialect(FORMS[0], *(reversed(LIMIT_KEYS) if official else LIMIT_KEYS))


@dataclass(frozen=True)
class Dialect:
    """What a server takes: the form of the schema, the key of the limit, and a temperature or none."""

    form: str = FORMS[0]
    limit_key: str = LIMIT_KEYS[0]
    other_limit_key: str | None = LIMIT_KEYS[1]  # None: was refused
    temperature: bool = True

    def without(self, refusal: Refusal, options: Options) -> Dialect | None:
        """Return the dialect without the part that a server refuses; None if the refusal is about something else.

        An error that names no part, with a status of 400 or 422, counts as one about the form of the schema. Raises
        SetupError if the server refuses what the user has chosen.
        """
        if "reasoning_effort" in refusal.named and options.reasoning_effort:
            raise SetupError(_chosen("--reasoning-effort", options.reasoning_effort, refusal))
        if "temperature" in refusal.named and self.temperature and options.temperature is not None:
            if options.temperature != DEFAULT_TEMPERATURE:
                raise SetupError(_chosen("--temperature", f"{options.temperature:g}", refusal, "none"))
            return replace(self, temperature=False)
        if self.limit_key in refusal.named and self.other_limit_key is not None:
            return replace(self, limit_key=self.other_limit_key, other_limit_key=None)
        about_form = any(word in refusal.named for word in ("response_format", *FORMS[:-1]))
        if (refusal.status in MALFORMED or about_form) and self.form != FORMS[-1]:
            return replace(self, form=FORMS[FORMS.index(self.form) + 1])
        return None

    def notes(self) -> list[str]:
        """Return what was left out, each as the end of a sentence that begins with the server."""
        form = {
            "json_object": ["refuses the answer's schema and gets it as that of a JSON object"],
            "text": ["refuses the answer's schema and is asked without it"],
        }
        return form.get(self.form, []) + ([] if self.temperature else ["refuses a temperature and is asked without it"])

    def body(
        self, model: str, messages: Sequence[Message], schema: Schema, options: Options, max_tokens: int
    ) -> dict[str, Any]:
        """Return the body of a chat completion.

        Args:
            model: the server's name of the model.
            messages: the chat.
            schema: of the answer.
            options: the user's choices.
            max_tokens: the most tokens of the answer, thoughts included.
        """
        body: dict[str, Any] = {"model": model, "messages": list(messages), self.limit_key: max_tokens}
        if self.temperature and options.temperature is not None:
            body["temperature"] = options.temperature
        if options.reasoning_effort:
            body["reasoning_effort"] = options.reasoning_effort
        if self.form == "json_schema":
            body["response_format"] = {
                "type": self.form,
                self.form: {"name": "annotation", "schema": schema, "strict": True},
            }
        elif self.form == "json_object":
            body["response_format"] = {"type": self.form, "schema": schema}
        return body | dict(options.extra_body)


def _chosen(option: str, value: str, refusal: Refusal, instead: str = "") -> str:
    fix = f"give {option} {instead}" if instead else f"leave {option} out or choose another"
    return f"The server refuses {option} {value} ({refusal.sentence}); {fix}."
