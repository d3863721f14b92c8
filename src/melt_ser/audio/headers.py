"""What the headers of wav, aiff, au, w64 and caf state: where the samples begin, and how many bytes they take.

A decoder believes that number. A program that writes to a pipe does not know it yet, and a recorder that was stopped
never wrote it, so `contents` compares it with the bytes that are there. The header of a flac states a number of
samples; its last frame, which has its own place and size, says how many there are.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from melt_ser.audio.parts import Bytes

MOST_CHUNKS = 1000  # before the samples; more are no recording
FLAC_HEADER = 26  # bytes of the beginning of a file up to the number of samples
FLAC_SYNC = (b"\xff\xf8", b"\xff\xf9")  # frames of one size, numbered; of several sizes, by their first sample
FLAC_FRAME = 2**17  # bytes; longer frames are not looked for
FLAC_CHECKED = 3  # frames whose checksum is computed, at most; other bytes rarely look like one
FLAC_FRAME_HEADER = 16  # bytes, at most
ID3V1 = 128  # bytes of a tag behind the last frame
FLAC_SIZES = {1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608}  # samples, by the code in the frame


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


def flac_stated(head: bytes) -> int:
    """Return the number of samples that the first `FLAC_HEADER` bytes of a FLAC state; 0: they state none."""
    return (head[21] & 15) << 32 | int.from_bytes(head[22:26], "big")


def flac_samples(file: Bytes, first: int, last: int) -> int | None:
    """Return the number of samples of the FLAC from byte `first` to before `last` if its header states fewer, or None.

    The checksum of a whole frame takes milliseconds here, so it is computed only if the frame contradicts the header.
    """
    head = file.at(first, FLAC_HEADER)
    largest = min(int.from_bytes(head[15:18], "big") or FLAC_FRAME, FLAC_FRAME)
    start = max(first, last - largest - ID3V1)
    end_of_file = file.at(start, last - start)
    frames = end_of_file[:-ID3V1] if end_of_file[-ID3V1:][:3] == b"TAG" else end_of_file
    stated, at, checked = flac_stated(head), len(frames), 0
    while (at := max(frames.rfind(sync, 0, at) for sync in FLAC_SYNC)) >= 0:
        samples = _samples_up_to(frames[at : at + FLAC_FRAME_HEADER], int.from_bytes(head[10:12], "big"))
        if samples == stated or checked == FLAC_CHECKED:
            return None
        if samples is not None and samples > stated:
            if _crc(frames[at:], 16, 0x8005) == 0:
                return samples
            checked += 1
    return None


def flac_patch(head: bytes, first: int, samples: int) -> dict[int, bytes]:
    """Return the bytes of a header, by their position, that state another number of samples."""
    return {first + 21: bytes([head[21] & 0xF0 | samples >> 32]) + (samples & 0xFFFF_FFFF).to_bytes(4, "big")}


def _samples_up_to(frame: bytes, usual: int) -> int | None:
    """Return the number of samples up to the end of a frame, by its header; None if it is no header.

    `usual` is the number of samples in each frame, if the frames are numbered.
    """
    frame = frame.ljust(FLAC_FRAME_HEADER, b"\0")
    size_code, rate_code = frame[2] >> 4, frame[2] & 15
    more = 8 - len(f"{frame[4]:08b}".lstrip("1"))  # bytes of the number, as in UTF-8
    if size_code == 0 or rate_code == 15 or frame[3] & 1 or more in (1, 8):
        return None
    length = max(1, more)
    number = frame[4] & (0xFF >> (more + 1))
    for byte in frame[5 : 4 + length]:
        number = number << 6 | byte & 63
    at = 4 + length
    wide = {6: 1, 7: 2}.get(size_code, 0)
    size = int.from_bytes(frame[at : at + wide], "big") + 1 if wide else FLAC_SIZES.get(size_code, 1 << size_code)
    at += wide + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if _crc(frame[: at + 1], 8, 0x07) != 0:
        return None
    return size + (number if frame[1] & 1 else number * usual)


def _crc(content: bytes, bits: int, polynomial: int) -> int:
    """Return the checksum of bytes; 0 if they end with their own."""
    top, mask, value = 1 << (bits - 1), (1 << bits) - 1, 0
    for byte in content:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
    return value
