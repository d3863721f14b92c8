"""What the package says: it goes to the logger, and only within a verb to the terminal."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from melt_ser.core.console import say, speaking, terminal


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """The records of the package's logger."""
    logger, collected = logging.getLogger("melt_ser"), list[logging.LogRecord]()

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            collected.append(record)

    handler = Collect()
    logger.addHandler(handler)
    yield collected
    logger.removeHandler(handler)


def test_a_note_is_a_warning_and_another_sentence_information(records: list[logging.LogRecord]) -> None:
    say("note: 50 % of it\nis missing")
    say("written: a.txt")
    assert [(record.levelname, record.getMessage()) for record in records] == [
        ("WARNING", "note: 50 % of it\\nis missing"),
        ("INFO", "written: a.txt"),
    ]


def test_only_the_main_process_says_something(
    records: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    say("written: a.txt")
    assert records == []


def test_a_terminal_within_another_prints_a_sentence_once(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal(), terminal():
        say("once")
    assert capsys.readouterr().err == "once\n"
    assert speaking()  # for the time of the tests, by conftest.py


@pytest.mark.parametrize(
    ("configured", "printed"),
    [("", ""), ("logging.basicConfig(level='INFO', format='%(message)s')\n", "hello\nnote: a\n")],
    ids=["silent", "configured"],
)
def test_a_program_hears_the_library_only_if_it_configures_logging(configured: str, printed: str) -> None:
    code = (
        f"import logging, melt_ser\n{configured}"
        "from melt_ser.core.console import finish, say, show\n"
        "say('hello'); say('note: a'); show('a table'); finish('a path')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", printed)


def test_a_verb_prints_each_sentence_once_whatever_the_program_configured() -> None:
    code = (
        "import logging; logging.basicConfig(level='DEBUG')\n"
        "from melt_ser.core.console import say, terminal\n"
        "with terminal(): say('hello')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "hello\n"
