"""Serve the page of a test or a review, and collect the raters' answers: `listen serve`.

Each rater has a link of their own, `http://host:port/#<rater>.<token>`. The token is an HMAC of the rater's code with a
secret that lies in the folder of the test, so nobody can answer in the name of another. The server sends the files of
`share/`, and takes answers to this test alone, which it writes to `answers/<rater>.json`; nothing else can be written.
It speaks plain HTTP: on the network, put it behind a server with TLS.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import sys
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import MeltSerError, SetupError, first_line
from melt_ser.label_study.answer_files import Answers, wrong_answer
from melt_ser.label_study.listening import KEY, SHARED
from melt_ser.label_study.rating_page import NAME

ANSWERS, SECRET = "answers", "secret.txt"
MOST_BYTES = 1_000_000  # of the answers of one rater
SECONDS = 30.0  # that a connection may be silent
RANGE = re.compile("bytes=([0-9]{0,18})-([0-9]{0,18})")
TYPES = {".html": "text/html; charset=utf-8", ".flac": "audio/flac"}


class SharedKey(msgspec.Struct):
    """What the server needs of `key.json`: the study, and the labels of each item."""

    study: str
    items: list[SharedItem]


class SharedItem(msgspec.Struct):
    """An item and its labels."""

    id: str
    labels: list[str]


class AnswerServer(ThreadingHTTPServer):
    """The server of one test. Raises SetupError if the folder has no test, or the address is not free."""

    daemon_threads = True
    request_queue_size = 128  # a class opens its links at once, and a browser makes six connections

    def __init__(self, folder: Path, host: str, port: int) -> None:
        if not (folder / KEY).is_file() or not (folder / SHARED / "index.html").is_file():
            raise SetupError(f"{folder} is no test: it has no {KEY} and no {SHARED}; give a folder that build wrote.")
        self.folder, self.secret = folder, _secret(folder / SECRET)
        key: SharedKey = files.read_typed(folder / KEY, SharedKey, "build the test again")
        self.study, self.labels = key.study, {item.id: item.labels for item in key.items}
        self.writing = threading.Lock()
        shared = folder / SHARED  # the files as they are now; nothing else is ever opened
        self.files = {f"/{path.relative_to(shared).as_posix()}": path for path in shared.rglob("*") if path.is_file()}
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:  # a port beyond 65535 is an OverflowError
            reason = getattr(error, "strerror", None) or first_line(error)
            raise SetupError(f"{host}:{port} cannot be used ({reason}); choose another --port or --host.") from None

    def link(self, rater: str, address: str | None = None) -> str:
        """Return the signed link of a rater; `address` is that of the page behind another server."""
        host, port = self.server_address[:2]
        base = address or f"http://{host if isinstance(host, str) else host.decode()}:{port}/"
        return f"{base.rstrip('/')}/#{rater}.{self.token(rater)}"

    def token(self, rater: str) -> str:
        """Return the token that signs a rater's answers to this test."""
        return hmac.new(self.secret, f"{self.study}/{rater}".encode(), hashlib.sha256).hexdigest()[:32]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what failed, in a sentence. Clients that go away are usual: browsers drop a clip if the rater goes on."""
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, ConnectionError):
            say(f"error: a request failed: {type(error).__name__}: {first_line(error)}")

    def take(self, content: bytes, token: str) -> tuple[int, str]:
        """Write the answers of a rater if they are signed and sound; return the status and its reason."""
        try:
            answers = msgspec.json.decode(content, type=Answers)
        except (msgspec.DecodeError, RecursionError):
            return 400, "these are no answers"
        if not NAME.fullmatch(answers.rater) or not hmac.compare_digest(self.token(answers.rater), token):
            return 403, "the answers are not signed for this rater"
        if answers.study != self.study:
            return 409, "the answers belong to another test"
        wrong = wrong_answer(answers, self.labels)
        if wrong is not None:
            return 400, f"no answer to item {json.dumps(wrong.item)[:40]}"
        path = self.folder / ANSWERS / f"{answers.rater}.json"
        try:
            with self.writing:
                _keep_earlier(answers, path)
                files.write_json(path, msgspec.to_builtins(answers))
        except MeltSerError as error:
            say(f"error: {error}")
            return 500, "the answers cannot be written"
        say(f"{answers.rater}: {len(answers.answers)} of {len(self.labels)} items")
        return 200, "the answers have arrived"


class _Handler(BaseHTTPRequestHandler):
    server: AnswerServer
    timeout = SECONDS
    server_version, sys_version = "melt-ser", ""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        file = self.server.files.get("/index.html" if path == "/" else path)
        if file is None:
            return self._answer(404, "there is no such file")
        try:
            content = file.read_bytes()
        except OSError:
            return self._answer(404, "the file is gone")
        kind, size = TYPES.get(file.suffix, "application/octet-stream"), len(content)
        part = _part(self.headers.get("Range", ""), size)
        if part is None:
            return self._send(200, content, kind, more={"Accept-Ranges": "bytes"})
        if not part:
            return self._send(416, b"", kind, more={"Content-Range": f"bytes */{size}"})
        place = f"bytes {part.start}-{part.stop - 1}/{size}"
        self._send(206, content[part.start : part.stop], kind, more={"Content-Range": place})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if urlsplit(self.path).path != "/answers":
            return self._answer(404, "answers go to /answers")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return self._answer(413, f"answers have a length of up to {MOST_BYTES} bytes")
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self._answer(*self.server.take(self.rfile.read(int(length)), token.encode("ascii", "replace").decode()))

    def _answer(self, status: int, reason: str) -> None:
        self.close_connection = status != 200
        self._send(status, f"{reason}\n".encode(), "text/plain; charset=utf-8", reason)

    def _send(
        self, status: int, content: bytes, kind: str, reason: str | None = None, more: Mapping[str, str] = {}
    ) -> None:
        self.send_response(status, reason)
        headers = {
            **more,
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "X-Content-Type-Options": "nosniff",
        }
        headers |= {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: arriving answers have a line of their own."""


