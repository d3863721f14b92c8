"""The behaviours of servers that the tests know, and how a job of two lines ends with each.

`docs/annotation.md` lists them. They are those of real servers, as far as their documents and users tell them, and
worse ones.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from annotation_server import KEY, UNREADABLE, Behaviour, answer, obedient
from melt_ser.annotation.dialect import Options

LABEL = "label"  # a job that ends well
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Known:
    """A behaviour: what the server does, and how the job ends.

    `ends` is "label", a reason of the labels file, or (after "stops: ") a part of the sentence that ends the job.
    `calls` is the number of requests of a job of two lines; None: not checked.
    """

    name: str
    does: str
    ends: str
    server: Callable[[], Behaviour]
    calls: int | None = None
    options: Options = field(default_factory=Options)
    timeout: float = 20.0


def message(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a shape that replaces fields of the message; a function gets the answer's text."""

    def shape(completion: dict[str, Any]) -> dict[str, Any]:
        said = completion["choices"][0]["message"]
        text = said["content"]
        said |= {name: value(text) if callable(value) else value for name, value in fields.items()}
        return completion

    return shape


def ended(reason: str, **fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a shape with another finish_reason."""

    def shape(completion: dict[str, Any]) -> dict[str, Any]:
        completion["choices"][0]["finish_reason"] = reason
        return message(**fields)(completion)

    return shape


def usage(text: str) -> Callable[[dict[str, Any]], bytes]:
    """Return a shape with other counts of tokens, as the JSON `text`."""
    return lambda completion: json.dumps({**completion, "usage": "HERE"}).replace('"HERE"', text).encode()


def without(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda completion: {name: value for name, value in completion.items() if name not in names}


def saying(text: str) -> Callable[[], Behaviour]:
    return lambda: Behaviour(answer=lambda body: text)


def first(text: str) -> Callable[[dict[str, Any]], str]:
    """Return an answer that is good only after a repair."""
    return lambda body: answer("joy") if UNREADABLE in body["messages"][-1]["content"] else text


def calling(arguments: Callable[[str], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    function = {"name": "annotation", "arguments": None}
    return message(
        tool_calls=lambda text: [{"type": "function", "function": {**function, "arguments": arguments(text)}}],
        content=None,
    )


def zipped(megabytes: int) -> bytes:
    return gzip.compress(b" " * megabytes * MEBIBYTE)


def failing(*failures: int | str, **more: Any) -> Callable[[], Behaviour]:
    return lambda: Behaviour(failures=list(failures), **more)


def telling(text: str) -> Callable[[], Behaviour]:
    return failing(*[400] * 9, message=f"no: {text}")


THOUGHT = 'Is it {"emotion": "anger"}? No.'
DOUBLE = '{"elements": {"emotion": "joy", "emotion": "anger"}}'
ESCAPED = KEY.replace("-", "\\u002d")
KNOWN = [
    Known("plain", "answers as OpenAI's server does", LABEL, Behaviour, 2),
    # it fails
    Known("busy", "429 with Retry-After, once", LABEL, failing(429), 3),
    Known("busy always", "answers 20 questions a second, and 429 to others", LABEL, lambda: Behaviour(rate=20.0)),
    Known("out of money", "429 with the code insufficient_quota", "stops: the quota is used up",
          failing(*[429] * 9, code="insufficient_quota", retry_after="0.01")),
    Known("broken", "500, once", LABEL, failing(500), 3),
    Known("down", "503, once", LABEL, failing(503), 3),
    Known("overloaded", "529, once (Anthropic)", LABEL, failing(529), 3),
    Known("timed out", "408, once", LABEL, failing(408), 3),
    Known("conflict", "409, once", LABEL, failing(409), 3),
    Known("hangs up", "closes the connection before an answer, once", LABEL, failing("hang up"), 3),
    Known("breaks off", "closes the connection within an answer, once", LABEL, failing("cut"), 3),
    Known("web page", "sends HTML with a status of 200, once", LABEL, failing("nonsense"), 3),
    Known("always a web page", "sends HTML with a status of 200, always", "stops: with a chat completion; check",
          failing(*["nonsense"] * 99)),
    Known("error as answer", "sends an error with a status of 200 (OpenRouter)", "stops: the provider is down",
          lambda: Behaviour(shape=lambda _: {"error": {"message": "the provider is down", "code": 502}})),
    Known("no choice", "sends a chat completion without choices", "stops: with a chat completion; check",
          lambda: Behaviour(shape=lambda completion: {**completion, "choices": []})),
    Known("null choice", "sends null as choices", "stops: with a chat completion; check",
          lambda: Behaviour(shape=lambda completion: {**completion, "choices": None})),
    Known("no model", "404 for the model", "stops: correct --model or --base-url", failing(404)),
    Known("wrong key", "401 for the key", "stops: refuses the key", lambda: Behaviour(key="sk-another-key-012345")),
    Known("forbidden", "403 for the key", "stops: refuses the key", failing(403)),
    # it is slow or large
    Known("slow", "answers after a while", LABEL, lambda: Behaviour(seconds=0.3), 2),
    Known("silent", "takes the question and sends nothing", "stops: gives no answer within --timeout 2 s, twice",
          lambda: Behaviour(silent=True), 2, timeout=2.0),
    Known("drips", "sends its answer byte by byte, for longer than --timeout",
          "stops: gives no answer within --timeout 2 s, twice", lambda: Behaviour(drips=0.1), 2, timeout=2.0),
    Known("bomb", "sends 200 MiB, packed by gzip", "stops: a reply of more than 8 MiB",
          lambda: Behaviour(shape=lambda _: zipped(200), headers={"Content-Encoding": "gzip"})),
    Known("flood", "sends 12 MiB", "stops: a reply of more than 8 MiB",
          lambda: Behaviour(shape=lambda _: b" " * 12 * MEBIBYTE)),
    Known("deep", "nests its JSON a hundred thousand times", "stops: with a chat completion; check",
          lambda: Behaviour(shape=lambda _: b"[" * 100_000)),
    Known("packed", "packs its answer by gzip", LABEL,
          lambda: Behaviour(shape=lambda completion: gzip.compress(json.dumps(completion).encode()),
                            headers={"Content-Encoding": "gzip"}), 2),
    # it refuses a part of the request
    Known("no schema", "400 for response_format", LABEL, lambda: Behaviour(forms=()), 4),
    Known("no schema, 422", "422 for response_format", LABEL, lambda: Behaviour(forms=(), refusal=422), 4),
    Known("no schema, 500", "500 for response_format (llama-cpp-python)", LABEL,
          lambda: Behaviour(forms=(), refusal=500), 6),
    Known("JSON object only", "400 for json_schema, takes json_object (older servers)", LABEL,
          lambda: Behaviour(forms=("json_object",)), 3),
    Known("no temperature", "400 for temperature (OpenAI's reasoning models)", LABEL,
          lambda: Behaviour(refuses=("temperature",)), 3),
    Known("no temperature, in words", "400 for temperature, named in the message alone", LABEL,
          lambda: Behaviour(refuses=("temperature",), names_refused=False), 3),
    Known("not this temperature", "400 for a temperature that the user has chosen",
          "stops: refuses --temperature 0.2 .*; give --temperature none",
          lambda: Behaviour(refuses=("temperature",)), 1, Options(temperature=0.2)),
    Known("no max_tokens", "400 for max_tokens, takes max_completion_tokens (OpenAI's reasoning models)", LABEL,
          lambda: Behaviour(refuses=("max_tokens",)), 3),
    Known("takes little", "400 for max_tokens, temperature and response_format", LABEL,
          lambda: Behaviour(refuses=("max_tokens", "temperature"), forms=()), 6),
    Known("no effort", "400 for reasoning_effort that the user has chosen",
          "stops: refuses --reasoning-effort low .*; leave --reasoning-effort out",
          lambda: Behaviour(refuses=("reasoning_effort",)), 1, Options(reasoning_effort="low")),
    Known("error in a list", "400 for response_format, as a list of errors (Gemini)", LABEL,
          lambda: Behaviour(forms=(), error=lambda error: [error]), 4),
    # it thinks first
    Known("thinks", "uses up 500 tokens before its answer", LABEL, lambda: Behaviour(needs=3_000), 3),
    Known("thinks too long", "uses up every limit before its answer", "truncated while thinking",
          lambda: Behaviour(needs=10**6), 3),
    Known("thinks beyond the user's limit", "uses up the --max-tokens that the user has chosen",
          "truncated while thinking", lambda: Behaviour(needs=3_000), 2, Options(max_tokens=1_000)),
    Known("thinks, and fails", "400 since the limit is reached before its answer (OpenAI)",
          "truncated while thinking",
          failing(*[400] * 9, message="Could not finish the message because max_tokens or model output limit was "
                  "reached."), 3),
    Known("thinks aside", "reasoning_content beside the answer (DeepSeek, vLLM)", LABEL,
          lambda: Behaviour(shape=message(reasoning_content=THOUGHT)), 2),
    Known("thinks aside, Ollama", "reasoning beside the answer (Ollama)", LABEL,
          lambda: Behaviour(shape=message(reasoning=THOUGHT)), 2),
    Known("answers aside", "the answer in reasoning_content, and null as content (vLLM)", LABEL,
          lambda: Behaviour(shape=message(reasoning_content=lambda text: text, content=None)), 2),
    Known("thinks aloud", "`<think>…</think>` before the answer (LM Studio, llama.cpp)", LABEL,
          lambda: Behaviour(shape=message(content=lambda text: f"<think>{THOUGHT}</think>\n{text}")), 2),
    Known("thinks aloud, cut", "`<think>…` without an end, at every limit", "truncated while thinking",
          lambda: Behaviour(shape=ended("length", content=f"<think>{THOUGHT}")), 3),
    Known("channels", "its thoughts in a channel (gpt-oss)", LABEL,
          lambda: Behaviour(shape=message(content=lambda text: "<|channel|>analysis<|message|>" + THOUGHT
                                          + "<|end|><|start|>assistant<|channel|>final<|message|>" + text)), 2),
    Known("thinks in parts", "a part of type thinking before the answer (Mistral)", LABEL,
          lambda: Behaviour(shape=message(content=lambda text: [
              {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
              {"type": "text", "text": text}])), 2),
    # where the answer is
    Known("parts", "the answer as a list of parts", LABEL,
          lambda: Behaviour(shape=message(content=lambda text: [{"type": "text", "text": text[:9]},
                                                                {"type": "text", "text": text[9:]}])), 2),
    Known("object", "the answer as an object, not as a text", LABEL,
          lambda: Behaviour(shape=message(content=json.loads)), 2),
    Known("tool call", "the answer as the arguments of a tool call", LABEL,
          lambda: Behaviour(shape=calling(str)), 2),
    Known("tool call, object", "the arguments as an object (Ollama)", LABEL,
          lambda: Behaviour(shape=calling(json.loads)), 2),
    Known("function call", "the answer as a function_call (older servers)", LABEL,
          lambda: Behaviour(shape=message(function_call=lambda text: {"name": "a", "arguments": text}, content="")), 2),
    Known("code fence", "the answer in a code fence", LABEL, saying(f"```json\n{answer('joy')}\n```"), 2),
    Known("prose", "the answer within prose", LABEL, saying(f"Sure! {answer('joy')} I hope that helps."), 2),
    Known("quotes", "the answer in single quotes, with a comma at its end", LABEL,
          saying("{'elements': {'emotion': 'joy',},}"), 2),
    Known("rambles on", "writes on after a complete answer, up to the limit (base models)", LABEL,
          lambda: Behaviour(shape=ended("length", content=lambda text: text + " And so on, and so on")), 2),
    Known("foreign bytes", "a byte that is no UTF-8 beside the answer", LABEL,
          lambda: Behaviour(shape=lambda completion: json.dumps(completion).replace('"model": "', '"model": "§')
                            .encode().replace("§".encode(), b"\xff")), 2),
    Known("half an emoji", "half of a surrogate pair in the answer", LABEL,
          saying(answer("joy", emotional_impact="warm \ud83d")), 2),
    Known("another model", "answers by another model than the one asked, with a fingerprint", LABEL,
          lambda: Behaviour(shape=lambda completion: {**completion, "model": "gpt-4o-2024-08-06",
                                                      "system_fingerprint": "fp_1"}), 2),
    # there is no answer
    Known("no JSON at first", "prose, and JSON once told so", LABEL,
          lambda: Behaviour(answer=first("I think it is joy.")), 4),
    Known("no JSON", "prose, again and again", "unreadable", saying("I think it is joy."), 4),
    Known("nothing", "an empty answer", "unreadable", saying(""), 4),
    Known("contradictory at first", "one key with two values, and one once told so", LABEL,
          lambda: Behaviour(answer=first(DOUBLE)), 4),
    Known("contradictory", "one key with two values, again and again", "unreadable", saying(DOUBLE), 4),
    Known("contradictory YAML", "one key with two values, without quotes", "unreadable",
          saying("{emotion: joy, emotion: anger}"), 4),
    Known("cut", "the answer cut at the limit", "truncated",
          lambda: Behaviour(shape=ended("length", content=lambda text: text[:60])), 2),
    Known("refuses", "the model refuses, in the field refusal", "refused",
          lambda: Behaviour(shape=message(refusal="I can't help with that.", content=None)), 2),
    Known("refuses in parts", "the model refuses, in a part of type refusal", "refused",
          lambda: Behaviour(shape=message(content=[{"type": "refusal", "refusal": "I can't."}])), 2),
    Known("filtered", "finish_reason is content_filter", "filtered",
          lambda: Behaviour(shape=ended("content_filter", content=None)), 2),
    Known("filtered question", "400 with the code content_filter (Azure)", "filtered",
          failing(400, 400, code="content_filter"), 2),
    Known("filtered, no choice", "no choice, and prompt_filter_results (Azure)", "filtered",
          lambda: Behaviour(shape=lambda completion: {**completion, "choices": [], "prompt_filter_results": []}), 2),
    Known("another word", "a label outside the set", "outside the set", saying(answer("bliss")), 2),
    Known("obeys", "gives the label that the utterance orders", LABEL, lambda: Behaviour(answer=obedient), 2),
    # counts of tokens
    Known("no usage", "sends no counts of tokens", LABEL, lambda: Behaviour(shape=without("usage")), 2),
    Known("usage null", "sends null as counts", LABEL, lambda: Behaviour(shape=usage("null")), 2),
    Known("usage as text", "sends counts as text", LABEL,
          lambda: Behaviour(shape=usage('{"prompt_tokens": "7", "completion_tokens": "many"}')), 2),
    Known("usage of 1e400", "sends a count beyond any number", LABEL,
          lambda: Behaviour(shape=usage('{"prompt_tokens": 1e400, "completion_tokens": 5}')), 2),
    Known("usage of NaN", "sends NaN and a negative count", LABEL,
          lambda: Behaviour(shape=usage('{"prompt_tokens": NaN, "completion_tokens": -5}')), 2),
    Known("usage of 5,000 digits", "sends a count of 5,000 digits", LABEL,
          lambda: Behaviour(shape=usage('{"prompt_tokens": 1' + "0" * 5_000 + ', "completion_tokens": 5}')), 2),
    # it shows the key
    Known("tells the key", "repeats the key in its error", "stops: no: <key>", telling(KEY)),
    Known("tells half the key", "repeats the beginning of the key", "stops: no: <key>", telling(KEY[:12])),
    Known("tells the key escaped", "repeats the key as JSON escapes it", "stops: no: <key>", telling(ESCAPED)),
    Known("tells the key in a URL", "repeats the key as a URL writes it", "stops: no: <key>",
          telling(KEY.replace("-", "%2D"))),
    Known("tells the key in base64", "repeats the key encoded", "stops: no: .*<key>",
          telling(b64encode(f"user:{KEY}".encode()).decode())),
    Known("answers with the key", "repeats the key in its answer", LABEL, saying(answer("joy", rhythm_speed=KEY)), 2),
]  # fmt: skip
