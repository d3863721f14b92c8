"""Find the recordings that a file really holds, since a header's length is a claim and no fact.

Each format promises something else: wav, aiff, au, w64 and caf the bytes of their samples, mp4 and avi those of their
boxes, Ogg pages and Matroska blocks their own, a Xing header the frames of an MP3. If these are not all there, the file
is cut off. A stream states nothing, or a placeholder; an MP3 without a Xing header has to be counted (`mpeg`), and the
last frame of a flac says more than its header (`headers`). All formats can be joined by `cat`, and most decoders then
read the first part alone.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from functools import lru_cache
from pathlib import Path

from melt_ser.audio import headers, mpeg
from melt_ser.audio.headers import Layout, layout_of
from melt_ser.audio.parts import TOLERANCE, Bytes, Contents, Part, bytes_missing, cut_off, together
from melt_ser.audio.shards import Place, place_of
from melt_ser.core.errors import InputError

LFS_POINTER = b"version https://git-lfs"
W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
SIGNATURES = {  # the first bytes of a recording
    "wav": re.compile(rb"(?:RIFF|RF64|RIFX)....WAVE", re.DOTALL),
    "aiff": re.compile(rb"FORM....AIF[FC]", re.DOTALL),
    "w64": re.compile(re.escape(W64) + rb".{8}wave", re.DOTALL),
    "caf": re.compile(rb"caff\x00\x01\x00\x00desc"),
    "au": re.compile(
        rb"\.snd\x00\x00......\x00\x00\x00[\x01-\x1b]\x00[\x00-\x05]..\x00\x00\x00[\x01-\x20]"
        rb"|dns\...\x00\x00....[\x01-\x1b]\x00\x00\x00..[\x00-\x05]\x00[\x01-\x20]\x00\x00\x00",
        re.DOTALL,
    ),
    "flac": re.compile(rb"fLaC[\x00\x80]\x00\x00\x22"),
    "ogg": re.compile(rb"OggS\x00[\x02\x06]"),
    "asf": re.compile(re.escape(ASF)),
    "avi": re.compile(rb"RIFF....AVI ", re.DOTALL),
    "mp4": re.compile(rb"....ftyp", re.DOTALL),
    "matroska": re.compile(rb"\x1a\x45\xdf\xa3"),
}
SOUGHT = {"flac": b"fLaC", "ogg": b"OggS\0"}  # every such file is searched, the others only if a size does not fit
LAID_OUT = ("wav", "aiff", "au", "w64", "caf")
LONGEST_SIGNATURE = 64  # bytes
LARGEST_PAGE = 27 + 255 + 255 * 255  # bytes, of Ogg
SEARCHED = 2**20  # bytes at once
UNKNOWN_LENGTH = 0x7F00_0000  # bytes; programs that write to a pipe put this size or a larger one in the header
ROUND = (10**8, 2**28)  # bytes; or a multiple of one of these, give or take a header
HEADER = 128  # bytes
SEGMENT, CLUSTER = bytes.fromhex("18538067"), bytes.fromhex("1f43b675")  # of Matroska
HEADER_AND_INDEX = ("1a45dfa3", "114d9b74", "1549a966", "1654ae6b", "1c53bb6b", "1254c367", "1941a469", "1043a770")
IN_A_CLUSTER = ("a3", "a0", "e7", "a7", "ab", "ec", "bf")  # blocks, their times, and padding
ELEMENTS = (SEGMENT, CLUSTER, *map(bytes.fromhex, HEADER_AND_INDEX + IN_A_CLUSTER))
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
CHUNK_SIZES = (("<I", 4), (">I", 4), (">q", 4), ("<q", 16))  # form and place of the size in a chunk


def contents_of(path: Path) -> Contents:
    """Return what a file holds; raise InputError if it is no recording or is cut off."""
    try:
        place = place_of(path)
        mode = os.stat(place.file).st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path}: is a folder, not a recording.")
        if not stat.S_ISREG(mode):  # opening a pipe waits for a writer, and a device may never end
            raise InputError(f"{path}: is a pipe or a device, not a file; replace it by the recording.")
        return _contents_of(path, place)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise InputError(f"{path}: cannot be opened ({getattr(error, 'strerror', error)}).") from None


@lru_cache(maxsize=4096)  # a file may have thousands of segments
def _contents_of(path: Path, place: Place) -> Contents:
    opened, first, size = place.open()
    with opened:
        file = Bytes(opened, size, first)
        head = file.at(0, LONGEST_SIGNATURE)
        if not head:
            raise InputError(f"{path}: the file is empty (zero bytes); download it again.")
        if head.startswith(LFS_POINTER):
            raise InputError(
                f"{path}: is a git-lfs pointer, not the recording; run `git lfs pull` in the corpus folder."
            )
        kind = _kind_of(head)
        if not kind and head[:3] == b"ID3" and _kind_of(file.at(mpeg.tag_size(file, 0), LONGEST_SIGNATURE)) == "flac":
            kind = "flac"
        if kind:
            return _parts_of(path, file, kind)
        if path.suffix.lower() == ".mp3" or mpeg.parse(head) is not None or head[:3] == b"ID3":
            return _mp3(path, file)
        return Contents()


def _mp3(path: Path, file: Bytes) -> Contents:
    """Return the recordings of an MP3, by its frames."""
    parts, end, gaps = [], 0, []
    for stretch in mpeg.stretches(file, 0, file.size):
        seconds = stretch.samples / stretch.rate
        if stretch.stated is None:
            if stretch.is_cut:
                raise InputError(f"{path}: is cut off (within the frame at {seconds:.2f} s); download it again.")
        elif stretch.stated / stretch.rate - seconds > TOLERANCE:
            raise cut_off(path, seconds, stretch.stated / stretch.rate)
        samples = stretch.samples if stretch.stated is None else None
        parts.append(Part(stretch.first, stretch.last, stretch.patch(file), samples))
        end = stretch.last
        gaps += [samples / stretch.rate for samples in stretch.gaps]
    found = f"is damaged in {len(gaps)} place(s), the first at {gaps[0]:.2f} s; the rest was read" if gaps else ""
    if len(parts) == 1 and not parts[0].patches and (file.size - end) * 100 <= file.size:
        return Contents((Part(samples=parts[0].samples),), found)  # with its tags, which need no window
    return together(parts, found)


def _kind_of(head: bytes) -> str:
    """Return the format whose signature the first bytes of a file have; "" if none."""
    return next((kind for kind, signature in SIGNATURES.items() if signature.match(head)), "")


def _parts_of(path: Path, file: Bytes, kind: str) -> Contents:
    """Return the recordings of a file of one of the formats; raise InputError if it is cut off."""
    if kind == "mp4":
        return _boxes(path, file)
    if kind == "matroska":
        _check_elements(path, file)
        return Contents()
    if kind == "avi":
        stated = 8 + int(file.number(4, "<I"))
        if stated > file.size and not _is_placeholder(stated):
            raise bytes_missing(path, file.size, stated)
        return Contents()
    firsts = _firsts(file, kind)
    parts, found = [], ""
    for first, last in zip(firsts, [*firsts[1:], file.size], strict=True):
        part = Part() if len(firsts) == 1 else Part(first, last)
        if kind == "ogg":
            _check_last_page(path, file, first, last)
        elif kind == "flac":
            part, found = _flac(file, part, last)
        elif kind in LAID_OUT and (layout := layout_of(kind, file, first)) is not None:
            if layout.samples >= last and len(firsts) > 1:
                continue  # a header alone
            part, found = _checked(path, file, part, layout, last)
        parts.append(part)
    return together(parts, found)


def _firsts(file: Bytes, kind: str) -> list[int]:
    """Return the first byte of each recording."""
    if kind in ("wav", "aiff"):
        stated = 8 + int(file.number(4, "<I" if file.at(0, 4) == b"RIFF" else ">I"))
        if stated <= file.size <= stated + 1:  # the usual case; there is nothing to search for
            return [0]
    firsts = []
    for start in range(0, file.size, SEARCHED):
        block = file.at(start, SEARCHED + LONGEST_SIGNATURE)
        firsts += [start + at for at in _matches(block, kind) if at < SEARCHED]
    if kind == "ogg":  # streams that play together begin together
        ends = [_page_end(file, first) for first in firsts]
        firsts = [first for number, first in enumerate(firsts) if number == 0 or ends[number - 1] != first]
    return [0, *firsts[1:]]


def _matches(block: bytes, kind: str) -> list[int]:
    """Return where the signature of a format stands in a block."""
    signature, found = SIGNATURES[kind], []
    if kind not in SOUGHT:
        return [match.start() for match in signature.finditer(block)]
    at = len(block)
    while (at := block.rfind(SOUGHT[kind], 0, at)) >= 0:  # backwards is several times as fast
        if signature.match(block, at):
            found.append(at)
    return found[::-1]


def _is_placeholder(stated: int) -> bool:
    """Return whether a program writes this number of bytes because it does not know the length."""
    if not 0 <= stated < UNKNOWN_LENGTH:
        return True
    return any(stated > unit / 2 and abs(stated - unit * round(stated / unit)) <= HEADER for unit in ROUND)


def _checked(path: Path, file: Bytes, part: Part, layout: Layout, last: int) -> tuple[Part, str]:
    """Return a part with a header that states the bytes that are there, and a sentence if it stated others."""
    present, stated, rate = last - layout.samples, layout.stated, layout.byte_rate
    if present <= 0 or rate <= 0:
        return part, ""
    if not _is_placeholder(stated):
        if (stated - present) / rate > TOLERANCE:
            raise bytes_missing(path, present, stated)
        more = stated < present and (stated == 0 or (present - stated) / rate > TOLERANCE)
        if not (more and _are_samples(file, layout.samples + stated, last)):
            return part, ""
    found = ""
    if 0 <= stated < UNKNOWN_LENGTH:
        found = f"has a header that states {stated:,} bytes of sound, but {present:,} are there, and all were read"
    return Part(part.first, last, layout.patch(present)), found


def _are_samples(file: Bytes, position: int, last: int) -> bool:
    """Return whether the bytes after the stated samples are samples too: no chunk, no tag and no zeros."""
    position += position % 2
    head, rest = file.at(position, 4096), last - position
    if rest < 8 or head.startswith(TAGS) or not any(head):
        return False
    sizes = [struct.unpack_from(form, head.ljust(24, b"\xff"), at)[0] for form, at in CHUNK_SIZES]
    return not (re.match(rb"[ -~]{4}", head) and any(0 <= size <= rest for size in sizes))


def _flac(file: Bytes, part: Part, last: int) -> tuple[Part, str]:
    """Return a part that states the samples that are there, and a sentence if its header states fewer."""
    head = file.at(part.first, headers.FLAC_HEADER)
    if len(head) < headers.FLAC_HEADER or head[:4] != b"fLaC":  # a tag stands in front
        return part, ""
    stated = headers.flac_stated(head)
    if stated == 0:
        return Part(part.first, part.last, streamed=True), ""
    present = headers.flac_samples(file, part.first, last)
    if present is None:
        return part, ""
    found = f"has a header that states {stated:,} samples, but {present:,} are there, and all were read"
    return Part(part.first, last, headers.flac_patch(head, part.first, present)), found


def _page_end(file: Bytes, position: int) -> int:
    """Return the byte after the Ogg page at a position."""
    head = file.at(position, 27 + 255)
    segments = head[26] if len(head) > 26 else 255
    return position + 27 + segments + sum(head[27 : 27 + segments])


def _check_last_page(path: Path, file: Bytes, first: int, last: int) -> None:
    start = max(first, last - LARGEST_PAGE)
    at = file.at(start, last - start).rfind(b"OggS\0")
    if at >= 0 and _page_end(file, start + at) > last:
        raise _cut_off(path, "page")


def _boxes(path: Path, file: Bytes) -> Contents:
    """Return the recordings of an mp4; every box states its size."""
    firsts, position, has_sound = [0], 0, False
    while position + 8 <= file.size:
        name, size = file.at(position + 4, 4), int(file.number(position, ">I"))
        if size == 1:
            size = int(file.number(position + 8, ">Q"))
        if name == b"ftyp" and has_sound:
            firsts.append(position)
        has_sound = has_sound or name == b"mdat"
        if size < 8 or not re.fullmatch(rb"[\w\xa9 -]{4}", name):  # 0: the last box, to the end of the file
            break
        if position + size > file.size and name in (b"mdat", b"moov", b"moof"):
            raise bytes_missing(path, file.size, position + size)
        position += size
    if len(firsts) == 1:
        return Contents()
    return together([Part(first, last) for first, last in zip(firsts, [*firsts[1:], file.size], strict=True)])


def _check_elements(path: Path, file: Bytes) -> None:
    """Raise InputError if an element of a Matroska file is not whole; what follows the last one does not matter.

    A file states the length of its segment, that is of nearly everything. One that was written to a pipe does not, but
    its clusters, or the blocks in them, state theirs.
    """
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
            raise _cut_off(path, "block")
        unknown = (1 << 7 * size_width) - 1
        size = int.from_bytes(head[width : width + size_width], "big") & unknown
        if size == unknown and name in (SEGMENT, CLUSTER):
            position = begin  # its elements follow
        elif begin + size <= file.size:
            position = begin + size
        else:
            raise bytes_missing(path, file.size, begin + size) if name == SEGMENT else _cut_off(path, "block")


def _width(first: int) -> int:
    """Return the bytes of a number, by its first byte; 0 if it begins none."""
    return 9 - first.bit_length() if first else 0


def _cut_off(path: Path, part: str) -> InputError:
    return InputError(f"{path}: is cut off (its last {part} is not whole); download it again.")
