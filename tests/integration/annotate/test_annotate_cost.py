"""`annotate` as a user starts it: the cost before it asks, while it asks, and at the limit."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from annotate_runs import command, start
from annotation_server import Behaviour, annotating
from melt_ser.annotate import main


def test_annotate_dry_run_prints_cost_and_time_and_asks_nothing(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    before = sorted(table.parent.iterdir())
    assert main([str(table), "--out", str(table.with_name("labels.csv")), "--prompt", "melt", "--dry-run"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("12 calls of gpt-4o-2024-08-06 by the prompt melt (1-")
    basis = r"\(by (a rule|tiktoken).*; 110 tokens an answer, thoughts not counted\)"
    assert re.fullmatch(rf"tokens: about \d\.\d thousand of prompts and 1\.3 thousand of answers {basis}", shown[1])
    price = r"US\$ 2\.50 and 10\.00 a million tokens, OpenAI by genai-prices .*"
    assert re.fullmatch(rf"cost: about US\$ 0\.0\d+ \({price}\)", shown[2])
    assert shown[3] == "time: about 3 s, 8 calls at a time"
    assert sorted(table.parent.iterdir()) == before


def test_annotate_asks_the_user_above_the_limit(
    server: Behaviour, table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dear = ("--price", "1000,1000")
    assert start(server, table, *dear) == 2
    assert re.search(r"error: about US\$ \d\.\d\d, and --limit is US\$ 1\.00; add --yes", capsys.readouterr().err)
    assert server.calls == 0
    for answered, code in (("n\n", 2), ("\n", 2), ("", 2), ("y\n", 0)):
        monkeypatch.setattr(sys, "stdin", Terminal(answered))
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        assert start(server, table, *dear) == code
        assert re.search(r"about US\$ \d\.\d\d\. Go on\? \[y/N\] ", capsys.readouterr().err)
    assert server.calls == 12
    assert start(server, table, *dear, "--limit", "99", out="others.csv") == 0
    assert start(server, table, *dear, "--yes", out="more.csv") == 0


class Terminal:
    """A standard input with a user who types."""

    def __init__(self, typed: str) -> None:
        self.typed = typed

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self.typed


def test_annotate_asks_the_user_if_the_cost_is_not_known(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(table), "--out", str(table.with_name("labels.csv")), "--base-url", "https://models.example/v1"]
    assert main([*given, "--model", "unheard-of"]) == 2
    shown = capsys.readouterr().err
    assert "error: the cost is not known (give --price, such as 2.50,10), and --limit is US$ 1.00; add --yes" in shown


def test_annotate_shows_a_bar_with_the_cost_so_far_on_a_terminal(table: Path) -> None:
    server = Behaviour(rate=20.0)
    ours, theirs = pty.openpty()
    with annotating(server) as address:
        process = subprocess.Popen(
            command(address, table, "--price", "2.5,10"), stderr=theirs, stdout=subprocess.DEVNULL,
            env={**os.environ, "COLUMNS": "100", "TERM": "xterm"},
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # the terminal has closed
            pass
        os.close(ours)
        assert process.wait() == 0
    plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode()
    assert re.search(r"annotating [━╸╺ ]+[1-9]\d? of 12 answered, US\$ 0\.0\d+ \d:\d\d", plain)


def test_annotate_stops_at_the_limit_and_goes_on_with_the_same_command(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Behaviour()
    dear = ("--price", "0,1000", "--limit", "1")  # 12 answers of 110 tokens would cost US$ 1.32
    assert start(server, table, *dear) == 2 and server.calls == 0
    server.shape = lambda completion: {**completion, "usage": {"prompt_tokens": 9, "completion_tokens": 500}}
    assert start(server, table, *dear, "--first", "9") == 2
    shown = capsys.readouterr().err
    assert "US$ 1.00 is spent, and the limit is US$ 1.00: 7 calls are missing; the same command goes on" in shown
    assert not table.with_name("labels.csv").exists()
    server.shape = dict
    assert start(server, table, *dear, "--first", "9") == 0
    assert server.calls == 9


def test_the_estimate_knows_that_a_chinese_letter_is_most_of_a_token(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.write_text("utterance,text\nu1," + "你怎么能忘记我的生日呢" * 100 + "\n", encoding="utf-8")
    assert main([str(table), "--out", str(table.with_name("labels.csv")), "--dry-run"]) == 0
    thousand = re.search(r"about (\d\.\d) thousand of prompts", capsys.readouterr().out)
    assert thousand is not None and float(thousand[1]) > 1.0  # 1,100 letters; 4 to a token would be 275
