"""Find out how many samples a FLAC holds: its last frame has its place and its size.

The header states the number too, but decoders stop there, even if more frames follow.
"""

from __future__ import annotations

from melt_ser.audio.parts import Bytes

STREAM_INFO = 26  # bytes of the beginning of a file up to the number of samples
SYNC = (b"\xff\xf8", b"\xff\xf9")  # frames of one size, numbered; of several sizes, by their first sample
LARGEST_FRAME = 2**17  # bytes
CHECKED = 3  # frames at most; other bytes rarely look like a frame
LARGEST_HEADER = 16  # bytes
ID3V1 = 128  # bytes of a tag behind the last frame
SHORT_SIZES = {1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608}  # samples, by the code in the frame


def stated_samples(head: bytes) -> int:
    """Return the number of samples that the first `STREAM_INFO` bytes of a FLAC state; 0: they state none."""
    return (head[21] & 15) << 32 | int.from_bytes(head[22:26], "big")


def more_samples(file: Bytes, first: int, last: int) -> int | None:
    """Return the number of samples of the FLAC from byte `first` to before `last` if its header states fewer, or None.

    The checksum of a whole frame takes milliseconds here, so it is computed only if the frame contradicts the header.
    """
    head = file.at(first, STREAM_INFO)
    largest = min(int.from_bytes(head[15:18], "big") or LARGEST_FRAME, LARGEST_FRAME)
    start = max(first, last - largest - ID3V1)
    end_of_file = file.at(start, last - start)
    frames = end_of_file[:-ID3V1] if end_of_file[-ID3V1:][:3] == b"TAG" else end_of_file
    stated, at, checked = stated_samples(head), len(frames), 0
    while (at := max(frames.rfind(sync, 0, at) for sync in SYNC)) >= 0:
        samples = _samples_up_to(frames[at : at + LARGEST_HEADER], int.from_bytes(head[10:12], "big"))
        if samples == stated or checked == CHECKED:
            return None
        if samples is not None and samples > stated:
            if _crc(frames[at:], 16, 0x8005) == 0:
                return samples
            checked += 1
    return None


def patch(head: bytes, first: int, samples: int) -> dict[int, bytes]:
    """Return the bytes of a header, by their position, that state another number of samples."""
    return {first + 21: bytes([head[21] & 0xF0 | samples >> 32]) + (samples & 0xFFFF_FFFF).to_bytes(4, "big")}


def _samples_up_to(frame: bytes, usual: int) -> int | None:
    """Return the number of samples up to the end of a frame, by its header; None if it is no header.

    `usual` is the number of samples in each frame, if the frames are numbered.
    """
    if len(frame) < LARGEST_HEADER:
        frame = frame.ljust(LARGEST_HEADER, b"\0")
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
    size = int.from_bytes(frame[at : at + wide], "big") + 1 if wide else SHORT_SIZES.get(size_code, 1 << size_code)
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
