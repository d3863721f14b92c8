"""Unpacking an archive that nobody vouches for: nothing outside the folder, no links, no devices, no bombs.

Archives within an archive (MELD's) are unpacked beside themselves, once. Recordings hardly shrink in an archive, so
one that grows more than `GROWTH` times is no corpus. One that ends in the middle is refused, not taken for a short one.
"""

from __future__ import annotations

import errno
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, Self

from melt_ser.core.errors import InputError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
FOREIGN_SUFFIXES = (".rar", ".7z", ".gz", ".bz2", ".xz", ".zst")
GROWTH = 30
MOST_FILES = 1_000_000
LEAST_BUDGET = 100 * 2**20  # bytes that even a tiny archive may hold: text shrinks well
LONGEST_HEADER = 2**20  # bytes of a name or of other words about a file, which tarfile reads into memory
BLOCK = 2**20
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, RuntimeError, ValueError)
TAKEN = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
LINK = "a link or a device, which no release needs"


@dataclass
class Budget:
    """What an archive and those within it may still hold."""

    archive: Path
    bytes: int
    files: int

    def take(self, size: int) -> None:
        self.bytes -= size
        if self.bytes < 0:
            raise InputError(f"{self.archive}: holds more than {GROWTH} times its own size; it is no release.")

    def take_file(self) -> None:
        self.files -= 1
        if self.files < 0:
            raise InputError(f"{self.archive}: holds more than {MOST_FILES:,} files; it is no release.")


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive."""

    name: str
    kind: str  # file, folder, or what it is instead and what follows from that
    content: IO[bytes] | None


def is_archive(name: str) -> bool:
    """Whether a name ends as that of an archive does that can be unpacked here."""
    return name.lower().endswith(SUFFIXES)


def is_foreign_archive(name: str) -> bool:
    """Whether a name ends as that of an archive does that other programs unpack."""
    return not is_archive(name) and name.lower().endswith(FOREIGN_SUFFIXES)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive and those within it into `folder`; InputError, one sentence, where it is not safe or broken."""
    budget = Budget(archive, max(GROWTH * archive.stat().st_size, LEAST_BUDGET), MOST_FILES)
    for inner in _unpack_one(archive, folder, budget):
        if is_archive(inner.name) and not inner.name.startswith("."):  # macOS leaves ._train.tar.gz, which is none
            _unpack_one(inner, inner.parent, budget)
            inner.unlink()


def _unpack_one(archive: Path, folder: Path, budget: Budget) -> list[Path]:
    files = []
    try:
        is_zip = archive.suffix.lower() == ".zip"
        for member in _zip_members(archive) if is_zip else _tar_members(archive, budget):
            target = folder / _safe_name(member.name, archive)
            budget.take_file()
            if member.kind not in ("file", "folder"):
                raise InputError(f"{archive}: '{member.name}' is {member.kind}.")
            if member.content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:  # what is there is never written over, nor written through
                while block := member.content.read(BLOCK):
                    budget.take(len(block))
                    file.write(block)
            files.append(target)
    except BROKEN as error:
        raise _broken(archive, error) from None
    except OSError as error:
        if error.errno is None:  # gzip and bz2 say so that the data is damaged
            raise _broken(archive, error) from None
        if error.errno in TAKEN:
            raise InputError(
                f"{archive}: holds '{error.filename}' twice, or no file can have that name ({error.strerror}); "
                f"it is no release."
            ) from None
        raise
    return files


def _broken(archive: Path, error: Exception) -> InputError:
    reason = next(iter(str(error).splitlines()), "").rstrip(":.") or "it ends in the middle"
    page = "it is a web page, so the address may have moved; " if is_page(archive) else ""
    return InputError(f"{archive}: cannot be unpacked ({reason}); {page}download it again.")


def _safe_name(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0]) or "\0" in name:
        raise InputError(f"{archive}: '{name}' would lie outside the folder; it is no release.")
    return path


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                yield Member(info.filename, "folder", None)
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                yield Member(info.filename, LINK, None)
            elif info.flag_bits & 1:
                yield Member(info.filename, "encrypted; unpack it by hand and set dataset.root=<folder>", None)
            else:
                with opened.open(info) as content:
                    yield Member(info.filename, "file", content)


def _tar_members(archive: Path, budget: Budget) -> Iterator[Member]:
    with tarfile.open(archive, tarinfo=_Header) as opened:
        for info in opened:
            if info.isdir():
                yield Member(info.name, "folder", None)
            elif not info.isreg():
                yield Member(info.name, LINK, None)
            else:
                yield Member(info.name, "file", opened.extractfile(info))
        while opened.fileobj and (rest := opened.fileobj.read(BLOCK)):  # to the checksum at the end
            budget.take(len(rest))


class _Header(tarfile.TarInfo):
    """A tar's header, which tarfile takes for the end of the archive where it is damaged or missing."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if buf and not any(buf):
            return super().frombuf(buf, encoding, errors)  # the end, as it should be
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}, where a file or the end should be") from None
        if header.size < 0 or (header.type in EXTENSIONS and header.size > LONGEST_HEADER):
            raise tarfile.TarError(f"a header has a size of {header.size:,} bytes")
        return header


def is_page(path: Path) -> bool:
    """Whether a server answered with a web page in the place of a file."""
    with path.open("rb") as file:
        return file.read(200).lstrip().lower().startswith((b"<!doctype", b"<html"))
