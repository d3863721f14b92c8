"""Unpack an archive that may be malicious: write nothing outside the folder, refuse links, devices and bombs.

Archives within an archive (as in MELD) are unpacked in place, one level deep. Recordings hardly shrink in an archive,
so an archive that grows more than `GROWTH` times is no corpus. A cut-off archive is refused.
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

from melt_ser.core.errors import InputError, first_line

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
FOREIGN_SUFFIXES = (".rar", ".7z", ".gz", ".bz2", ".xz", ".zst")
GROWTH = 30
MOST_FILES = 1_000_000
LEAST_BUDGET = 100 * 2**20  # bytes that even a tiny archive may hold, since text shrinks well
LONGEST_HEADER = 2**20  # bytes of a long name or other metadata of a file; tarfile reads them into memory
BLOCK = 2**20
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, RuntimeError, ValueError)
NAME_ERRORS = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
METADATA_TYPES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
LINK = "a link or a device, which no release needs"
NO_RELEASE = "it is no release; check the address in dataset.download, or get the release by hand."


@dataclass
class Budget:
    """The bytes and files that an archive, with its inner archives, may still hold; taking more raises InputError."""

    archive: Path
    bytes: int
    files: int

    def take(self, size: int) -> None:
        self.bytes -= size
        if self.bytes < 0:
            raise InputError(f"{self.archive}: holds more than {GROWTH} times its own size; {NO_RELEASE}")

    def take_file(self) -> None:
        self.files -= 1
        if self.files < 0:
            raise InputError(f"{self.archive}: holds more than {MOST_FILES:,} files; {NO_RELEASE}")


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive."""

    name: str
    kind: str  # "file", "folder", or the reason to refuse it
    content: IO[bytes] | None  # None: not a file


def is_archive(name: str) -> bool:
    """Return whether a file name has the ending of an archive that this module unpacks."""
    return name.lower().endswith(SUFFIXES)


def is_foreign_archive(name: str) -> bool:
    """Return whether a file name has the ending of an archive that only other programs unpack."""
    return not is_archive(name) and name.lower().endswith(FOREIGN_SUFFIXES)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive, and the archives within it, into `folder`; raise InputError if one is unsafe or damaged."""
    budget = Budget(archive, max(GROWTH * archive.stat().st_size, LEAST_BUDGET), MOST_FILES)
    for inner in _unpack_one(archive, folder, budget):
        if is_archive(inner.name) and not inner.name.startswith("."):  # macOS leaves ._train.tar.gz, no archive
            _unpack_one(inner, inner.parent, budget)
            inner.unlink()


def _unpack_one(archive: Path, folder: Path, budget: Budget) -> list[Path]:
    """Unpack one archive into `folder` and return its files."""
    files = []
    try:
        is_zip = archive.suffix.lower() == ".zip"
        for member in _zip_members(archive) if is_zip else _tar_members(archive, budget):
            name = _safe_name(member.name, archive)
            target = folder / name
            budget.take_file()
            if member.kind not in ("file", "folder"):
                raise InputError(f"{archive}: '{member.name}' is {member.kind}.")
            if member.kind == "file" and not name.parts:
                raise InputError(f"{archive}: holds a file without a name; {NO_RELEASE}")
            if member.content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:  # never overwrites a file or follows a link
                while block := member.content.read(BLOCK):
                    budget.take(len(block))
                    file.write(block)
            files.append(target)
    except DAMAGED as error:
        raise _damaged(archive, error) from None
    except OSError as error:
        if error.errno is None:  # gzip and bz2 report damaged data in this way
            raise _damaged(archive, error) from None
        if error.errno in NAME_ERRORS:
            raise InputError(
                f"{archive}: holds '{error.filename}' twice, or no file can have that name ({error.strerror}); "
                f"{NO_RELEASE}"
            ) from None
        raise
    return files


def _damaged(archive: Path, error: Exception) -> InputError:
    reason = first_line(error) if str(error) else "it ends in the middle"
    page = "it is a web page, so the address may have moved; " if is_page(archive) else ""
    return InputError(f"{archive}: cannot be unpacked ({reason}); {page}download it again.")


def _safe_name(name: str, archive: Path) -> PurePosixPath:
    """Return a member's path within the folder; both kinds of slashes separate folders.

    tarfile's filter="data" checks names too, but needs Python 3.11.4, allows links, and does not cover zip.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0]):
        raise InputError(f"{archive}: '{name}' would lie outside the folder; {NO_RELEASE}")
    if "\0" in name:
        raise InputError(f"{archive}: no file can be called '{name}', with a null character; {NO_RELEASE}")
    return path


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            mode = info.external_attr >> 16
            is_folder = info.filename.replace("\\", "/").endswith("/")  # backslashes are of old Windows programs
            if "\0" in info.orig_filename:  # zipfile itself cuts the name there
                yield Member(info.orig_filename, "file", None)
            elif is_folder and info.file_size:
                yield Member(info.filename, "a folder with data of its own, which no release needs", None)
            elif is_folder:
                yield Member(info.filename, "folder", None)
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                yield Member(info.filename, LINK, None)
            elif info.flag_bits & 1:
                yield Member(info.filename, "encrypted; unpack it by hand and set dataset.root=<folder>", None)
            else:
                with opened.open(info) as content:
                    yield Member(info.filename, "file", content)


def _tar_members(archive: Path, budget: Budget) -> Iterator[Member]:
    with tarfile.open(archive, tarinfo=_CheckedHeader) as opened:
        for info in opened:
            if info.isdir():
                yield Member(info.name, "folder", None)
            elif not info.isreg():
                yield Member(info.name, LINK, None)
            else:
                yield Member(info.name, "file", opened.extractfile(info))
        while opened.fileobj and (rest := opened.fileobj.read(BLOCK)):  # gzip checks its checksum at the end
            budget.take(len(rest))


class _CheckedHeader(tarfile.TarInfo):
    """A tar header that raises an error if it is damaged.

    tarfile itself treats a damaged or missing header as the end of the archive, so a damaged archive would be unpacked
    in part without an error; only `frombuf`, which parses each header, can see the difference.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if buf and not any(buf):
            return super().frombuf(buf, encoding, errors)  # all zeros: the proper end
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}, where a file or the end should be") from None
        if header.size < 0 or (header.type in METADATA_TYPES and header.size > LONGEST_HEADER):
            raise tarfile.TarError(f"a header has a size of {header.size:,} bytes")
        return header


def is_page(path: Path) -> bool:
    """Return whether a file is a web page, which servers send if an address has moved."""
    with path.open("rb") as file:
        return file.read(200).lstrip().lower().startswith((b"<!doctype", b"<html"))
