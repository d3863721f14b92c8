"""Make odd versions of a sound JSON file: each key deleted, or with a value that nobody expects there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

NESTED = 100_000  # brackets: deeper than any parser recurses
ODD: dict[str, str] = {  # JSON by the name of its oddity
    "null": "null",
    "a number": "-1.5",
    "a huge number": "1e999",
    "a huge integer": "9" * 400,
    "NaN": "NaN",
    "true": "true",
    "no text": '""',
    "a user's home": '"~nobody-has-this-name/x"',
    "a path out": '"../../../../../etc/passwd"',
    "half an emoji": '"\\ud83d"',
    "a null character": '"a\\u0000b"',
    "markup": '"<script>[red]{{1/0}}`|$\\\\end{x}"',
    "a list": '[null, -1, "x"]',
    "an object": '{"": {"x": null}}',
    "no list": "[]",
    "no object": "{}",
}
PLACE = "the odd value stands here"


def odd_versions(content: Any) -> Iterator[tuple[str, bytes]]:
    """Yield (key and oddity, bytes) for each key of a JSON value; of a list, the first entry stands for all."""
    text = json.dumps(content)
    yield "invalid UTF-8", text.encode().replace(b'"', b'"\xff', 1)
    yield "cut off", text.encode()[:-10]
    yield "empty", b""
    yield "deep nesting", b"[" * NESTED + b"]" * NESTED
    for name, value in ODD.items():
        yield f"whole: {name}", value.encode()
    for holder, key, name in _places(content, ""):
        before = holder[key]
        del holder[key]
        yield f"{name}: deleted", json.dumps(content).encode()
        if isinstance(holder, list):
            holder.insert(key, before)
        for oddity, value in ODD.items():
            holder[key] = PLACE
            yield f"{name}: {oddity}", json.dumps(content).replace(f'"{PLACE}"', value).encode()
        holder[key] = before


def _places(value: Any, name: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield every container of a JSON value with each of its keys and the key's whole name."""
    keys = list(value) if isinstance(value, dict) else [0] if isinstance(value, list) and value else []
    for key in keys:
        whole = f"{name}.{key}".lstrip(".")
        yield value, key, whole
        yield from _places(value[key], whole)
