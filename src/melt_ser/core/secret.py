"""Hide the key in every text of a server or a library: whole, cut short, escaped or encoded."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache

SHORTEST_SECRET = 8  # characters; a shorter key is no secret, and a shorter part of a key does not give it away
HIDDEN = "<key>"
# A character as itself, or in the escapes of URLs, JSON, Python and HTML.
CHARACTER = re.compile(
    r"%([0-9a-fA-F]{2})|\\+[ux](?:00)?([0-9a-fA-F]{2})|&#x0*([0-9a-fA-F]{2});|&#0*(\d{2,3});|(.)", re.S
)


def without_key(text: str, key: str) -> str:
    """Return a text without the key, and without any part of it of eight characters or more.

    The part may be escaped (`%2D`, `\\u002d`, `&#45;`) or encoded in base64 or hexadecimal digits. A word too short for
    a secret stays, since local servers take any word as key.

    >>> without_key("Bearer sk-12345678", "sk-12345678"), without_key("anger", "a")
    ('Bearer <key>', 'anger')
    >>> without_key("key sk-123456… or sk%2D12345678", "sk-12345678")
    'key <key>… or <key>'
    """
    if len(key) < SHORTEST_SECRET:
        return text
    for form in _forms(key):
        text = _without(text, form)
    return text


@lru_cache(maxsize=4)
def _forms(key: str) -> tuple[frozenset[str], ...]:
    """Return the parts of each form of a key: as it is, in base64 at each of three offsets, in hexadecimal digits."""
    octets = key.encode()
    encoded = [b64encode(b"\0" * offset + octets).decode()[(0, 2, 3)[offset] :].rstrip("=")[:-1] for offset in range(3)]
    encoded += [text.translate(str.maketrans("+/", "-_")) for text in encoded]
    longer = {part for text in encoded for part in _parts(text, SHORTEST_SECRET * 4 // 3)}
    digits = {part for text in (octets.hex(), octets.hex().upper()) for part in _parts(text, SHORTEST_SECRET * 2)}
    return tuple(frozenset(parts) for parts in (_parts(key, SHORTEST_SECRET), longer, digits) if parts)


def _parts(text: str, length: int) -> set[str]:
    return {text[start : start + length] for start in range(len(text) - length + 1)}


def _without(text: str, parts: frozenset[str]) -> str:
    """Return a text in which each run of the parts, which all have one length, is hidden."""
    length = len(next(iter(parts)))
    spans = [(at, at + 1) for at in range(len(text))]
    plain = text
    if "%" in text or "\\" in text or "&#" in text:
        matches = list(CHARACTER.finditer(text))
        spans = [match.span() for match in matches]
        plain = "".join(_decoded(match) for match in matches)
    starts = [at for at in range(len(plain) - length + 1) if plain[at : at + length] in parts]
    kept, end = [], 0
    for start in starts:
        if spans[start][0] >= end:
            kept += [text[end : spans[start][0]], HIDDEN]
        end = spans[start + length - 1][1]
    return "".join([*kept, text[end:]])


def _decoded(match: re.Match[str]) -> str:
    url, escape, hexadecimal, decimal, itself = match.groups()
    digits = url or escape or hexadecimal
    return itself or chr(int(digits, 16) if digits else int(decimal))
