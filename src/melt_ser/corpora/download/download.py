"""`prepare download=true`: a corpus with a free direct address, fetched and unpacked into its root, whole or not.

All happens in `<root>.unfinished`, which is renamed at the end: a stopped download goes on, and a root is never half a
corpus. A checksum that the YAML knows is checked; otherwise the one of the first download is kept in the cache folder
and later downloads are held to it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from melt_ser.config import DatasetConfig, DownloadConfig
from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import InputError, OutputError, SetupError
from melt_ser.core.paths import cache_folder
from melt_ser.corpora.download.transfer import NotDownloaded, Watch, checksum, transfer
from melt_ser.corpora.download.unpack import is_archive, is_foreign_archive, is_page, unpack


def download(config: DatasetConfig, root: Path, watch: Watch) -> None:
    """Fetch every file of a corpus into `root`, unless something is there already.

    Raises SetupError where the corpus has no address, is not there, does not fit, or another process fetches it;
    InputError where what came is not what it should be.
    """
    by_hand = f"get it by hand ({config.access}) and set dataset.root=<folder>."
    if not config.download:
        raise SetupError(f"Corpus '{config.name}' cannot be downloaded by itself; {by_hand}")
    root = root.resolve()  # a link to a folder stays, and what it leads to is made
    unfinished = unfinished_folder(root)
    content = unfinished / "content"
    try:
        _check_place(root)
        unfinished.mkdir(parents=True, exist_ok=True)
        with FileLock(unfinished / "lock", timeout=0):
            if not is_there(root):  # another process may have finished meanwhile
                try:
                    _fill(content, config, unfinished, watch)
                    content.rename(root)
                finally:
                    shutil.rmtree(content, ignore_errors=True)
            shutil.rmtree(unfinished, ignore_errors=True)
    except NotDownloaded as error:
        raise SetupError(f"{error}, or {by_hand}") from None
    except Timeout:
        raise SetupError(f"Another process downloads '{config.name}' into {root}; wait for it.") from None
    except OSError as error:
        where = error.filename or unfinished
        raise SetupError(f"{where}: {error.strerror or error}; free space there or choose dataset.root.") from None


def unfinished_folder(root: Path) -> Path:
    """Where a download lies until it is whole."""
    return root.with_name(root.name + ".unfinished")


def is_there(root: Path) -> bool:
    """Whether a folder has anything in it."""
    return root.is_dir() and any(root.iterdir())


def _check_place(root: Path) -> None:
    """What would fail only at the last step, after hours."""
    if root.exists() and not root.is_dir():
        raise SetupError(f"{root} is a file; set dataset.root=<folder>.")
    if root.is_mount():
        raise SetupError(
            f"{root} is a disk of its own, which nothing can be renamed to; set dataset.root=<folder in it>."
        )


def _fill(content: Path, config: DatasetConfig, unfinished: Path, watch: Watch) -> None:
    """Fetch all files of a corpus, then unpack or copy them into `content`."""
    shutil.rmtree(content, ignore_errors=True)  # of a killed unpacking
    for item, path in [(item, _fetch(item, unfinished, watch)) for item in config.download]:
        folder = content / item.folder
        folder.mkdir(parents=True, exist_ok=True)
        with _fetched_anew(path):
            if is_archive(_name(item)):
                say(f"unpacking {_name(item)}")
                unpack(path, folder)
            elif is_page(path):
                raise InputError(f"{item.url} is a web page, so the address may have moved; download it again.")
            else:
                shutil.copyfile(path, folder / _name(item))
        _record(item, path)


def _fetch(item: DownloadConfig, unfinished: Path, watch: Watch) -> Path:
    if is_foreign_archive(_name(item)):
        raise NotDownloaded(f"{item.url} is an archive that cannot be unpacked here")
    path = unfinished / f"{files.sha256(item.url)[:8]}-{_name(item)}"  # two addresses may end alike
    if not path.is_file():
        transfer(item.url, path, item.bytes, watch)
    with _fetched_anew(path):
        _check(item, path)
    return path


@contextmanager
def _fetched_anew(path: Path) -> Iterator[None]:
    """Delete a file that is not what it should be, so that the same command fetches it anew."""
    try:
        yield
    except InputError:
        path.unlink()
        raise


def _name(item: DownloadConfig) -> str:
    return PurePosixPath(unquote(urlsplit(item.url).path)).name


def _check(item: DownloadConfig, path: Path) -> None:
    """Hold a file to the checksum that the YAML knows, else to that of its first whole download."""
    expected, whose = item.checksum or _recorded(item), ""
    if item.checksum is None:
        whose = f" of the first download (delete {_record_of(item)} if the release has changed)"
    algorithm = expected.partition(":")[0] if expected else "sha256"
    if algorithm not in ("sha256", "md5"):
        raise SetupError(f"dataset.download: the checksum '{expected}' does not begin with sha256: or md5:.")
    found = f"{algorithm}:{checksum(path, algorithm)}"
    if expected is not None and found != expected.lower():
        raise InputError(f"{item.url} has the checksum {found}, not {expected}{whose}; download it again.")
    say(f"checksum of {_name(item)}: {found}, {'as expected' if expected else 'kept, since none is known'}")


def _record(item: DownloadConfig, path: Path) -> None:
    """Keep the checksum of what could be unpacked, so that later downloads are held to it."""
    if item.checksum is None and _recorded(item) is None:
        value = {"url": item.url, "checksum": f"sha256:{checksum(path, 'sha256')}", "bytes": path.stat().st_size}
        try:
            files.write_json(_record_of(item), value)
        except OutputError as error:
            say(f"note: the checksum could not be kept: {error}")


def _recorded(item: DownloadConfig) -> str | None:
    try:
        return str(files.read_json(_record_of(item))["checksum"])
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or damaged
        return None


def _record_of(item: DownloadConfig) -> Path:
    return cache_folder() / "downloads" / f"{files.sha256(item.url)[:20]}.json"
