"""A chat completion is read in any form, and never raises anything but "no JSON"."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melt_ser.annotation.completions import read_completion, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["choices", "message", "content", "type", "text", "tool_calls", "function", "arguments", "usage", "refusal",
         "reasoning", "prompt_tokens", "thinking", "model", "finish_reason"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def completion(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": "stop"}], **more}


@given(VALUES)
def test_read_completion_takes_any_json(content: Any) -> None:
    for given_ in (
        content,
        {"choices": [content]},
        completion({"content": content}),
        {"choices": [{"message": content}]},
    ):
        read = read_completion(given_)
        assert read is None or (isinstance(read.text, str) and isinstance(read.thought, str))


@given(st.binary(max_size=99))
def test_read_json_raises_value_error_alone(content: bytes) -> None:
    with suppress(ValueError):
        read_json(content)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ('{"prompt_tokens": 12, "completion_tokens": 3}', (12, 3)),
        ('{"input_tokens": 12, "output_tokens": 3}', (12, 3)),
        ('{"prompt_tokens": "12", "completion_tokens": 3.0}', (12, 3)),
        ('{"prompt_tokens": 1e400, "completion_tokens": NaN}', (None, None)),
        ('{"prompt_tokens": -1, "completion_tokens": 1e12}', (None, None)),
        ('{"prompt_tokens": ' + "9" * 9_999 + ', "completion_tokens": [3]}', (None, None)),
        ("[]", (None, None)),
        ("null", (None, None)),
    ],
)
def test_counts_of_tokens_are_finite_numbers_or_none(counts: str, expected: tuple[int | None, int | None]) -> None:
    read = read_completion(read_json(json.dumps(completion({"content": "x"})).encode()[:-1] + b', "usage": '
                                     + counts.encode() + b"}"))  # fmt: skip
    assert read is not None and (read.prompt_tokens, read.completion_tokens) == expected


def test_a_completion_tells_its_model_its_end_and_its_thoughts() -> None:
    read = read_completion(completion({"content": "a", "reasoning": "b"}, model="m-1", system_fingerprint="fp"))
    assert read == ("a", "b", "stop", "m-1", "fp", None, None)


@pytest.mark.parametrize(
    "content", [None, 1, [], {}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": 1}]}]
)
def test_anything_else_is_no_completion(content: Any) -> None:
    assert read_completion(content) is None
