"""The key of a server, which `annotate` shows nowhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from annotate_runs import command
from annotation_server import KEY, Behaviour, annotating, answer
from melt_ser.annotate import main


def test_annotate_shows_the_key_nowhere(table: Path) -> None:
    """The server repeats the key in errors and answers, and the client's own log is at its most verbose."""
    talks = Behaviour(
        failures=[400, 500, "hang up"], message=f"Bearer {KEY}", answer=lambda body: answer("joy", pitch=KEY)
    )
    refuses = Behaviour(failures=[401], message=f"Incorrect API key provided: {KEY}")
    environment = {**os.environ, "OPENAI_LOG": "debug"}
    for server, code in ((talks, 0), (refuses, 2)):
        with annotating(server) as address:
            # One call at a time: a 400 to a call that others have overtaken is about its question, and is final.
            out = () if code else ("--out", str(table.with_name("other.csv")))
            typed = command(address, table, "--concurrency", "1", *out)
            done = subprocess.run(typed, capture_output=True, env=environment)
        assert done.returncode == code, done.stderr.decode()
        left = [path.read_bytes() for path in table.parent.iterdir() if path.is_file()]
        assert all(KEY.encode() not in text for text in (done.stdout, done.stderr, *left))
    assert b"Incorrect API key provided: <key>" in done.stderr
    assert b"DEBUG" in done.stderr  # the client did log


def test_the_traceback_of_a_bug_does_not_show_the_key(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"illegal header value b'Bearer {KEY}'")

    monkeypatch.setattr("melt_ser.corpora.lines.read_lines", broken)
    assert main([str(table), "--out", "labels.csv", "--dry-run"]) == 1
    shown = capsys.readouterr().err
    assert "RuntimeError: illegal header value b'Bearer <key>'" in shown and KEY not in shown