def _part(wanted: str, size: int) -> range | None:
    """Return the bytes of a file that a header Range asks for, an empty range for none of them; None: the whole file.

    Safari plays audio only from servers that send parts.

    >>> _part("bytes=0-1", 9), _part("bytes=-2", 9), _part("bytes=4-", 9), _part("", 9)
    (range(0, 2), range(7, 9), range(4, 9), None)
    """
    found = RANGE.fullmatch(wanted)
    if not found or found[1] == found[2] == "":
        return None
    first, last = found[1], found[2]
    start = int(first) if first else max(0, size - int(last))
    return range(start, min(int(last) + 1, size) if first and last else size)


def _keep_earlier(answers: Answers, path: Path) -> None:
    """Add the answers to other items that the rater sent before, such as from another device."""
    if path.is_file():
        before: Answers = files.read_typed(path, Answers, "move it away, and let the rater send the answers again")
        given = {answer.item for answer in answers.answers}
        answers.answers += [answer for answer in before.answers if answer.item not in given]


def codes_of(raters: Sequence[str]) -> list[str]:
    """Return the raters' codes; a single number stands for that many.

    Raises SetupError for a code that is none, or no rater.
    """
    if not raters or (len(raters) == 1 and raters[0].isdecimal() and not int(raters[0])):
        raise SetupError("--raters has no rater; give their codes, or the number of raters.")
    if len(raters) == 1 and raters[0].isdecimal():
        return [f"rater-{number}" for number in range(1, int(raters[0]) + 1)]
    for rater in raters:
        if not NAME.fullmatch(rater):
            raise SetupError(f"--raters: '{rater}' is no code; use up to 40 letters, digits, - and _.")
    return list(dict.fromkeys(raters))


def _secret(path: Path) -> bytes:
    """Return the secret of the test's folder; make one if there is none, readable by its owner alone."""
    if not path.is_file():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
    secret = path.read_text(encoding="ascii").strip()
    if len(secret) < 32:
        raise SetupError(f"{path} is no secret of 32 characters or more; delete it, and new links are made.")
    return secret.encode()
