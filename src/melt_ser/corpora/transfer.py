"""A file over HTTP that survives a lost connection, a killed process and a server that is not what it says.

pooch, the usual library for this, starts over after every interruption, which a corpus of 10 GB cannot afford; so the
transfer is requests with byte ranges, and only the checksum remains of what pooch would do. A part goes on only where
the server's own mark (ETag, else Last-Modified) says that the file is still the same.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
import urllib3

from melt_ser import files
from melt_ser.errors import InputError, SetupError

ATTEMPTS = 5  # in a row without a byte of progress
TIMEOUT = 60.0  # seconds without an answer
BLOCK = 2**18
WAIT = 2.0  # seconds after a failure, doubled each time
PLAIN = {"Accept-Encoding": "identity"}  # bytes as they are, so that a range of them means the same
LOST = (requests.RequestException, urllib3.exceptions.HTTPError)

Watch = Callable[[Iterator[bytes], int, int | None], Iterator[bytes]]  # blocks, bytes that are there, bytes in all


def transfer(url: str, path: Path, expected_bytes: int | None, watch: Watch) -> None:
    """Write what is at `url` to `path`, going on where an earlier try stopped.

    Raises SetupError where the server cannot be reached or does not have the file, InputError where it has another
    number of bytes than expected.
    """
    part = path.with_name(path.name + ".part")
    failures = 0
    while failures < ATTEMPTS:
        before = _size(part)
        try:
            _go_on(url, part, expected_bytes, watch)
            part.replace(path)
            _mark(part).unlink(missing_ok=True)
            return
        except LOST as error:
            reason = _reason(error)
            failures = 0 if _size(part) > before else failures + 1
            time.sleep(WAIT * 2 ** max(failures - 1, 0))
    raise SetupError(
        f"{url} cannot be downloaded ({reason}); "
        f"{_size(part):,} bytes are kept, and the same command goes on from there."
    )


def size_at(url: str) -> int | None:
    """The bytes that a server says a file has; None where it does not say."""
    try:
        with requests.head(url, headers=PLAIN, allow_redirects=True, timeout=TIMEOUT) as response:
            return _total(response, 0) if response.ok else None
    except LOST:
        return None


def checksum(path: Path, algorithm: str) -> str:
    """The hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _go_on(url: str, part: Path, expected_bytes: int | None, watch: Watch) -> None:
    """One request: append what is missing, or start over where the server does not answer ranges."""
    there, mark = _size(part), _mark(part)
    headers = dict(PLAIN)
    if there and mark.is_file():
        headers |= {"Range": f"bytes={there}-", "If-Range": mark.read_text(encoding="utf-8")}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:  # the part is as long as the file, or longer
            _drop(part)
            raise requests.RequestException("the server does not have the part that is missing")
        if response.status_code != 429 and 400 <= response.status_code < 500:
            raise SetupError(f"{url} is not there (the server answers {response.status_code} {response.reason}).")
        response.raise_for_status()
        if response.status_code != 206:
            _drop(part)
            there = 0
            mark.parent.mkdir(parents=True, exist_ok=True)
            if same := _same(response):
                files.write_text(mark, same)
        total = _total(response, there)
        if expected_bytes is not None and total is not None and total != expected_bytes:
            raise InputError(
                f"{url} has {total:,} bytes, not the {expected_bytes:,} that are expected; it has changed."
            )
        if total is not None and total - there > shutil.disk_usage(part.parent).free:
            raise SetupError(f"{url} has {total:,} bytes, for which {part.parent} has no space.")
        blocks = response.raw.stream(BLOCK, decode_content=False)
        with part.open("ab") as file:
            for block in watch(blocks, there, total):
                file.write(block)
                if expected_bytes is not None and file.tell() > expected_bytes:
                    raise InputError(f"{url} has more than the {expected_bytes:,} bytes that are expected.")
        promised = expected_bytes if total is None else total
        if promised is not None and _size(part) != promised:
            raise requests.ConnectionError(f"{_size(part):,} of {promised:,} bytes came")


def _same(response: requests.Response) -> str | None:
    """What the server knows this state of the file by, where that can be asked for again (a weak ETag cannot)."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _total(response: requests.Response, there: int) -> int | None:
    """The bytes of the whole file, as the server says; None where it does not."""
    if response.status_code == 206:
        answered = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if not answered or int(answered[1]) != there:
            raise requests.RequestException("the server sent another part than the one that is missing")
        return int(answered[2])
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _reason(error: Exception) -> str:
    """The end of requests' nested messages, which says what happened."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    return re.split(r"Error\(|: ", str(error))[-1].strip("'\" )") or type(error).__name__


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _mark(part: Path) -> Path:
    return part.with_name(part.name + ".mark")


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _mark(part).unlink(missing_ok=True)
