"""Random damage to good files: what disks, downloads, editors and version control do to them."""

from __future__ import annotations

import random
from collections.abc import Callable

Damage = Callable[[bytes, random.Random], bytes]


def flip_bits(content: bytes, chance: random.Random) -> bytes:
    """Up to eight bits, half of the time near the beginning, where headers are."""
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        within = len(damaged) if chance.random() < 0.5 else min(len(damaged), 128)
        damaged[chance.randrange(within)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def cut(content: bytes, chance: random.Random) -> bytes:
    """The end is missing."""
    return content[: chance.randrange(len(content))]


def remove(content: bytes, chance: random.Random) -> bytes:
    """A piece of the middle is missing."""
    first = chance.randrange(len(content))
    return content[:first] + content[first + chance.randint(1, 64) :]


def insert(content: bytes, chance: random.Random) -> bytes:
    """Random bytes in the middle."""
    at = chance.randrange(len(content))
    return content[:at] + chance.randbytes(chance.randint(1, 64)) + content[at:]


def repeat(content: bytes, chance: random.Random) -> bytes:
    """A piece occurs twice."""
    first = chance.randrange(len(content))
    last = first + chance.randint(1, 256)
    return content[:last] + content[first:last] + content[last:]


def overwrite_number(content: bytes, chance: random.Random) -> bytes:
    """Four bytes become a number that size fields fear, half of the time near the beginning."""
    number = chance.choice((0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, chance.randrange(2**32)))
    at = chance.randrange(len(content) if chance.random() < 0.5 else min(len(content), 128))
    return content[:at] + number.to_bytes(4, chance.choice(("little", "big"))) + content[at + 4 :]


def as_text(content: bytes, chance: random.Random) -> bytes:
    """Line ends converted, as FTP and git do to binary files."""
    return content.replace(b"\n", b"\r\n") if chance.random() < 0.5 else content.replace(b"\r", b"")


def replace(content: bytes, chance: random.Random) -> bytes:
    """Random bytes alone."""
    return chance.randbytes(chance.randint(1, len(content)))


DAMAGES: tuple[Damage, ...] = (flip_bits, cut, remove, insert, repeat, overwrite_number, as_text, replace)
TOKENS = (
    *("", " ", "nan", "-1", "1e999", "null", "true", "{}", "[]", "..", "/etc/passwd", "\0", "\r", "\n", '"', "'", "\\"),
    *(",", ";", "\t", ":", "- ", "#", "${x}", "$x$", "[red]", "é", "😀", "\u2028", "\ufeff", "9" * 400, "x" * 5000),
)


def damage(content: bytes, chance: random.Random) -> bytes:
    """One to three kinds of damage to a file that is not empty."""
    for _ in range(chance.randint(1, 3)):
        content = chance.choice(DAMAGES)(content, chance) or b"\0"
    return content


def damage_text(text: str, chance: random.Random) -> bytes:
    """Words of a text file replaced, removed or doubled and odd ones put in; sometimes damaged as bytes."""
    for _ in range(chance.randint(1, 4)):
        first = chance.randrange(len(text) + 1)
        last = min(len(text), first + chance.choice((0, 0, 1, 4, 16)))
        text = text[:first] + chance.choice((*TOKENS, text[first:last] * 2)) + text[last:]
    content = text.encode("utf-8")
    return damage(content or b"\0", chance) if chance.random() < 0.25 else content
