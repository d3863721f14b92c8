"""The limits of a client: the size of an upload, seconds of audio, requests at once, and the time for an answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from melt_ser.serving.metrics import Metrics

RETRY_AFTER = 2  # seconds, which a client is told if too many requests are waiting
ENVELOPE_BYTES = 10_000  # of the form around an upload, at most


@dataclass(frozen=True)
class Limits:
    """The limits of a server; a request beyond one of them ends with a sentence, and costs little."""

    megabytes: float = 50.0  # of an upload
    seconds: float = 600.0  # of audio in an upload
    stream_seconds: float = 3600.0  # of audio in a stream
    requests: int = 32  # labelled or waiting at once, uploads and streams together
    timeout: float = 60.0  # seconds from the first byte of a request to its answer; of silence on a stream

    @property
    def body_bytes(self) -> int:
        """Return the largest body of a request."""
        return int(self.megabytes * 1e6) + ENVELOPE_BYTES


class Bounded:
    """Pass a request on if there is room, and end it if its body is too large or its time is over.

    Only requests to `paths` count, since only these cost much.
    """

    def __init__(self, app: ASGIApp, limits: Limits, paths: frozenset[str], metrics: Metrics) -> None:
        self.app, self.limits, self.paths, self.metrics = app, limits, paths, metrics
        self.working = 0  # requests at the moment

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] not in self.paths:
            await self.app(scope, receive, send)
            return
        if self.working >= self.limits.requests:
            sentence = f"{self.working} requests are being answered, and no more can wait; try again soon."
            await refuse(503, sentence)(scope, receive, self._counting(send))
            return
        self.working += 1
        self.metrics.working.set(self.working)
        try:
            if scope["type"] == "websocket":
                await self.app(scope, receive, send)
            else:
                await self._in_time(scope, receive, self._counting(send))
        finally:
            self.working -= 1
            self.metrics.working.set(self.working)

    def _counting(self, send: Send) -> Send:
        """Return a `send` that counts answers by their status."""

        async def sending(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                self.metrics.requests.labels("request", str(message["status"])).inc()
            await send(message)

        return sending

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(self.limits.timeout):
                await self.app(scope, self._counted(scope, receive), sending)
        except TimeoutError:
            if begun:  # the client reads too slowly: nothing more can be said
                return
            sentence = f"There was no answer within {self.limits.timeout:g} s; send a shorter recording or try again."
            await refuse(504, sentence)(scope, receive, send)

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        """Return a `receive` that refuses a body beyond the limit, by its stated length or as it arrives."""
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        most, arrived = self.limits.body_bytes, 0

        async def receiving() -> Message:
            nonlocal arrived
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > most or (stated.isdigit() and int(stated) > most):
                raise HTTPException(413, f"The upload is larger than {self.limits.megabytes:g} MB; send a part of it.")
            return message

        return receiving


def refuse(status: int, sentence: str) -> JSONResponse:
    """Return an answer without a result; the client closes the connection, on which the rest of a body may follow."""
    headers = {"Connection": "close"} if status in (413, 503, 504) else {}
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    return JSONResponse({"error": sentence}, status, headers)
