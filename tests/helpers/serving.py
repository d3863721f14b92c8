"""A running server of `serve`, in a thread of the test or as a process, and requests to it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bad_inputs import kept_folder
from checkout import CHECKOUT
from heeding import heeding
from melt_ser.runs.finished_run import load_model
from melt_ser.serving import server
from melt_ser.serving.app import make_app
from melt_ser.serving.limits import Limits
from melt_ser.serving.model_facts import model_facts
from small_runs import corpus, train


@functools.cache
def small_run() -> Path:
    """Return a finished run of a second, the same for all tests of the process."""
    folder = kept_folder()
    return train(folder / "runs", corpus(folder / "c"))[0]


class Served:
    """A server, and what it answers."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self.stream_address = self.address.replace("http", "ws", 1) + "/stream"

    def get(self, path: str) -> tuple[int, Any]:
        return self._answer(urllib.request.Request(self.address + path))

    def label(self, content: bytes, name: str = "clip.wav", query: str = "") -> tuple[int, Any]:
        """Upload a recording; return the status and the answer, as Python values if it is JSON."""
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._answer(urllib.request.Request(f"{self.address}/label?{query}", body, headers))

    def _answer(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return response.status, _value(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _value(error.read())


def _value(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode()


@contextmanager
def serving(run: Path, batch: int = 16, **limits: float) -> Iterator[Served]:
    """Serve a run in a thread of this process."""
    model, bounds = load_model(run, device="cpu"), Limits(**limits)  # type: ignore[arg-type]
    app = make_app(model, model_facts(run, None, model, bounds), bounds, batch)
    listener = server.listen("127.0.0.1", 0)
    address, running = server.address_of(listener), []
    thread = threading.Thread(target=server.serve, args=(app, listener, running.append))
    thread.start()
    try:
        yield Served(address)
    finally:
        while not running or not running[0].started:
            time.sleep(0.01)
        running[0].should_exit = True
        thread.join()


@contextmanager
def served_process(*arguments: str) -> Iterator[tuple[Served, subprocess.Popen[str]]]:
    """Serve as the command does; the process is killed if it has not ended by then."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "melt_ser.serve", *arguments, "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heeding
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), process.communicate()
        yield Served(address), process
    finally:
        process.kill()
        process.communicate()


def until(true: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + 300
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
