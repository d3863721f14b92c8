"""Archives as people pack them, and as nobody should."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable


def zipped(entries: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] = lambda info: None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            archive.writestr(info, content)
    return buffer.getvalue()


def renamed(content: bytes, name: bytes) -> bytes:
    """Return the zip of one file `aaaa` with another name, of up to four bytes, in both of its headers."""
    at = content.index(b"PK\x01\x02")
    local, central = content[:at], content[at:]
    length = len(name).to_bytes(2, "little")
    local = local[:26] + length + local[28:].replace(b"aaaa", name, 1)
    end = central.index(b"PK\x05\x06")
    last = bytearray(central[end:])
    last[12:16] = (end + len(name) - 4).to_bytes(4, "little")  # size and place of the central headers
    last[16:20] = len(local).to_bytes(4, "little")
    return local + central[:28] + length + central[30:end].replace(b"aaaa", name, 1) + bytes(last)


def tarred(*members: tuple[str, bytes, bytes]) -> bytes:
    """Return a tar.gz of members (name, type, content); the content of a link is its target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content.decode()
                archive.addfile(info)
    return buffer.getvalue()


def with_password(content: bytes) -> bytes:
    """Return the zip of one file with the flag for encryption set in both of its headers."""
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(signature) + offset
        content = content[:at] + bytes([content[at] | 1]) + content[at + 1 :]
    return content


def plain_tar(*contents: bytes) -> bytes:
    return gzip.decompress(tarred(*((f"{n}.wav", tarfile.REGTYPE, content) for n, content in enumerate(contents))))


def with_metadata(**metadata: str) -> bytes:
    """Return a tar.gz with an extended header."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a")
        info.pax_headers = metadata
        archive.addfile(info)
    return buffer.getvalue()


def as_link(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
