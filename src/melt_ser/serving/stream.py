"""Answer audio as it arrives: PCM over a websocket, a row for each window."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.decode import in_pieces
from melt_ser.audio.sound import Waveform, check_sound
from melt_ser.core.errors import MeltSerError
from melt_ser.evaluation.labelling import LONGEST_SECONDS, SHORTEST_WINDOW
from melt_ser.serving.answers import Window
from melt_ser.serving.limits import Limits
from melt_ser.serving.recordings import Labeller, Patience

ENCODINGS = {"float32": "<f4", "int16": "<i2"}  # as numpy calls them
FULL_SCALE = np.float32(2**15)  # of int16
DEFAULT_WINDOW = 3.0  # seconds
MOST_BYTES = 2**20  # of a message
FAREWELL = 5.0  # seconds that a client has to read the last sentence
END = "end"
NORMAL, GOING_AWAY, BAD_DATA, BEYOND_A_LIMIT, FAILED = 1000, 1001, 1007, 1008, 1011  # closing codes of RFC 6455


class Ended(Exception):
    """A stream ends before its client wants it to: with a closing code and a sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


async def answer_stream(websocket: WebSocket, labeller: Labeller, limits: Limits) -> int:
    """Answer a stream until it ends, and return its closing code.

    The client sends binary messages of mono PCM at 16 kHz, and the text "end" for the rest that fills no window. The
    server sends a `Window` as JSON for each window, or {"error": …} before it closes.
    """
    await websocket.accept()
    try:
        stream = Stream(websocket.query_params, labeller, limits)
        while (block := await stream.next_block(websocket)) is not None:
            await _send(websocket, await asyncio.to_thread(stream.add, block), limits)
        await _send(websocket, await asyncio.to_thread(stream.rest), limits)
        code = NORMAL
    except (WebSocketDisconnect, TimeoutError):  # also of a client that does not read
        return GOING_AWAY
    except (Ended, MeltSerError) as error:
        code = error.code if isinstance(error, Ended) else BAD_DATA
        await _close(websocket, code, str(error))
    except Exception:
        await _close(websocket, FAILED, "The server failed; its log has the reason.")
        raise
    else:
        await _close(websocket, code)
    return code


async def _send(websocket: WebSocket, windows: list[Window], limits: Limits) -> None:
    async with asyncio.timeout(limits.timeout):
        for window in windows:
            await websocket.send_text(window.model_dump_json())


async def _close(websocket: WebSocket, code: int, sentence: str | None = None) -> None:
    """Close a stream, with a last sentence; the client may be gone."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        async with asyncio.timeout(FAREWELL):
            if sentence is not None:
                await websocket.send_text(json.dumps({"error": sentence}))
            await websocket.close(code)


class Stream:
    """The audio of one stream that fills no window yet."""

    def __init__(self, query: Mapping[str, str], labeller: Labeller, limits: Limits) -> None:
        """Read `window` (seconds) and `encoding` of the address; raises Ended if they are wrong."""
        self.labeller, self.limits = labeller, limits
        encoding = query.get("encoding", "float32")
        if encoding not in ENCODINGS:
            raise Ended(BEYOND_A_LIMIT, f"encoding is {' or '.join(ENCODINGS)}.")
        self.encoding: np.dtype[Any] = np.dtype(ENCODINGS[encoding])
        try:
            self.window = float(query.get("window", DEFAULT_WINDOW))
        except ValueError:
            self.window = 0.0
        if not SHORTEST_WINDOW <= self.window <= LONGEST_SECONDS:
            raise Ended(BEYOND_A_LIMIT, f"window is from {SHORTEST_WINDOW} to {LONGEST_SECONDS:.0f} seconds.")
        self.held: list[Waveform] = []
        self.answered = self.held_samples = 0  # samples

    async def next_block(self, websocket: WebSocket) -> bytes | None:
        """Return the next message with audio; None if the client ends. Raises Ended beyond a limit."""
        try:
            message = await asyncio.wait_for(websocket.receive(), self.limits.timeout)
        except TimeoutError:
            raise Ended(BEYOND_A_LIMIT, f"No audio came for {self.limits.timeout:g} s.") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", GOING_AWAY))
        if message.get("bytes") is not None:
            block: bytes = message["bytes"]
            return block
        if message.get("text") == END:
            return None
        raise Ended(BAD_DATA, f'A text is "{END}"; audio comes in binary messages.')

    def add(self, block: bytes) -> list[Window]:
        """Return the answers to the windows that a message fills. Raises Ended or InputError if it is no sound."""
        if len(block) % self.encoding.itemsize:
            kind = self.encoding.name
            raise Ended(BAD_DATA, f"A message has {len(block)} bytes, which is no whole number of {kind} samples.")
        samples = np.frombuffer(block, self.encoding).astype(np.float32)
        if self.encoding.kind == "i":
            samples /= FULL_SCALE
        if len(samples):
            check_sound("the stream", samples)
            self.held.append(samples)
            self.held_samples += len(samples)
        if self.answered + self.held_samples > self.limits.stream_seconds * SAMPLE_RATE:
            raise Ended(BEYOND_A_LIMIT, f"A stream has at most {self.limits.stream_seconds:g} s; begin another.")
        length = round(self.window * SAMPLE_RATE)
        whole = self.held_samples - self.held_samples % length
        return self._label(whole) if whole else []

    def rest(self) -> list[Window]:
        """Return the answer to the rest that fills no window."""
        return self._label(self.held_samples)

    def _label(self, samples: int) -> list[Window]:
        """Answer so many of the held samples, and hold the others."""
        if not samples:
            return []
        pieces = in_pieces(self.held, samples)
        first = next(pieces)
        self.held = list(pieces)
        begin = self.answered / SAMPLE_RATE
        self.answered, self.held_samples = self.answered + samples, self.held_samples - samples
        windows = self.labeller.windows([first], self.window, Patience())
        return [one.model_copy(update={"start": one.start + begin, "end": one.end + begin}) for one in windows]
