"""`prepare download=true`: a corpus with a free direct address, fetched and unpacked into its root, whole or not.

All happens in `<root>.unfinished`, which is renamed at the end: a stopped download goes on, and a root is never half a
corpus. A checksum that the YAML knows is checked; otherwise the one of the first download is kept in the cache folder
and later downloads are held to it.
"""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from melt_ser import files
from melt_ser.config import DatasetConfig, DownloadConfig
from melt_ser.corpora.transfer import Watch, checksum, transfer
from melt_ser.corpora.unpack import is_archive, unpack
from melt_ser.corpora.verification import cache_folder
from melt_ser.errors import InputError, SetupError


def download(config: DatasetConfig, root: Path, watch: Watch) -> None:
    """Fetch every file of a corpus into `root`, which does not exist yet.

    Raises SetupError where the corpus has no address, is not there, or another process fetches it; InputError where
    what came is not what it should be.
    """
    if not config.download:
        raise SetupError(f"Corpus '{config.name}' cannot be downloaded by itself: {config.access}.")
    unfinished = root.with_name(root.name + ".unfinished")
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
        with FileLock(unfinished / "lock", timeout=0):
            content = unfinished / "content"
            shutil.rmtree(content, ignore_errors=True)  # of a stopped unpacking
            content.mkdir()
            for item in config.download:
                _fetch(item, unfinished, content, watch)
            root.parent.mkdir(parents=True, exist_ok=True)
            content.rename(root)
            shutil.rmtree(unfinished, ignore_errors=True)
    except Timeout:
        raise SetupError(f"Another process downloads '{config.name}' into {root}; wait for it.") from None
    except OSError as error:
        where = error.filename or unfinished
        raise SetupError(f"{where}: {error.strerror or error}; free space there or choose dataset.root.") from None


def _fetch(item: DownloadConfig, unfinished: Path, content: Path, watch: Watch) -> None:
    name = PurePosixPath(unquote(urlsplit(item.url).path)).name
    path = unfinished / f"{files.sha256(item.url)[:8]}-{name}"  # two addresses may end alike
    if not path.is_file():
        transfer(item.url, path, item.bytes, watch)
    record = cache_folder() / "downloads" / f"{files.sha256(item.url)[:20]}.json"
    try:
        found = _check(item, path, record)
        folder = content / item.folder
        folder.mkdir(parents=True, exist_ok=True)
        if is_archive(name):
            unpack(path, folder)
        else:
            shutil.copyfile(path, folder / name)
    except InputError:
        path.unlink()  # so that the same command fetches it anew
        raise
    files.write_json(record, {"url": item.url, "checksum": found, "bytes": path.stat().st_size})


def _check(item: DownloadConfig, path: Path, record: Path) -> str:
    """Hold a file to the checksum that the YAML knows, else to that of its first whole download; returns its own."""
    expected, whose = item.checksum or _recorded(record), ""
    if item.checksum is None:
        whose = f" of the first download (delete {record} if the release has changed)"
    algorithm = expected.partition(":")[0] if expected else "sha256"
    if algorithm not in ("sha256", "md5"):
        raise SetupError(f"dataset.download: the checksum '{expected}' does not begin with sha256: or md5:.")
    found = f"{algorithm}:{checksum(path, algorithm)}"
    if expected is not None and found != expected.lower():
        raise InputError(f"{item.url} has the checksum {found}, not {expected}{whose}; download it again.")
    return found


def _recorded(record: Path) -> str | None:
    try:
        return str(files.read_json(record)["checksum"])
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or damaged
        return None
