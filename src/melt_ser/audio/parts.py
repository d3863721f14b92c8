"""What a file holds: one recording, or several, and how they differ from what its header states.

`Bytes` looks at headers; a `Window` shows a part as a file of its own, to decoders that would believe a wrong header.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from melt_ser.core.errors import InputError

BUFFER = 2**12  # bytes
TOLERANCE = 0.1  # seconds by which a segment or a header may exceed the recording: tables round, and codecs pad


@dataclass(frozen=True)
class Part:
    """A recording within a file."""

    first: int = 0  # byte
    last: int | None = None  # the byte after it; None: it is the whole file, with its header as it is
    patches: dict[int, bytes] = field(default_factory=dict)  # bytes to show in place of those of the file
    samples: int | None = None  # counted; a decoder that estimates another number does not read all
    streamed: bool = False  # the header states no length, and soundfile cannot seek in such a flac


@dataclass(frozen=True)
class Contents:
    """The recordings of a file, one after the other, and how they differ from what its header states ("": not)."""

    parts: tuple[Part, ...] = (Part(),)
    found: str = ""


def together(parts: list[Part], found: str = "") -> Contents:
    """Return the contents of a file with these parts; `found` is for a single one."""
    if len(parts) > 1:
        found = f"holds {len(parts)} recordings one after the other, and all were read as one"
    return Contents(tuple(parts) or (Part(),), found)


def cut_off(path: Path, present: float, promised: float) -> InputError:
    """Return the error of a file that has fewer seconds than it states."""
    return InputError(f"{path}: is cut off ({present:.2f} of {promised:.2f} s are there); download it again.")


def bytes_missing(path: Path, present: int, stated: int) -> InputError:
    """Return the error of a file that has fewer bytes than it states."""
    return InputError(f"{path}: is cut off ({present:,} of {stated:,} bytes are there); download it again.")


class Bytes:
    """The bytes of an open file from `base` on, read at any position through a buffer.

    The file is read and not mapped: a file that shrinks meanwhile would then kill the process.
    """

    def __init__(self, file: BinaryIO, size: int, base: int = 0) -> None:
        self.size = size
        self._file, self._base = file, base
        self._buffer, self._first = self._read(0, BUFFER), 0

    def at(self, position: int, size: int) -> bytes:
        """Return bytes from a position on, fewer at the end of the file."""
        offset = position - self._first
        if offset < 0 or offset + size > len(self._buffer):
            if position < 0 or position >= self.size:
                return b""
            self._buffer, self._first, offset = self._read(position, max(size, BUFFER)), position, 0
        return self._buffer[offset : offset + size]

    def _read(self, position: int, size: int) -> bytes:
        self._file.seek(self._base + position)
        return self._file.read(min(size, self.size - position))

    def number(self, position: int, form: str) -> int | float:
        """Return a number that `struct` would write as `form`; 0 beyond the end."""
        content = self.at(position, struct.calcsize(form))
        value: int | float = struct.unpack(form, content)[0] if len(content) == struct.calcsize(form) else 0
        return value


class Window(io.RawIOBase):
    """The bytes `first` to before `last` of a recording, to read and seek; `patches` are bytes to show in it.

    The positions of `patches` are those in the recording, which begins at byte `base` of its file.
    """

    def __init__(self, file: BinaryIO, base: int, first: int, last: int, patches: Mapping[int, bytes]) -> None:
        super().__init__()
        self._file, self._base = file, base
        self._first, self._last, self._patches = first, last, patches
        self._position = first

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: self._first, io.SEEK_CUR: self._position, io.SEEK_END: self._last}[whence]
        self._position = max(self._first, origin + offset)
        return self._position - self._first

    def tell(self) -> int:
        return self._position - self._first

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def read(self, size: int = -1) -> bytes:
        rest = max(0, self._last - self._position)
        self._file.seek(self._base + self._position)
        content = bytearray(self._file.read(rest if size < 0 else min(size, rest)))
        for position, replacement in self._patches.items():
            for number, byte in enumerate(replacement):
                if 0 <= position + number - self._position < len(content):
                    content[position + number - self._position] = byte
        self._position += len(content)
        return bytes(content)

    def close(self) -> None:
        self._file.close()
        super().close()
