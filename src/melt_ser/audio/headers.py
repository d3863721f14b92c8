"""What the headers of wav, aiff, au, w64 and caf state: where the samples begin, and how many bytes they take.

A decoder believes that number. A program that writes to a pipe does not know it yet, and a recorder that was stopped
never wrote it, so `contents` compares it with the bytes that are there.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from melt_ser.audio.parts import Bytes

MOST_CHUNKS = 1000  # before the samples; more are no recording


@dataclass(frozen=True)
class Layout:
    """The samples of one recording in a file, as its header states them."""

    samples: int  # the first byte of the samples
    stated: int  # bytes of samples; negative or huge: the writer did not know
    byte_rate: float  # bytes of a second; 0: not known
    field: int  # where the number of bytes stands
    form: str  # of that number, as `struct` writes it
    extra: int = 0  # by which it counts more than the samples

    def patch(self, size: int) -> dict[int, bytes]:
        """Return the replacement that makes the header state `size` bytes of samples; none if they are too many."""
        if size + self.extra >= 2 ** (8 * struct.calcsize(self.form) - 1):
            return {}  # libsndfile then reads to the end
        return {self.field: struct.pack(self.form, size + self.extra)}


def layout_of(kind: str, file: Bytes, first: int) -> Layout | None:
    """Return the layout of the recording that begins at byte `first`; None if its header is not understood."""
    try:
        return {"wav": _wav, "aiff": _aiff, "au": _au, "w64": _w64, "caf": _caf}[kind](file, first)
    except (OverflowError, ValueError):  # a position or a rate beyond all numbers
        return None


def _chunks(file: Bytes, position: int, form: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, position and size of the chunks; `form` is that of the size."""
    for _ in range(MOST_CHUNKS):
        name = file.at(position, 4)
        if len(name) < 4:
            return
        size = int(file.number(position + 4, form))
        yield name, position, size
        if size < 0:
            return
        position += 4 + struct.calcsize(form) + size + (size % 2 if form[1] == "I" else 0)


def _wav(file: Bytes, first: int) -> Layout | None:
    order = ">" if file.at(first, 4) == b"RIFX" else "<"
    byte_rate, long_size = 0.0, 0
    for name, position, size in _chunks(file, first + 12, f"{order}I"):
        if name == b"ds64":
            long_size = position + 16
        elif name == b"fmt ":
            byte_rate = file.number(position + 16, f"{order}I")
        elif name == b"data":
            if long_size and size == 0xFFFF_FFFF:
                return Layout(position + 8, int(file.number(long_size, "<q")), byte_rate, long_size, "<q")
            return Layout(position + 8, size, byte_rate, position + 4, f"{order}I")
    return None


def _aiff(file: Bytes, first: int) -> Layout | None:
    byte_rate = 0.0
    for name, position, size in _chunks(file, first + 12, ">I"):
        if name == b"COMM":
            channels, bits = (int(file.number(position + place, ">h")) for place in (8, 14))
            exponent, mantissa = int(file.number(position + 16, ">H")), int(file.number(position + 18, ">Q"))
            rate = math.ldexp(mantissa, (exponent & 0x7FFF) - 16383 - 63)
            packed = {b"ulaw": 1.0, b"alaw": 1.0, b"ULAW": 1.0, b"ALAW": 1.0, b"ima4": 34 / 64}
            sample = packed.get(file.at(position + 26, 4) if size >= 22 else b"", -(-bits // 8))
            byte_rate = rate * channels * sample
        elif name == b"SSND":
            return Layout(position + 16, size - 8, byte_rate, position + 4, ">I", 8)
    return None


def _au(file: Bytes, first: int) -> Layout | None:
    order = ">" if file.at(first, 4) == b".snd" else "<"
    offset, stated, encoding, rate, channels = (int(file.number(first + at, f"{order}I")) for at in range(4, 24, 4))
    sample = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}.get(encoding, 0)
    return Layout(first + offset, stated, float(rate * channels * sample), first + 8, f"{order}I")


def _w64(file: Bytes, first: int) -> Layout | None:
    position, byte_rate = first + 40, 0.0
    for _ in range(MOST_CHUNKS):
        name, size = file.at(position, 4), int(file.number(position + 16, "<q"))
        if name == b"fmt ":
            byte_rate = file.number(position + 32, "<I")
        elif name == b"data":
            return Layout(position + 24, size - 24, byte_rate, position + 16, "<q", 24)
        if size < 24:
            break
        position += size + -size % 8
    return None


def _caf(file: Bytes, first: int) -> Layout | None:
    byte_rate = 0.0
    for name, position, size in _chunks(file, first + 8, ">q"):
        if name == b"desc":
            rate = file.number(position + 12, ">d")
            packet_bytes, packet_frames = (file.number(position + place, ">I") for place in (28, 32))
            byte_rate = rate * packet_bytes / packet_frames if packet_frames else 0.0
        elif name == b"data":
            return Layout(position + 16, size - 4 if size >= 0 else -1, byte_rate, position + 4, ">q", 4)
    return None
