"""Read a chat completion, in the forms in which servers write it."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from melt_ser.core.errors import encodable

MOST_TOKENS = 10**9  # a count above this is an error of the server
LONGEST_NAME = 200  # characters of a model's name, its fingerprint or a reason
CUT = ("length", "max_tokens", "model_length")  # reasons to end an answer before it is complete
FILTERED = ("content_filter", "safety", "prohibited_content", "recitation", "blocklist")
REFUSED = ("refusal",)
BEGINS_TO_THINK = ("<think>", "<thinking>", "[THINK]", "<|channel|>analysis<|message|>")
ENDS_TO_THINK = ("</think>", "</thinking>", "[/THINK]", "<|channel|>final<|message|>")
THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking")


class Completion(NamedTuple):
    """What a chat completion says; a count of tokens that the server does not send, or not as a number, is None."""

    text: str
    thought: str
    finish: str  # in lower case; "" if the server gives no reason
    model: str
    fingerprint: str
    prompt_tokens: int | None
    completion_tokens: int | None


def read_json(content: bytes) -> Any:
    """Return JSON. Raises ValueError for anything else, nesting beyond what Python reads included.

    Whole numbers of any length are read, as the server's counts of tokens must not cost an answer.
    """
    try:
        return json.loads(content.decode("utf-8", "replace"), parse_int=_whole, strict=False)
    except RecursionError:
        raise ValueError("nested too deep") from None


def read_completion(content: Any) -> Completion | None:
    """Return what a chat completion says; None if the parsed JSON is no chat completion."""
    if not isinstance(content, dict) or not isinstance(content.get("choices"), list):
        return None
    if not content["choices"]:  # some servers return no choice if their filter holds the answer back
        return _completion(content, "", "", "content_filter") if "prompt_filter_results" in content else None
    choice = content["choices"][0]
    if not isinstance(choice, dict) or not {"message", "text"} & choice.keys():
        return None
    message = choice.get("message", {"content": choice.get("text")})
    if not isinstance(message, dict):
        return None
    finish = encodable(str(choice.get("finish_reason") or "")).casefold()[:LONGEST_NAME]
    text, thought = _texts(message, cut=finish in CUT)
    refusal = message.get("refusal") or _of_parts(message.get("content"), "refusal")
    if refusal and not text:
        text, finish = str(refusal), "refusal"
    return _completion(content, text, thought, finish)


def error_in(content: Any) -> str:
    """Return the error that some servers send with a status of 200; "" if there is none."""
    error = content.get("error") if isinstance(content, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or "")


def _completion(content: dict[str, Any], text: str, thought: str, finish: str) -> Completion:
    usage = content.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Completion(
        encodable(text),
        encodable(thought),
        finish,
        encodable(str(content.get("model") or ""))[:LONGEST_NAME],
        encodable(str(content.get("system_fingerprint") or ""))[:LONGEST_NAME],
        _count(counts.get("prompt_tokens", counts.get("input_tokens"))),
        _count(counts.get("completion_tokens", counts.get("output_tokens"))),
    )


def _texts(message: dict[str, Any], cut: bool) -> tuple[str, str]:
    """Return the answer and the thoughts of a message.

    The answer is the content, else the arguments of its tool calls, else (if the answer was not cut) its thoughts: a
    server that takes everything for thoughts puts the answer there.
    """
    text = _of_parts(message.get("content"), "text", "output_text")
    thoughts = [_of_parts(message.get("content"), "thinking", "reasoning")]
    thoughts += [_plain(message.get(name)) for name in THOUGHT_FIELDS]
    begins = next((mark for mark in BEGINS_TO_THINK if text.lstrip().startswith(mark)), None)
    ends = max(ENDS_TO_THINK, key=text.rfind)
    if ends in text:
        inline, _, text = text.rpartition(ends)
        thoughts.append(inline)
    elif begins is not None and cut:
        text, thoughts = "", [*thoughts, text]
    text = text if text.strip() else "\n".join(_arguments(message))
    thought = "\n".join(filter(None, thoughts))
    return (thought, "") if not text.strip() and not cut else (text, thought)


def _of_parts(content: Any, *kinds: str) -> str:
    """Return the text of a message's content: a text, a list of parts (of these kinds), or the answer as an object."""
    if not isinstance(content, list):
        return _plain(content) if "text" in kinds else ""
    parts = [part if isinstance(part, dict) else {"text": part} for part in content]
    chosen = [(part.get("type", "text"), part) for part in parts if part.get("type", "text") in kinds]
    return "".join(_plain(part.get("text", part.get(kind))) for kind, part in chosen)


def _plain(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list):
        return "".join(_plain(part.get("text", "") if isinstance(part, dict) else part) for part in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def _arguments(message: dict[str, Any]) -> list[str]:
    """Return the arguments of the functions that a message calls: some servers send structured answers so."""
    calls = message.get("tool_calls")
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    functions.append(message.get("function_call"))
    return [_plain(function.get("arguments")) for function in functions if isinstance(function, dict)]


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else math.inf


def _count(value: Any) -> int | None:
    """Return a count of tokens; None for anything but a finite number from 0 up."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if 0 <= number <= MOST_TOKENS else None
