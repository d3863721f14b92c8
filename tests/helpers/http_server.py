"""A local HTTP server that misbehaves on request, for tests of downloads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

CONTENT = np.random.default_rng(0).bytes(3_000_000)  # of a file to serve, which no compression makes smaller


@dataclass
class Behaviour:
    """The content that the server sends, and its faults."""

    content: bytes = field(repr=False)
    drops: int = 0  # connections that break early
    sent: float = 0.5  # the share of the content that such a connection sends
    ranges: bool = True
    wrong_ranges: int = 0  # answers with another range than the requested one
    mark: str | None = '"v1"'  # the ETag
    compares: bool = True  # whether a range is sent only if the file is still in the requested state
    length: bool = True  # whether the answer states its length
    promised: int | None = None  # a false Content-Length
    statuses: list[int] = field(default_factory=list)  # errors to answer first; 0: no answer at all
    headers: dict[str, str] = field(default_factory=dict)  # sent with errors and redirects
    requests: list[str | None] = field(default_factory=list)  # the Range of each GET, in order


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """Run a server and give its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            behaviour.requests.append(self.headers.get("Range"))
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            if body and behaviour.statuses:
                self._refuse(behaviour.statuses.pop(0), behaviour.headers)
                return
            first, total = 0, len(behaviour.content)
            wanted = self.headers.get("Range")
            same = not behaviour.compares or self.headers.get("If-Range") == behaviour.mark
            if wanted and behaviour.ranges and same:
                first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if wanted and first >= total:
                self._refuse(416, {"Content-Range": f"bytes */{total}"})
                return
            self.send_response(206 if first else 200)
            if first:
                if behaviour.wrong_ranges:
                    behaviour.wrong_ranges -= 1
                    first //= 2
                self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
            if behaviour.length:
                self.send_header("Content-Length", str(behaviour.promised or total - first))
            if behaviour.mark is not None:
                self.send_header("ETag", behaviour.mark)
            self.end_headers()
            if body:
                rest = behaviour.content[first:]
                if behaviour.drops:
                    behaviour.drops -= 1
                    rest = rest[: int(len(rest) * behaviour.sent)]
                self.wfile.write(rest)

        def _refuse(self, status: int, headers: dict[str, str]) -> None:
            if status:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
