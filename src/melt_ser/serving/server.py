"""Run the server until a signal: it answers the requests under way, and closes its streams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from melt_ser.cli.signals import run_async
from melt_ser.core.errors import SetupError, first_line
from melt_ser.serving.stream import MOST_BYTES

TIDY_UP = 10  # seconds that requests have to end after a signal
CONNECTIONS = 500  # open at once, idle ones too


class _Server(uvicorn.Server):
    """uvicorn without its own treatment of signals; `run_async` has ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; SetupError if the address is not free or not of this machine."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512
        )
    except (OSError, OverflowError) as error:  # a port beyond 65535 is an OverflowError
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else first_line(error)
        raise SetupError(f"{host}:{port} cannot be used ({reason}); choose another --port or --host.") from None


def address_of(listener: socket.socket) -> str:
    """Return the address of the page."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def serve(app: FastAPI, listener: socket.socket, ready: Callable[[uvicorn.Server], None] = lambda server: None) -> None:
    """Answer requests until Ctrl-C, SIGTERM, or `should_exit` of the server that `ready` is given.

    Within `stopping_in_order`, a signal raises its exception after the server has closed.
    """
    config = uvicorn.Config(
        app,
        http="h11",  # its bound on the size of headers is the smallest
        ws="websockets-sansio",
        ws_max_size=MOST_BYTES,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=TIDY_UP,
    )
    server = _Server(config)
    ready(server)
    run_async(_until_signal(server, listener))


async def _until_signal(server: uvicorn.Server, listener: socket.socket) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
