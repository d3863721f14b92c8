"""`prepare download=true`: download a corpus that has a free direct address, and unpack it into its root.

All work happens in `<root>.unfinished`; at the end its folder `content` is renamed to the root. So a stopped download
continues later, and a root never holds half a corpus. Each file is checked against the checksum in the YAML. Without
one, the checksum of the first download is recorded in the cache folder, and later downloads are checked against it.
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
from melt_ser.core.package import cache_folder
from melt_ser.corpora.download.transfer import NotDownloaded, ProgressBar, checksum, transfer
from melt_ser.corpora.download.unpack import is_archive, is_foreign_archive, is_page, unpack


def download(config: DatasetConfig, root: Path, progress: ProgressBar) -> None:
    """Download every file of a corpus into `root`, unless `root` has files already.

    Raises SetupError if the corpus has no address, its server does not give it, it does not fit on the disk, or another
    process is downloading it; InputError if a file is not the expected one.
    """
    by_hand = f"get it by hand ({config.access}) and set dataset.root=<folder>."
    if not config.download:
        raise SetupError(f"Corpus '{config.name}' cannot be downloaded by itself; {by_hand}")
    root = root.resolve()  # a link to a folder stays, and the folder behind it is made
    unfinished = unfinished_folder(root)
    content = unfinished / "content"
    try:
        _check_place(root)
        unfinished.mkdir(parents=True, exist_ok=True)
        with FileLock(unfinished / "lock", timeout=0):
            if not has_files(root):  # another process may have finished meanwhile
                try:
                    _fetch_and_unpack(config, unfinished, content, progress)
                    content.rename(root)
                finally:
                    shutil.rmtree(content, ignore_errors=True)
            shutil.rmtree(unfinished, ignore_errors=True)
    except NotDownloaded as error:
        raise SetupError(f"{error}, or {by_hand}") from None
    except Timeout:
        raise SetupError(
            f"Another process downloads '{config.name}' into {root} (it holds {unfinished / 'lock'}); wait for it; "
            f"if there is none on any machine, delete that file."
        ) from None
    except OSError as error:
        place = error.filename or unfinished
        raise SetupError(f"{place}: {error.strerror or error}; free space there or choose dataset.root.") from None


def unfinished_folder(root: Path) -> Path:
    """Return the folder that holds a download until it is complete."""
    return root.with_name(root.name + ".unfinished")


def has_files(root: Path) -> bool:
    """Return whether `root` is a folder that is not empty."""
    return root.is_dir() and any(root.iterdir())


def _check_place(root: Path) -> None:
    """Raise SetupError if the last step could not rename the content to `root`, which would show only after hours."""
    if root.exists() and not root.is_dir():
        raise SetupError(f"{root} is a file; set dataset.root=<folder>.")
    if root.is_mount():
        raise SetupError(
            f"{root} is a disk of its own, and nothing can be renamed to it; set dataset.root=<folder in it>."
        )


def _fetch_and_unpack(config: DatasetConfig, unfinished: Path, content: Path, progress: ProgressBar) -> None:
    """Fetch all files of a corpus into `unfinished`, then unpack or copy them into `content`."""
    shutil.rmtree(content, ignore_errors=True)  # left by an unpacking that was killed
    for item, path in [(item, _fetch(item, unfinished, progress)) for item in config.download]:
        folder = content / item.folder
        folder.mkdir(parents=True, exist_ok=True)
        with _delete_if_bad(path):
            if is_archive(_file_name(item)):
                say(f"unpacking {_file_name(item)}")
                unpack(path, folder)
            elif is_page(path):
                raise InputError(f"{item.url} is a web page, so the address may have moved; download it again.")
            else:
                shutil.copyfile(path, folder / _file_name(item))
        _record_checksum(item, path)


def _fetch(item: DownloadConfig, unfinished: Path, progress: ProgressBar) -> Path:
    """Download a file, check its checksum, and return its path."""
    if is_foreign_archive(_file_name(item)):
        raise NotDownloaded(f"{item.url} is an archive that cannot be unpacked here")
    path = unfinished / f"{files.sha256(item.url)[:8]}-{_file_name(item)}"  # two addresses may end in the same name
    if not path.is_file():
        transfer(item.url, path, item.bytes, progress)
    with _delete_if_bad(path):
        _check_checksum(item, path)
    return path


@contextmanager
def _delete_if_bad(path: Path) -> Iterator[None]:
    """Delete the file if the block raises InputError, so that the same command fetches it anew."""
    try:
        yield
    except InputError:
        path.unlink()
        raise


def _file_name(item: DownloadConfig) -> str:
    return PurePosixPath(unquote(urlsplit(item.url).path)).name


def _check_checksum(item: DownloadConfig, path: Path) -> None:
    """Raise InputError if a file does not have the checksum in the YAML, or if none is there, the recorded one."""
    expected, origin = item.checksum or _recorded_checksum(item), ""
    if item.checksum is None:
        origin = f" of the first download (delete {_record_path(item)} if the release has changed)"
    algorithm = expected.partition(":")[0] if expected else "sha256"
    if algorithm not in ("sha256", "md5"):
        raise SetupError(f"dataset.download: the checksum '{expected}' does not begin with sha256: or md5:.")
    actual = f"{algorithm}:{checksum(path, algorithm)}"
    if expected is not None and actual != expected.lower():
        raise InputError(f"{item.url} has the checksum {actual}, not {expected}{origin}; download it again.")
    say(f"checksum of {_file_name(item)}: {actual}, {'as expected' if expected else 'recorded, since none is known'}")


def _record_checksum(item: DownloadConfig, path: Path) -> None:
    """Record the file's checksum if none is known; later downloads are checked against it."""
    if item.checksum is None and _recorded_checksum(item) is None:
        value = {"url": item.url, "checksum": f"sha256:{checksum(path, 'sha256')}", "bytes": path.stat().st_size}
        try:
            files.write_json(_record_path(item), value)
        except OutputError as error:
            say(f"note: the checksum could not be recorded: {error}")


def _recorded_checksum(item: DownloadConfig) -> str | None:
    try:
        return str(files.read_json(_record_path(item))["checksum"])
    except (OSError, ValueError, KeyError, TypeError):  # no record yet, or a damaged one
        return None


def _record_path(item: DownloadConfig) -> Path:
    return cache_folder() / "downloads" / f"{files.sha256(item.url)[:20]}.json"
