"""A local HTTP server that behaves as badly as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Behaviour:
    """What is served, and how."""

    content: bytes
    drops: int = 0  # connections that break after half of what they should send
    ranges: bool = True
    mark: str = '"v1"'  # the ETag
    promised: int | None = None  # a Content-Length that is a lie
    statuses: list[int] = field(default_factory=list)  # errors to answer first
    requests: list[str | None] = field(default_factory=list)  # the Range of each GET, as they came


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """The server's address, while it runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            behaviour.requests.append(self.headers.get("Range"))
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            if body and behaviour.statuses:
                self.send_error(behaviour.statuses.pop(0))
                return
            first, total = 0, len(behaviour.content)
            wanted = self.headers.get("Range")
            if wanted and behaviour.ranges and self.headers.get("If-Range") == behaviour.mark:
                first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if wanted and first >= total:
                self.send_error(416)
                return
            self.send_response(206 if first else 200)
            if first:
                self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
            self.send_header("Content-Length", str(behaviour.promised or total - first))
            self.send_header("ETag", behaviour.mark)
            self.end_headers()
            if body:
                rest = behaviour.content[first:]
                if behaviour.drops:
                    behaviour.drops -= 1
                    rest = rest[: len(rest) // 2]
                self.wfile.write(rest)

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
