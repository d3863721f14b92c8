"""Find out whether a Matroska file (mka, mkv, webm) is cut off.

A file states the length of its segment, that is of everything behind its first bytes. A file that was written to a pipe
states no length, but its clusters, or the blocks in them, state theirs.
"""

from __future__ import annotations

from pathlib import Path

from melt_ser.audio.parts import Bytes, bytes_missing
from melt_ser.core.errors import InputError

SEGMENT, CLUSTER = bytes.fromhex("18538067"), bytes.fromhex("1f43b675")
HEADER_AND_INDEX = ("1a45dfa3", "114d9b74", "1549a966", "1654ae6b", "1c53bb6b", "1254c367", "1941a469", "1043a770")
IN_A_CLUSTER = ("a3", "a0", "e7", "a7", "ab", "ec", "bf")  # blocks, their times, and padding
ELEMENTS = (SEGMENT, CLUSTER, *map(bytes.fromhex, HEADER_AND_INDEX + IN_A_CLUSTER))


def check_last_block(path: Path, file: Bytes) -> None:
    """Raise InputError if an element of a file is not whole; what follows the last element does not matter."""
    position = 0
    while position < file.size:
        head = file.at(position, 12)
        width = _width(head[0])
        name = head[:width]
        if not width or not any(element.startswith(name) for element in ELEMENTS):
            return
        size_width = _width(head[width]) if len(head) > width else 0
        begin = position + width + size_width
        if not size_width or begin > file.size:
            raise _cut_off(path)
        unknown = (1 << 7 * size_width) - 1
        size = int.from_bytes(head[width : width + size_width], "big") & unknown
        if size == unknown and name in (SEGMENT, CLUSTER):
            position = begin  # its elements follow
        elif begin + size <= file.size:
            position = begin + size
        else:
            raise bytes_missing(path, file.size, begin + size) if name == SEGMENT else _cut_off(path)


def _width(first: int) -> int:
    """Return the bytes of a number, by its first byte; 0 if it begins none."""
    return 9 - first.bit_length() if first else 0


def _cut_off(path: Path) -> InputError:
    return InputError(f"{path}: is cut off (its last block is not whole); download it again.")
