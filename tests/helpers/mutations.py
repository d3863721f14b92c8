"""Damage good files at random, as disks, downloads, editors and version control do."""

from __future__ import annotations

import random
from collections.abc import Callable

Damage = Callable[[bytes, random.Random], bytes]


def flip_bits(content: bytes, rng: random.Random) -> bytes:
    """Flip up to eight bits, half of the time within the first 128 bytes, where headers are."""
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        within = len(damaged) if rng.random() < 0.5 else min(len(damaged), 128)
        damaged[rng.randrange(within)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def cut(content: bytes, rng: random.Random) -> bytes:
    """Cut off the end."""
    return content[: rng.randrange(len(content))]


def remove(content: bytes, rng: random.Random) -> bytes:
    """Remove up to 64 bytes."""
    first = rng.randrange(len(content))
    return content[:first] + content[first + rng.randint(1, 64) :]


def insert(content: bytes, rng: random.Random) -> bytes:
    """Insert up to 64 random bytes."""
    at = rng.randrange(len(content))
    return content[:at] + rng.randbytes(rng.randint(1, 64)) + content[at:]


def repeat(content: bytes, rng: random.Random) -> bytes:
    """Repeat a piece of up to 256 bytes."""
    first = rng.randrange(len(content))
    last = first + rng.randint(1, 256)
    return content[:last] + content[first:last] + content[last:]


def join(content: bytes, rng: random.Random) -> bytes:
    """Append the file to itself, as `cat` joins recordings."""
    return content + content


def overwrite_number(content: bytes, rng: random.Random) -> bytes:
    """Overwrite four bytes with a number that breaks size fields, half of the time within the first 128 bytes."""
    number = rng.choice((0, 1, 2**15, 10**9, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32)))
    at = rng.randrange(len(content) if rng.random() < 0.5 else min(len(content), 128))
    return content[:at] + number.to_bytes(4, rng.choice(("little", "big"))) + content[at + 4 :]


def as_text(content: bytes, rng: random.Random) -> bytes:
    """Convert line ends, as FTP and git do to binary files."""
    return content.replace(b"\n", b"\r\n") if rng.random() < 0.5 else content.replace(b"\r", b"")


def replace(content: bytes, rng: random.Random) -> bytes:
    """Replace the whole content by random bytes."""
    return rng.randbytes(rng.randint(1, len(content)))


DAMAGES: tuple[Damage, ...] = (flip_bits, cut, remove, insert, repeat, join, overwrite_number, as_text, replace)
TOKENS = (
    *("", " ", "nan", "-1", "1e999", "null", "true", "{}", "[]", "..", "/etc/passwd", "\0", "\r", "\n", '"', "'", "\\"),
    *(",", ";", "\t", ":", "- ", "#", "${x}", "$x$", "[red]", "é", "😀", "\u2028", "\ufeff", "9" * 400, "x" * 5000),
)


HEADERS = (("audio", "file"), ("audio", "File Name"), ("label", "Emotion"), ("speaker", "Speaker ID"), ("text", "path"))
HEADERS += (("text", "label"), ("text", "emotion"), ("text", ""), ("text", "audio"))


def rewrite_table(table: str, root: str, rng: random.Random) -> str:
    """Write a table with the column `text` and the clip a.wav below `root` as other people and programs do."""
    path = rng.choice(
        (f"{root}/a.wav", f"file://{root}/a.wav", "\\a.wav", ".\\a.wav", "C:\\a.wav", "https://x/a.wav", "/a.wav")
    )
    row = rng.choice(table.splitlines(keepends=True)[1:])
    return rng.choice(
        (
            table.replace(*rng.choice(HEADERS), 1),
            table.replace("a.wav", path),
            table.replace("\n", ",\n"),
            table.replace("\n", ",,\n", 1),
            table + row,
            table + row.replace("sad", "happy"),
            "sep=;\n" + table.replace(",", ";"),
            "\n" + table.replace("\n", "\r"),
        )
    )


def damage(content: bytes, rng: random.Random) -> bytes:
    """Damage a file one to three times; the file must not be empty, and does not become empty."""
    for _ in range(rng.randint(1, 3)):
        content = rng.choice(DAMAGES)(content, rng) or b"\0"
    return content


def damage_text(text: str, rng: random.Random) -> bytes:
    """Replace, remove or double pieces of a text and insert odd words; one time in four, damage its bytes too."""
    for _ in range(rng.randint(1, 4)):
        first = rng.randrange(len(text) + 1)
        last = min(len(text), first + rng.choice((0, 0, 1, 4, 16)))
        text = text[:first] + rng.choice((*TOKENS, text[first:last] * 2)) + text[last:]
    content = text.encode("utf-8")
    return damage(content or b"\0", rng) if rng.random() < 0.25 else content
