"""Download a file over HTTP despite lost connections, a killed process and a server that misbehaves.

pooch, the usual library for this, starts over after every interruption, which takes too long for a corpus of 10 GB. So
this module sends HTTP range requests, by the library `requests`. A partial file `<path>.part` is continued only if the
server's ETag (or its Last-Modified), stored in `<path>.part.mark`, says that the file has not changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import InputError, SetupError

ATTEMPTS = 5  # that fail in a row without a new byte
TIMEOUT = (15.0, 60.0)  # seconds to connect, and seconds without a byte
BLOCK = 2**18  # bytes
WAIT = 2.0  # seconds after a failure, doubled each time
LONGEST_WAIT = 120.0  # seconds, even if the server asks for more
TEMPORARY_STATUS = (408, 416, 425, 429)  # answers of 4xx that do not mean a wrong address
NO_COMPRESSION = {"Accept-Encoding": "identity"}  # so that a byte range means bytes of the file itself
CONNECTION_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)
PERMANENT_ERRORS = (requests.TooManyRedirects, requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL)

ProgressBar = Callable[[Iterator[bytes], int, int | None], Iterator[bytes]]  # blocks, bytes present, bytes in all


class NotDownloaded(SetupError):
    """The server cannot be reached or does not give the file; the caller adds the fix to the message."""


def transfer(url: str, path: Path, expected_bytes: int | None, progress: ProgressBar) -> None:
    """Write the file at `url` to `path`; continue an earlier, interrupted download.

    Raises NotDownloaded if the server cannot be reached or does not have the file, SetupError if the file does not fit
    on the disk, InputError if the server states another size than `expected_bytes` or sends more bytes.
    """
    part = path.with_name(path.name + ".part")
    failures = furthest = 0
    while True:
        try:
            _download_rest(url, part, expected_bytes, progress)
        except CONNECTION_ERRORS as error:
            size, reason = _size(part), _reason(error)
            failures = 0 if size > furthest else failures + 1
            furthest = max(furthest, size)
            if isinstance(error, PERMANENT_ERRORS) or failures == ATTEMPTS:
                reusable = size if _mark(part).is_file() else 0
                raise NotDownloaded(
                    f"{url} cannot be downloaded ({reason}); the same command tries again"
                    + (f" from the {reusable:,} bytes that are kept" if reusable else "")
                ) from None
            wait = _wait(error, failures)
            name = urlsplit(url).path.rpartition("/")[2]
            say(f"note: {name} stopped at {size:,} bytes ({reason}); trying again in {wait:.0f} s")
            time.sleep(wait)
        else:
            part.replace(path)
            _mark(part).unlink(missing_ok=True)
            return


def size_at(url: str) -> int | None:
    """Return the size of a file in bytes; None if the server does not state it or cannot be reached."""
    try:
        with _request("HEAD", url, NO_COMPRESSION) as response:
            return _length(response) if response.ok else None
    except CONNECTION_ERRORS:
        return None


def checksum(path: Path, algorithm: str) -> str:
    """Return the hexadecimal digest of a file by `algorithm`, sha256 or md5."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _request(method: str, url: str, headers: dict[str, str]) -> requests.Response:
    """Send a request and return the answer; refuse a redirect from https to an address without encryption."""
    try:
        response = requests.request(method, url, headers=headers, allow_redirects=True, stream=True, timeout=TIMEOUT)
    except requests.RequestException:
        raise
    except ValueError as error:  # a redirect to text that is no address
        raise requests.exceptions.InvalidURL(str(error)) from None
    if url.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        raise requests.exceptions.InvalidSchema(f"it leads to {response.url}, which is not encrypted")
    return response


