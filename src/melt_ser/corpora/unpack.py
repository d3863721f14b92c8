"""Unpacking an archive that nobody vouches for: nothing outside the folder, no links, no devices, no bombs.

Archives within an archive (MELD's) are unpacked beside themselves, once. Recordings hardly shrink in an archive, so one
that grows more than `GROWTH` times is no corpus.
"""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from melt_ser.errors import InputError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
GROWTH = 30
MOST_FILES = 1_000_000
LEAST_BUDGET = 100 * 2**20  # bytes that even a tiny archive may hold: text shrinks well
BLOCK = 2**20
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, RuntimeError, NotImplementedError)


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
    kind: str  # file, folder, or what it is instead
    content: IO[bytes] | None


def is_archive(name: str) -> bool:
    """Whether a name ends as an archive's does."""
    return name.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive and those within it into `folder`; InputError, one sentence, where it is not safe or broken."""
    budget = Budget(archive, max(GROWTH * archive.stat().st_size, LEAST_BUDGET), MOST_FILES)
    for inner in [path for path in _unpack_one(archive, folder, budget) if is_archive(path.name)]:
        _unpack_one(inner, inner.parent, budget)
        inner.unlink()


def _unpack_one(archive: Path, folder: Path, budget: Budget) -> list[Path]:
    files = []
    try:
        for member in _zip_members(archive) if archive.suffix.lower() == ".zip" else _tar_members(archive):
            target = folder / _safe_name(member.name, archive)
            budget.take_file()
            if member.kind not in ("file", "folder"):
                raise InputError(f"{archive}: '{member.name}' is {member.kind}; no release needs one.")
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
        page = "it is a web page, so the address may have moved; " if _is_page(archive) else ""
        raise InputError(f"{archive}: cannot be unpacked ({error}); {page}download it again.") from None
    except FileExistsError as error:
        raise InputError(f"{archive}: holds '{error.filename}' twice; it is no release.") from None
    return files


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
                yield Member(info.filename, "a link or a device", None)
            else:
                with opened.open(info) as content:
                    yield Member(info.filename, "file", content)


def _tar_members(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive) as opened:
        for info in opened:
            if info.isdir():
                yield Member(info.name, "folder", None)
            elif not info.isreg():
                yield Member(info.name, "a link or a device", None)
            else:
                yield Member(info.name, "file", opened.extractfile(info))


def _is_page(archive: Path) -> bool:
    """Whether a server answered with a page in the place of the archive."""
    with archive.open("rb") as file:
        return file.read(200).lstrip().lower().startswith((b"<!doctype", b"<html"))
