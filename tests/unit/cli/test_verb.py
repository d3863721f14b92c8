"""The frame of the verbs: failures, Ctrl-C and an output that cannot be written end in a sentence and an exit code."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from melt_ser.cli.verb import given_path, positive_number, run
from melt_ser.core.errors import InputError, SetupError

FULL = Path("/dev/full")  # a device that is always full


@pytest.mark.parametrize("error", [InputError("a\nb"), SetupError("a\nb")])
def test_a_verbs_failure_is_one_line_and_its_exit_code(error: InputError, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise error

    assert run(work) == error.exit_code
    assert capsys.readouterr().err == "error: a\\nb\n"


def test_a_verb_that_is_stopped_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise KeyboardInterrupt

    assert run(work, "stopped; go on.") == 130
    assert capsys.readouterr().err == "stopped; go on.\n"


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0)


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["info"], ["train", "--cfg", "job"]], ids=" ".join)
def test_a_verb_tells_that_its_output_cannot_be_written(arguments: list[str]) -> None:
    with FULL.open("w") as full:
        command = [sys.executable, "-m", "melt_ser", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write to standard output: No space left on device; ")
    assert done.stderr.count("\n") == 1


def test_a_verb_ends_quietly_if_its_reader_has_left() -> None:
    code = "from melt_ser.cli.verb import run; import sys; sys.exit(run(lambda: print('x' * 10**6) or 0))"
    verb = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert verb.stdout is not None and verb.stderr is not None
    verb.stdout.close()
    assert verb.stderr.read() == ""
    assert verb.wait() == 141


@pytest.mark.parametrize("text", ["0", "0.0", "-1", "nan", "inf", "much"])
def test_a_limit_that_lets_nothing_through_is_refused(text: str) -> None:
    assert positive_number("0.5") == 0.5
    with pytest.raises(argparse.ArgumentTypeError, match="is a number"):
        positive_number(text)


def test_a_path_has_a_home_folder_and_is_not_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert given_path("~/labels.csv") == Path("/home/ada/labels.csv")
    assert given_path("hub:ada/model") == Path("hub:ada/model")
    with pytest.raises(argparse.ArgumentTypeError, match="is the path of a file or folder, not ''"):
        given_path("")
