"""The progress of long work: lines off a terminal, a bar on it, and never anything within the results."""

from __future__ import annotations

import math
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from melt_ser.core import console
from melt_ser.core.console import Progress, duration, progress
from melt_ser.training.progress import TrainingProgress


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line as often as the tests wait for one."""
    monkeypatch.setattr(console, "EVERY", 0.01)


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every work takes 0 s, on a busy machine too."""
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: 0.0))


def lines_until(wanted: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines on standard error, once one of them has `wanted`; the end of a line may come alone."""
    said = ""
    while wanted not in said:
        said += capsys.readouterr().err
        time.sleep(0.001)
    return [line for line in said.splitlines() if line]


def test_off_a_terminal_a_line_a_while_says_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("reading runs", 2000) as shown:
        assert re.fullmatch(r"reading runs: 0 of 2,000, \d+ s so far", lines_until("so far", capsys)[0])
        shown.advance(1000)
        [line] = [line for line in lines_until("left", capsys) if "left" in line][:1]
    assert re.fullmatch(r"reading runs: 1,000 of 2,000, \d+ s left", line)


def test_steps_of_an_earlier_work_do_not_shorten_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("reading runs", 10, done=9):
        assert re.fullmatch(r"reading runs: 9 of 10, \d+ s so far", lines_until("10", capsys)[0])


@pytest.mark.usefixtures("stopped_clock")
def test_brief_work_says_nothing_and_longer_work_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    console.EVERY = 60.0
    assert list(progress(iter("ab"), 2, "reading")) == ["a", "b"]
    assert capsys.readouterr().err == ""
    with Progress("reading", 2, brief=0.0) as shown:
        shown.advance(2)
    assert capsys.readouterr().err == "reading: 2 of 2, done in 0 s\n"


def test_work_that_fails_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), Progress("reading", 2, brief=0.0):
        raise ValueError
    assert "done" not in capsys.readouterr().err


@pytest.mark.usefixtures("stopped_clock")
def test_only_the_outer_of_two_works_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    console.EVERY = 60.0
    with Progress("outer", 1, brief=0.0), Progress("inner", 1, brief=0.0):
        pass
    assert capsys.readouterr().err == "outer: 0 of 1, done in 0 s\n"


@pytest.mark.usefixtures("stopped_clock")
def test_a_training_of_many_short_epochs_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.EVERY = 60.0
    with TrainingProgress("fold 1/5", 180, 90, 0, 0) as shown:
        for epoch in range(1, 91):
            for _ in range(2):
                shown.step(epoch, 0.5, 12.0)
            shown.scored("ua", 0.25, 0.25, epoch)
    assert capsys.readouterr().err == (
        "training fold 1/5: epoch 90/90, loss 0.500, 12.0 clips/s, dev UA 25.0 %, done in 0 s\n"
    )


def test_a_training_names_the_epoch_of_its_dev_scores() -> None:
    console.EVERY = 60.0
    with TrainingProgress("", 3, 3, 0, 0) as shown:
        shown.step(1, 0.5, 12.0)
        assert shown._status(1) == "epoch 1/3, loss 0.500, 12.0 clips/s"
        shown.scored("ua", 0.6, 0.6, 1)
        assert shown._status(1).endswith("clips/s, dev UA 60.0 %")
        shown.step(2, 0.4, 12.0)
        assert shown._status(2).endswith("clips/s, dev UA 60.0 % (epoch 1)")
        shown.scored("ua", 0.5, 0.6, 1)
        assert shown._status(2).endswith("clips/s, dev UA 50.0 %, best 60.0 % (epoch 1)")
        shown.step(3, 0.3, 12.0)
        shown.scored("ua", math.nan, 0.6, 1)  # without a dev part
        assert shown._status(3).endswith("clips/s, dev UA 50.0 % (epoch 2), best 60.0 % (epoch 1)")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (3500, "58 min"), (7200, "2.0 h"), (86_000, "23.9 h")]
)
def test_a_duration_is_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


CODE = """
import sys
from melt_ser.cli.verb import run
from melt_ser.core.console import Progress, progress, say

def work():
    for step in progress(range(3), 3, "verifying audio"):
        print("row", step)
    with Progress("comparing the labels"):
        say("a note in between")
    {end}
    return 0

sys.exit(run(work))
"""


def on_a_terminal(out: Path, end: str = "") -> str:
    """Return what a verb shows on a terminal, without colours, as its results go to a file."""
    ours, theirs = pty.openpty()
    with out.open("w") as file:
        command = [sys.executable, "-c", CODE.format(end=end)]
        verb = subprocess.Popen(command, stdout=file, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown = b"".join(_parts(ours))
    os.close(ours)
    verb.wait()
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())


def _parts(terminal: int) -> Iterator[bytes]:
    try:
        while part := os.read(terminal, 4096):
            yield part
    except OSError:  # the terminal has closed
        return


def test_on_a_terminal_a_bar_comes_and_goes_and_the_results_stay_in_their_file(tmp_path: Path) -> None:
    shown = on_a_terminal(tmp_path / "rows")
    assert re.search(r"verifying audio ━{20} 3 of 3 \d:\d\d:\d\d", shown)
    assert "comparing the labels ━" in shown and "a note in between" in shown
    assert shown.rstrip("\r\n").endswith("\x1b[2K")  # the last bar is wiped
    assert (tmp_path / "rows").read_text() == "row 0\nrow 1\nrow 2\n"


def test_a_terminal_gets_its_cursor_back_after_an_error(tmp_path: Path) -> None:
    broken = 'next(progress(range(3), 3, "broken")); from melt_ser.core.errors import InputError; raise InputError("x")'
    shown = on_a_terminal(tmp_path / "rows", broken)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 3
    assert "error: x" in shown


def test_off_a_terminal_there_is_no_bar_and_no_colour() -> None:
    done = subprocess.run([sys.executable, "-c", CODE.format(end="")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "a note in between\n")
    assert done.stdout == "row 0\nrow 1\nrow 2\n"
