"""Count the frames of an MP3: only that tells its length.

Without a Xing header, decoders guess the length from the first frame, wrong by up to a factor of 2. With one they stop
at its number of frames, so that a second recording in the same file is not heard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from melt_ser.audio.parts import TOLERANCE, Bytes

RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # Hz, by version
KBITS = {  # by (is version 1, layer), for header values from 1; the value 0 (free format) cannot be counted
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
FARTHEST = 2**16  # bytes of junk that may stand between two frames


@dataclass(frozen=True)
class Frame:
    size: int  # bytes
    samples: int
    rate: int  # Hz
    kind: int  # version, layer and rate; the same in all frames of a recording
    xing: int  # where a Xing header stands in the frame


@dataclass
class Stretch:
    """The frames of one recording, from byte `first` to before `last`."""

    first: int
    last: int
    rate: int  # Hz
    kind: int  # of every frame
    samples: int = 0  # of all frames but that of the Xing header
    stated: int | None = None  # samples, by the Xing header
    stated_bytes: int | None = None  # where the Xing header states the bytes of all frames
    is_cut: bool = False  # the last frame is not whole
    gaps: list[int] = field(default_factory=list)  # samples in front of each piece of junk between two frames

    def patch(self, file: Bytes) -> dict[int, bytes]:
        """Return the bytes that correct the size in a Xing header, if the decoder would complain of it."""
        if self.stated_bytes is None:
            return {}
        size = self.last - self.first
        stated = int.from_bytes(file.at(self.stated_bytes, 4), "big")
        return {} if abs(stated - size) * 100 <= size else {self.stated_bytes: size.to_bytes(4, "big")}


def parse(header: bytes) -> Frame | None:
    """Return the frame that a header of 4 bytes describes; None if the header is not valid."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bits, rates, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or not 0 < bits < 15 or rates == 3:
        return None
    rate, bit_rate = RATES[version][rates], 1000 * KBITS[version == 3, layer][bits - 1]
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    size = (12 * bit_rate // rate + padding) * 4 if layer == 1 else samples // 8 * bit_rate // rate + padding
    mono = header[3] >> 6 == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return Frame(size, samples, rate, (version << 4 | layer) << 4 | rates, 4 + side)


def tag_size(file: Bytes, position: int) -> int:
    """Return the bytes of an ID3 or APE tag at a position; 0 if there is none."""
    head = file.at(position, 32)
    if head[:3] == b"ID3" and len(head) >= 10:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return 10 + size + (10 if head[5] & 16 else 0)
    if head[:3] == b"TAG":
        return 128
    if head[:8] == b"APETAGEX" and len(head) == 32:
        return int.from_bytes(head[12:16], "little") + (32 if head[23] & 0x20 or head[23] & 0x80 else 0)
    return 0


def stretches(file: Bytes, first: int, last: int) -> list[Stretch]:
    """Return the recordings of an MP3.

    A new one begins after a tag, at a Xing header, after the frames that a Xing header states, or if the kind of the
    frames changes.
    """
    found: list[Stretch] = []
    current: Stretch | None = None
    for position, frame in _frames(file, first, last):
        if frame is None:  # a tag
            current = None
            continue
        head = file.at(position + frame.xing, 16)
        is_xing = head[:4] in (b"Xing", b"Info")
        stated = current.stated if current is not None else None
        is_new = current is None or is_xing or frame.kind != current.kind
        if current is None or is_new or (stated is not None and current.samples > stated + frame.rate * TOLERANCE):
            current = Stretch(position, position, frame.rate, frame.kind)
            found.append(current)
        elif position > current.last:
            current.gaps.append(current.samples)
        if is_xing and head[7:8] and head[7] & 1:
            current.stated = frame.samples * int.from_bytes(head[8:12], "big")
            current.stated_bytes = position + frame.xing + 12 if head[7] & 2 else None
        else:
            current.samples += frame.samples
        current.last, current.is_cut = min(position + frame.size, last), position + frame.size > last
    return [stretch for stretch in found if stretch.samples]


def _frames(file: Bytes, position: int, last: int) -> Iterator[tuple[int, Frame | None]]:
    """Yield the position of each frame, and the frame; None for a tag."""
    kind = None
    while position < last:
        frame = parse(file.at(position, 4))
        if frame is not None and frame.kind == kind:
            yield position, frame
            position += frame.size
        elif size := tag_size(file, position):
            yield position, None
            position += size
        else:
            following = _next_frame(file, position, last)
            if following is None:
                return
            position, frame = following
            kind = frame.kind
            yield position, frame
            position += frame.size


def _next_frame(file: Bytes, position: int, last: int) -> tuple[int, Frame] | None:
    """Return the next frame with a frame, a tag or the end behind it, and its position; None if none is near."""
    junk = file.at(position, min(FARTHEST, last - position))
    at = -1
    while (at := junk.find(b"\xff", at + 1)) >= 0:
        frame = parse(junk[at : at + 4])
        if frame is None:
            continue
        after = position + at + frame.size
        second = parse(file.at(after, 4))
        if (second is not None and second.kind == frame.kind) or after == last or tag_size(file, after):
            return position + at, frame
    return None
