"""A file over HTTP that survives a lost connection, a killed process and a server that is not what it says.

pooch, the usual library for this, starts over after every interruption, which a corpus of 10 GB cannot afford; so the
transfer is requests with byte ranges, and only the checksum remains of what pooch would do. A part goes on only where
the server's own mark (ETag, else Last-Modified) says that the file is still the same.
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

ATTEMPTS = 5  # in a row without a byte of progress
TIMEOUT = (15.0, 60.0)  # seconds without a connection, and without a byte
BLOCK = 2**18
WAIT = 2.0  # seconds after a failure, doubled each time
LONGEST_WAIT = 120.0  # seconds, however long the server asks for
PASSING = (408, 416, 425, 429)  # answers of 4xx that say nothing against the address
PLAIN = {"Accept-Encoding": "identity"}  # bytes as they are, so that a range of them means the same
LOST = (requests.RequestException, urllib3.exceptions.HTTPError)
HOPELESS = (requests.TooManyRedirects, requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL)

Watch = Callable[[Iterator[bytes], int, int | None], Iterator[bytes]]  # blocks, bytes that are there, bytes in all


class NotDownloaded(SetupError):
    """The server cannot be reached or does not give the file; the sentence is without its end."""


def transfer(url: str, path: Path, expected_bytes: int | None, watch: Watch) -> None:
    """Write what is at `url` to `path`, going on where an earlier try stopped.

    Raises NotDownloaded where the server cannot be reached or does not have the file, SetupError where it does not
    fit on the disk, InputError where it has another number of bytes than expected.
    """
    part = path.with_name(path.name + ".part")
    failures = furthest = 0
    while True:
        try:
            _go_on(url, part, expected_bytes, watch)
        except LOST as error:
            size, reason = _size(part), _reason(error)
            failures = 0 if size > furthest else failures + 1
            furthest = max(furthest, size)
            if isinstance(error, HOPELESS) or failures == ATTEMPTS:
                kept = size if _mark(part).is_file() else 0
                raise NotDownloaded(
                    f"{url} cannot be downloaded ({reason}); the same command tries again"
                    + (f" from the {kept:,} bytes that are kept" if kept else "")
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
    """The bytes that a server says a file has; None where it does not say."""
    try:
        with _ask("HEAD", url, PLAIN) as response:
            return _length(response) if response.ok else None
    except LOST:
        return None


def checksum(path: Path, algorithm: str) -> str:
    """The hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _ask(method: str, url: str, headers: dict[str, str]) -> requests.Response:
    try:
        response = requests.request(method, url, headers=headers, allow_redirects=True, stream=True, timeout=TIMEOUT)
    except requests.RequestException:
        raise
    except ValueError as error:  # a redirect to what is no address
        raise requests.exceptions.InvalidURL(str(error)) from None
    if url.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        raise requests.exceptions.InvalidSchema(f"it leads to {response.url}, which is not encrypted")
    return response


def _go_on(url: str, part: Path, expected_bytes: int | None, watch: Watch) -> None:
    """One request: append what is missing, or start over where the server does not answer ranges."""
    mark = _mark(part)
    if not mark.is_file():  # nothing says of which state of the file the part is
        _drop(part)
    there, headers = _size(part), dict(PLAIN)
    if there:
        headers |= {"Range": f"bytes={there}-", "If-Range": mark.read_text(encoding="utf-8")}
    with _ask("GET", url, headers) as response:
        status = response.status_code
        if 400 <= status < 500 and status not in PASSING:
            raise NotDownloaded(f"{url} is not there (the server answers {status} {response.reason})")
        if status in (206, 416):
            total = _total_of_part(response, part)
            if status == 416:  # the part was the whole file, only not yet renamed
                return
        else:
            response.raise_for_status()
            if status != 200:
                raise requests.RequestException(f"the server answers {status} {response.reason}")
            _drop(part)
            total, there = _length(response), 0
            if state := _state(response):
                files.write_text(mark, state)
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


def _total_of_part(response: requests.Response, part: Path) -> int | None:
    """The bytes of the whole file, by an answer that goes on where `part` ends (206) or says that it has all (416).

    Where the answer is another one, the part is dropped, so that the next request is for the whole file.
    """
    there, mark = _size(part), _mark(part)
    first, total = "", ""
    if answered := re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "")):
        first, total = answered[1] or "", answered[2]
    state = mark.read_text(encoding="utf-8") if mark.is_file() else ""
    header = "ETag" if state.startswith('"') else "Last-Modified"
    same = response.headers.get(header, state) == state
    if not same or (first != str(there) if response.status_code == 206 else not there or total != str(there)):
        _drop(part)
        raise requests.RequestException("the server sent another part than the one that is missing")
    return int(total) if total.isdigit() else None


def _state(response: requests.Response) -> str | None:
    """What the server knows this state of the file by, where that can be asked for again (a weak ETag cannot)."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _wait(error: Exception, failures: int) -> float:
    """Seconds until the next attempt: longer each time, and as long as the server asks for, within bounds."""
    wait, asked = WAIT * 2.0 ** max(failures - 1, 0), None
    if isinstance(error, requests.HTTPError) and error.response is not None:
        with contextlib.suppress(urllib3.exceptions.HTTPError):  # neither a number nor a date
            asked = urllib3.Retry().get_retry_after(error.response.raw)
    return max(wait, min(asked or 0.0, LONGEST_WAIT))


def _reason(error: Exception) -> str:
    """The end of requests' nested messages, which says what happened."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, HOPELESS):
        return str(error).rstrip(".")
    text = re.sub(r"^\('(.*)', .*\)$", r"\1", str(error))  # a sentence and the error that it is about
    reason = re.split(r"Error\(|: ", text)[-1].strip("'\" )") or type(error).__name__
    return reason + ")" * (reason.count("(") - reason.count(")"))


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _mark(part: Path) -> Path:
    return part.with_name(part.name + ".mark")


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _mark(part).unlink(missing_ok=True)
