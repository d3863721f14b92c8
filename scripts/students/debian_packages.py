"""Debian packages with speech: the table packages.toml, their download, and the speech files within them."""

from __future__ import annotations

import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from melt_ser.core.console import transfer_bar
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.download.transfer import NotDownloaded, checksum, transfer

# The second one keeps every file that a mirror ever had; the date is one at which all packages of the table are there.
MIRRORS = ("https://deb.debian.org/debian/", "https://snapshot.debian.org/archive/debian/20250520T000000Z/")
ARCHIVES = (".pk3", ".wz")  # zip files of games
AR_MAGIC, AR_HEADER = b"!<arch>\n", 60  # bytes of a member's header


class Files(msgspec.Struct, forbid_unknown_fields=True):
    """Which files are speech: an expression that is searched in the path.

    language: their language; if it is not given, the expression has a group `language`.
    """

    match: str
    language: str | None = None


class Package(msgspec.Struct, forbid_unknown_fields=True):
    """A row of the table; the comment of packages.toml explains the columns."""

    name: str
    version: str
    pool: str
    sha256: str
    licence: str
    copyright: str
    speech: str
    files: list[Files]
    leave_out: str | None = None

    def language_of(self, path: str) -> str | None:
        """Return the language of a file in the package, or None if it is no speech."""
        if self.leave_out is not None and re.search(self.leave_out, path):
            return None
        for files in self.files:
            if found := re.search(files.match, path):
                return files.language or found["language"]
        return None


class Clip(NamedTuple):
    """A speech file: its path in the package, its language, and its copy on the disk."""

    path: str
    language: str
    file: Path


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    package: list[Package]


def read_packages(table: Path) -> list[Package]:
    """Return the rows of a table such as packages.toml.

    Raises SetupError if it cannot be read, or if an expression gives no language.
    """
    try:
        packages = msgspec.toml.decode(table.read_bytes(), type=_Table).package
        for files in (files for package in packages for files in package.files):
            if files.language is None and "language" not in re.compile(files.match).groupindex:
                raise ValueError(f"{files.match!r} has no language and no group (?P<language>…)")
        for package in packages:
            re.compile(package.leave_out or "")
    except (OSError, ValueError, msgspec.DecodeError, re.error) as error:
        raise SetupError(f"{table} cannot be read ({error}); correct it.") from None
    return packages


def download(package: Package, folder: Path) -> Path:
    """Return the package's .deb in a folder; download it if it is not there.

    Raises SetupError if no mirror gives it, InputError if its SHA-256 is not that of the table.
    """
    path = folder / package.pool.rpartition("/")[2]
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        reasons = []
        for mirror in MIRRORS:
            try:
                transfer(mirror + package.pool, path, None, transfer_bar)
                break
            except NotDownloaded as error:
                reasons.append(str(error))
        else:
            raise SetupError(f"{'; '.join(reasons)}; or put the file into {folder} yourself.")
    if checksum(path, "sha256") != package.sha256:
        raise InputError(f"{path} is not the file that packages.toml names (another SHA-256); delete it and try again.")
    return path


def unpack(package: Package, deb: Path, folder: Path) -> tuple[list[Clip], bytes]:
    """Copy the speech files of a package into an empty folder, under numbers for names.

    Return them, sorted by their path in the package, and the package's copyright file. Raises InputError if the .deb
    is damaged, or has no copyright file or no speech.
    """
    clips: list[Clip] = []
    notice = b""
    try:
        for path, content in _members(deb, folder):
            if path == f"usr/share/doc/{package.name}/copyright":
                notice = content.read()
            elif language := package.language_of(path):
                file = folder / f"{len(clips)}{Path(path).suffix}"
                with file.open("wb") as copy:
                    shutil.copyfileobj(content, copy)
                clips.append(Clip(path, language, file))
    except (EOFError, ValueError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise InputError(f"{deb} cannot be unpacked ({error}); delete it and try again.") from None
    if not notice or not clips:
        missing = "copyright file" if clips else "file that the expressions of packages.toml find"
        raise InputError(f"{deb} has no {missing}; correct packages.toml.")
    return sorted(clips), notice


def _members(deb: Path, folder: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield path and content of every file in a .deb, those within zip archives too; links are no files."""
    with deb.open("rb") as file:
        _seek_data(file)
        with tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    continue
                path = member.name.removeprefix("./")
                if path.endswith(ARCHIVES):
                    yield from _zip_members(path, content, folder / "archive")
                else:
                    yield path, content


def _zip_members(path: str, content: IO[bytes], copy: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield path and content of every file in a zip archive; it is copied first, since a stream cannot go back."""
    with copy.open("wb") as file:
        shutil.copyfileobj(content, file)
    with zipfile.ZipFile(copy) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as inner:
                    yield f"{path}/{member.filename}", inner
    copy.unlink()


def _seek_data(file: IO[bytes]) -> None:
    """Go to the first byte of data.tar in a .deb, which is an `ar` archive (man 5 deb).

    Raises ValueError if there is none.
    """
    if file.read(len(AR_MAGIC)) != AR_MAGIC:
        raise ValueError("it is no .deb")
    while len(header := file.read(AR_HEADER)) == AR_HEADER:
        if header.startswith(b"data.tar"):
            return
        size = int(header[48:58])
        file.seek(size + size % 2, 1)  # members begin at even places
    raise ValueError("it has no data.tar")