def _download_rest(url: str, part: Path, expected_bytes: int | None, progress: ProgressBar) -> None:
    """Send one request and append the missing bytes to `part`; start over if the server sends the whole file."""
    mark = _mark(part)
    if not mark.is_file():  # the part may belong to another version of the file
        _drop(part)
    present, headers = _size(part), dict(NO_COMPRESSION)
    if present:
        headers |= {"Range": f"bytes={present}-", "If-Range": mark.read_text(encoding="utf-8")}
    with _request("GET", url, headers) as response:
        status = response.status_code
        if 400 <= status < 500 and status not in TEMPORARY_STATUS:
            raise NotDownloaded(f"{url} is not there (the server answers {status} {response.reason})")
        if status in (206, 416):
            total = _total_from_range(response, part)
        else:
            response.raise_for_status()
            if status != 200:
                raise requests.RequestException(f"the server answers {status} {response.reason}")
            _drop(part)
            total, present = _length(response), 0
            if state := _state(response):
                files.write_text(mark, state)
        if expected_bytes is not None and total is not None and total != expected_bytes:
            raise InputError(
                f"{url} has {total:,} bytes, not the {expected_bytes:,} that are expected: the file has changed; "
                "get the release by hand, or correct dataset.download."
            )
        if status == 416:  # the part is the whole file, only not renamed yet
            return
        if total is not None and total - present > shutil.disk_usage(part.parent).free:
            raise SetupError(
                f"{url} has {total:,} bytes, for which {part.parent} has no space; "
                "free space there, or choose another dataset.root."
            )
        blocks = response.raw.stream(BLOCK, decode_content=False)
        with part.open("ab") as file:
            for block in progress(blocks, present, total):
                file.write(block)
                if expected_bytes is not None and file.tell() > expected_bytes:
                    raise InputError(
                        f"{url} has more than the {expected_bytes:,} bytes that are expected; "
                        "get the release by hand, or correct dataset.download."
                    )
        promised = expected_bytes if total is None else total
        if promised is not None and _size(part) != promised:
            raise requests.ConnectionError(f"{_size(part):,} of {promised:,} bytes came")


def _total_from_range(response: requests.Response, part: Path) -> int | None:
    """Return the bytes of the whole file, from an answer to a range request; None if the server does not state them.

    The answer must continue where `part` ends (206), or say that `part` is the whole file (416). Any other answer
    drops the part and raises RequestException, so that the next request asks for the whole file.
    """
    present, mark = _size(part), _mark(part)
    first, total = "", ""
    if answered := re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "")):
        first, total = answered[1] or "", answered[2]
    state = mark.read_text(encoding="utf-8") if mark.is_file() else ""
    header = "ETag" if state.startswith('"') else "Last-Modified"
    unchanged = response.headers.get(header, state) == state
    continues = first == str(present) if response.status_code == 206 else present > 0 and total == str(present)
    if not (unchanged and continues):
        _drop(part)
        raise requests.RequestException("the server sent another part than the one that is missing")
    return int(total) if total.isdecimal() else None


def _state(response: requests.Response) -> str | None:
    """Return the server's identifier of this version of the file: its ETag, or Last-Modified.

    A weak ETag is ignored, because range requests cannot use it.
    """
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _wait(error: Exception, failures: int) -> float:
    """Return the seconds until the next attempt: doubled at each failure, or the server's longer Retry-After."""
    wait, asked = WAIT * 2.0 ** max(failures - 1, 0), None
    if isinstance(error, requests.HTTPError) and error.response is not None:
        with contextlib.suppress(urllib3.exceptions.HTTPError):  # neither a number nor a date
            asked = urllib3.Retry().get_retry_after(error.response.raw)
    return max(wait, min(asked or 0.0, LONGEST_WAIT))


def _reason(error: Exception) -> str:
    """Return the cause of an error: the innermost of requests' nested messages."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, PERMANENT_ERRORS):
        return str(error).rstrip(".")
    text = re.sub(r"^\('(.*)', .*\)$", r"\1", str(error))  # a tuple of a sentence and the original error
    reason = re.split(r"Error\(|: ", text)[-1].strip("'\" )") or type(error).__name__
    return reason + ")" * (reason.count("(") - reason.count(")"))


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _mark(part: Path) -> Path:
    return part.with_name(part.name + ".mark")


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _mark(part).unlink(missing_ok=True)
