"""The stream of `serve`: a row for each window as it arrives, within limits; and the client in docs/deploy.md."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from checkout import CHECKOUT
from melt_ser.runs.finished_run import load_model
from small_runs import CLASSES

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
from websockets.exceptions import ConnectionClosedError, InvalidStatus  # uvicorn uses the package too
from websockets.sync.client import ClientConnection, connect

from serving import Served, serving, small_run

TONE = (0.3 * np.sin(np.arange(40_000) / 20)).astype(np.float32)  # 2.5 s


@pytest.fixture(scope="module")
def run() -> Path:
    return small_run()


@pytest.fixture(scope="module")
def served(run: Path) -> Iterator[Served]:
    with serving(run, timeout=60, stream_seconds=10) as one:
        yield one


def answers(served: Served, query: str, *messages: bytes | str) -> tuple[list[dict[str, Any]], int]:
    """Send messages; return everything that is answered, and the closing code."""
    with connect(f"{served.stream_address}?{query}") as stream:
        with contextlib.suppress(ConnectionClosedError):  # it was closed before all was sent
            for message in messages:
                stream.send(message)
        rows = list(until_closed(stream))
        assert stream.close_code is not None
        return rows, stream.close_code


def until_closed(stream: ClientConnection) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(ConnectionClosedError):  # any code but 1000
        yield from map(json.loads, stream)


@pytest.mark.parametrize("encoding", ["float32", "int16"])
@pytest.mark.parametrize("size", [999, 7000, 40_000])
def test_a_stream_has_the_rows_of_predict_however_it_is_cut(
    served: Served, run: Path, encoding: str, size: int
) -> None:
    samples = TONE if encoding == "float32" else (TONE * 32_767).astype(np.int16)
    blocks = [samples[first : first + size].tobytes() for first in range(0, len(samples), size)]
    rows, code = answers(served, f"window=1&encoding={encoding}", *blocks, "end")
    expected = load_model(run, device="cpu").predict(samples, 16_000, window=1.0)
    assert code == 1000 and [(row["start"], row["end"]) for row in rows] == [(0, 1), (1, 2), (2, 2.5)]
    for row, (_, other) in zip(rows, expected.iterrows(), strict=True):
        assert row["label"] == other["label"]
        assert row["probabilities"] == pytest.approx({name: other[name] for name in CLASSES}, abs=1e-6)


def test_a_window_is_answered_before_the_stream_ends(served: Served) -> None:
    with connect(f"{served.stream_address}?window=1") as stream:
        stream.send(TONE[:15_000].tobytes())
        stream.send(TONE[15_000:17_000].tobytes())
        assert json.loads(stream.recv(timeout=20))["end"] == 1.0


@pytest.mark.parametrize(
    ("query", "message", "says", "code"),
    [
        ("window=0", b"", "window is from 0.1 to 60 seconds.", 1008),
        ("window=nan", b"", "window is from 0.1 to 60 seconds.", 1008),
        ("encoding=mp3", b"", "encoding is float32 or int16.", 1008),
        ("", b"abc", "A message has 3 bytes, which is no whole number of float32 samples.", 1007),
        ("", np.full(9, np.nan, np.float32).tobytes(), "the stream: some samples are NaN", 1007),
        ("", (30_000 * TONE).tobytes(), "the stream: the samples reach 9,000, but full scale is 1", 1007),
        ("", "stop", 'A text is "end"; audio comes in binary messages.', 1007),
        ("", np.tile(TONE, 5).tobytes(), "A stream has at most 10 s; begin another.", 1008),
    ],
)
def test_a_wrong_stream_ends_with_a_sentence(
    served: Served, query: str, message: bytes | str, says: str, code: int
) -> None:
    rows, closed = answers(served, query, message)
    assert rows[-1]["error"].startswith(says) and closed == code


def test_an_empty_stream_has_no_rows_and_a_silent_window_has_a_note(served: Served) -> None:
    assert answers(served, "", "end") == ([], 1000)
    [row], _ = answers(served, "window=1", np.zeros(16_000, np.float32).tobytes(), "end")
    assert row["note"].startswith("silent")


def test_a_silent_client_is_sent_away(run: Path) -> None:
    with serving(run, timeout=0.5) as served, connect(served.stream_address) as stream:
        assert json.loads(stream.recv()) == {"error": "No audio came for 0.5 s."}


def test_a_large_message_and_too_many_streams_are_refused(run: Path) -> None:
    with serving(run, requests=1) as served:
        with connect(served.stream_address):
            with pytest.raises(InvalidStatus) as refused:
                connect(served.stream_address)
            assert refused.value.response.status_code == 503 and "Retry-After" in refused.value.response.headers
        with connect(served.stream_address) as stream:
            stream.send(bytes(2**20 + 4))
            assert list(until_closed(stream)) == [] and stream.close_code == 1009
        assert served.get("/health")[0] == 200


def test_the_client_in_the_documents_prints_a_row_for_each_window(served: Served, tmp_path: Path) -> None:
    text = (CHECKOUT / "docs" / "deploy.md").read_text(encoding="utf-8")
    [client] = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "/stream" in block]
    assert len(client.splitlines()) <= 12
    (tmp_path / "client.py").write_text(client.replace("ws://127.0.0.1:8000/stream", served.stream_address))
    soundfile.write(tmp_path / "clip.wav", TONE, 16_000)
    done = subprocess.run([sys.executable, "client.py"], cwd=tmp_path, capture_output=True, text=True)
    rows = done.stdout.splitlines()
    assert done.stderr == "" and len(rows) == 3 and rows[0].startswith("0.0 1.0 ")
