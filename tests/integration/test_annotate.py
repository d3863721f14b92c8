"""`annotate` as a user starts it: the cost before it asks, its files and messages, and the key that it never shows."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from annotation_server import KEY, Behaviour, annotating, answer
from checkout import CHECKOUT
from heeding import heeding
from melt_ser.annotate import main

SCRIPT = CHECKOUT / "scripts" / "soak_annotation.py"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "lines.csv"
    rows = [f"u{number},Line {number} is a line.,Ross,scene,{number}\n" for number in range(12)]
    path.write_text("utterance,text,speaker,dialogue,position\n" + "".join(rows))
    return path


@pytest.fixture
def server() -> Iterator[Behaviour]:
    yield Behaviour()


def arguments(address: str, table: Path, *more: str, out: str = "labels.csv") -> list[str]:
    """Return the arguments of `annotate` that ask the test server about a table by the paper's prompt."""
    given = [str(table), "--out", str(table.with_name(out)), "--base-url", address]
    return [*given, "--model", "test", "--prompt", "melt", *more]


def start(server: Behaviour, table: Path, *more: str, out: str = "labels.csv") -> int:
    with annotating(server) as address:
        return main(arguments(address, table, *more, out=out))


def command(address: str, table: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "melt_ser.annotate", *arguments(address, table, *more)]


def test_annotate_turns_lines_into_labels(server: Behaviour, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(server, table) == 0
    labels = pd.read_csv(table.with_name("labels.csv"))
    assert len(labels) == 12 and labels["llm_label"].notna().all()
    shown = capsys.readouterr()
    assert shown.out == f"result: {table.with_name('labels.csv')}\n"
    assert "12 calls of test by the prompt melt" in shown.err and "12 of 12 answered" in shown.err


def test_annotate_asks_nothing_twice(server: Behaviour, table: Path) -> None:
    assert start(server, table) == start(server, table) == 0
    assert server.calls == 12
    assert start(server, table, "--samples", "2") == 0
    assert server.calls == 24


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


def test_annotate_counts_a_line_without_an_answer_and_exits_with_1(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Behaviour(answer=lambda body: "no" if "Line 3 " in body["messages"][1]["content"] else answer("joy"))
    assert start(server, table) == 1
    assert pd.read_csv(table.with_name("labels.csv"))["llm_label"].isna().sum() == 1
    shown = capsys.readouterr().err
    assert "1 of 12 calls have no readable answer (1 unreadable): u3 (The answer is no JSON object" in shown


def test_annotate_counts_labels_outside_the_set_or_maps_them(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = Behaviour(
        answer=lambda body: answer("frustration" if "Line 3 " in body["messages"][1]["content"] else "joy")
    )
    assert start(server, table) == 0
    assert (
        "1 lines have no label, since their answers are outside the prompt's set (frustration 1); see --map"
        in capsys.readouterr().err
    )
    assert pd.read_csv(table.with_name("labels.csv"))["llm_label"].value_counts().to_dict() == {"joy": 11}
    assert start(server, table, "--map", "frustration=anger") == 0
    labels = pd.read_csv(table.with_name("labels.csv"))
    assert labels["llm_label"].value_counts().to_dict() == {"joy": 11, "anger": 1}
    assert server.calls == 12


def test_annotate_names_the_most_frequent_labels_outside_the_set(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rambling(body: dict[str, Any]) -> str:
        number = re.search(r"Line (\d+) ", body["messages"][1]["content"])[1]  # type: ignore[index]
        return answer(f"mood {number} " + "and so on " * 20 if int(number) > 1 else "calm")

    assert start(Behaviour(answer=rambling), table) == 1
    [shown] = re.findall(r"outside the prompt's set \((.*)\)", capsys.readouterr().err)
    assert shown.startswith("calm 2, mood") and shown.count(" [...] 1") == 9 and shown.endswith(", 1 others")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--prompt", "melt2"], "There is no prompt 'melt2' (did you mean 'melt'); the path of a YAML file ends in"),
        (["--filter", "short"], "There is no filter 'short': did you mean 'short_clips'?"),
        (["--map", "comfort=happy"], "--map comfort=happy does not end in a label of the prompt"),
        (["--price", "2.5"], "--price is US dollars a million tokens of prompts and of answers"),
        (["--base-url", "localhost"], "--base-url is an address such as http://127.0.0.1:8000/v1, not 'localhost'."),
        (["--engine", "local", "--temperature", "0"], "needs a --temperature above 0 for its probabilities; leave the"),
        (["--key-variable", "NO_SUCH"], "set the environment variable NO_SUCH"),
    ],
)
def test_a_mistake_in_an_annotate_command_is_one_line_with_the_fix(
    more: list[str], sentence: str, server: Behaviour, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(server, table, *more) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and sentence in shown and shown.count("\n") == 1
    assert server.calls == 0


def test_annotate_writes_half_an_emoji_in_an_answer_as_its_escape(table: Path) -> None:
    """JSON may contain half of a surrogate pair; neither SQLite nor UTF-8 accepts it."""
    server = Behaviour(answer=lambda body: answer("joy", emotional_impact="warm \ud83d"))
    assert start(server, table) == 0
    assert set(pd.read_csv(table.with_name("labels.csv"))["emotional_impact"]) == {"warm \\ud83d"}


def test_annotate_never_replaces_an_input_or_a_folder(
    server: Behaviour, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = table.read_bytes()
    (table.parent / "folder").mkdir()
    assert start(server, table, out=table.name) == 2
    assert "is one of the tables to read; name another file." in capsys.readouterr().err
    assert start(server, table, out="folder") == 2
    assert "is a folder; name a file, such as " in capsys.readouterr().err
    assert main([str(table), str(table), "--combine", "--out", str(table)]) == 2
    assert table.read_bytes() == before and server.calls == 0


def test_combine_writes_to_standard_output_and_nothing_but_the_rows(table: Path) -> None:
    rated = table.with_name("rated.csv")
    pd.read_csv(table).assign(llm_label="joy").to_csv(rated, index=False)
    typed = [sys.executable, "-m", "melt_ser.annotate", str(rated), str(rated), "--combine", "--out", "/dev/stdout"]
    done = subprocess.run(typed, capture_output=True, text=True, check=True)
    labels = pd.read_csv(io.StringIO(done.stdout))
    assert len(labels) == 12 and set(labels["llm_label"]) == {"joy"} and not done.stderr


@pytest.mark.parametrize(
    "more", [["--samples", "0"], ["--concurrency", "-1"], ["--temperature", "hot"], ["--first", "x"]]
)
def test_annotate_refuses_an_impossible_value(more: list[str], table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(table), "--out", "labels.csv", *more])
    assert ended.value.code == 2 and f"argument {more[0]}: is a " in capsys.readouterr().err


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


def test_annotate_goes_on_after_it_was_stopped(table: Path) -> None:
    server = Behaviour(seconds=1.0)  # on a busy machine, a faster job would end before the signal
    with annotating(server) as address:
        process = subprocess.Popen(
            command(address, table, "--concurrency", "2"), stderr=subprocess.PIPE, text=True,
            preexec_fn=heeding,
        )  # fmt: skip
        while not server.answered:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        shown = process.communicate()[1]
        assert process.returncode == 130 and shown.endswith(
            "stopped; the same command goes on from what is answered.\n"
        )
        assert not table.with_name("labels.csv").exists()
        server.seconds = 0.0
        assert subprocess.run(command(address, table), capture_output=True).returncode == 0
    assert len(server.answered) == 12 and sum(server.answered.values()) <= 14


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


def test_annotate_makes_batches(server: Behaviour, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(server, table, "--engine", "batch", "--batch-requests", "5", "--poll", "0.01") == 0
    assert len(server.batches) == 3 and len(pd.read_csv(table.with_name("labels.csv"))) == 12
    submitted = re.findall(r"batch batch-\d is submitted with (\d) calls?", capsys.readouterr().err)
    assert sorted(submitted) == ["2", "5", "5"]  # in any order, since they run at the same time


def test_a_batch_under_way_is_left_to_its_engine_and_its_lines_are_told(
    server: Behaviour, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A labels file without labels once ended in 0, since all calls were in the batch of a killed command."""
    server.poll_status = 418
    batch = ("--engine", "batch", "--poll", "0.01")
    assert start(server, table, *batch) == 2
    assert start(server, table) == 1
    shown = capsys.readouterr().err
    assert "12 of 12 calls have no readable answer (12 in a batch): u0 (--engine batch collects it); u1" in shown
    assert f"{table.with_name('labels.csv')} has no label at all" in shown
    assert set(pd.read_csv(table.with_name("labels.csv"))["reason"]) == {"in a batch"} and server.calls == 0
    server.poll_status = None
    assert start(server, table, *batch) == 0 and len(server.batches) == 1
    assert pd.read_csv(table.with_name("labels.csv"))["reason"].isna().all()


def test_a_labels_file_without_a_label_ends_in_1(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(Behaviour(answer=lambda body: answer("bliss")), table) == 1
    assert "has no label at all" in capsys.readouterr().err
    assert set(pd.read_csv(table.with_name("labels.csv"))["reason"]) == {"outside the set"}


def test_annotate_asks_another_server_anew_unless_it_has_moved(
    server: Behaviour, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(server, table) == 0
    former, moved = f"http://127.0.0.1:{server.port}/v1", Behaviour()
    assert start(moved, table, "--moved-from", former) == 0 and moved.calls == 0
    assert start(moved, table) == 0 and moved.calls == 0  # it is said once
    another = Behaviour()
    assert start(another, table) == 0 and another.calls == 12
    assert (
        f"note: 12 answers are from {former}; if that is the same server, give --moved-from" in capsys.readouterr().err
    )


def test_the_labels_file_tells_where_answers_come_from_as_far_as_they_differ(server: Behaviour, table: Path) -> None:
    assert start(server, table) == 0
    assert not {"answered_by", "fingerprint", "finish_reason", "address"} & set(
        pd.read_csv(table.with_name("labels.csv"))
    )
    versions = iter(["m-1", "m-2"] * 6)
    another = Behaviour(shape=lambda completion: {**completion, "model": next(versions), "system_fingerprint": "fp"})
    assert start(another, table, out="others.csv") == 0
    labels = pd.read_csv(table.with_name("others.csv"))
    assert labels["answered_by"].value_counts().to_dict() == {"m-1": 6, "m-2": 6}
    assert "fingerprint" not in labels  # one for all; the journal has it
    with sqlite3.connect(table.with_name("others.journal.sqlite")) as journal:
        columns = "fingerprint, finish_reason, address, arrived LIKE '20__-__-__T__:__:__Z'"
        rows = set(journal.execute(f"SELECT {columns} FROM answers"))
    assert rows == {("fp", "stop", f"http://127.0.0.1:{another.port}/v1", 1)}


def test_the_labels_file_says_why_a_line_has_no_label(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def shape(completion: dict[str, Any]) -> dict[str, Any]:
        choice = completion["choices"][0]
        number = next(counter)
        if number == 0:
            choice["message"] = {"content": None, "refusal": "I can't."}
        elif number == 1:
            choice["finish_reason"], choice["message"]["content"] = "length", '{"emotion": "jo'
        elif number == 2:
            choice["finish_reason"], choice["message"]["content"] = "content_filter", None
        return completion

    counter = iter(range(99))
    assert start(Behaviour(shape=shape), table, "--concurrency", "1") == 1
    labels = pd.read_csv(table.with_name("labels.csv"), keep_default_na=False)
    assert list(labels["reason"][:4]) == ["refused", "truncated", "filtered", ""]
    assert list(labels["finish_reason"][:4]) == ["refusal", "length", "content_filter", "stop"]
    shown = capsys.readouterr().err
    assert "3 of 12 calls have no readable answer (1 refused, 1 truncated, 1 filtered): u0 (The model refuses" in shown


def test_annotate_sends_the_users_options_and_a_changed_one_asks_anew(server: Behaviour, table: Path) -> None:
    chosen = ("--reasoning-effort", "low", "--extra-body", '{"top_p": 0.5}', "--temperature", "none")
    assert start(server, table, *chosen, "--max-tokens", "900") == 0
    body = server.bodies[-1]
    assert (body["reasoning_effort"], body["top_p"], body["max_tokens"]) == ("low", 0.5, 900)
    assert "temperature" not in body and server.calls == 12
    labels = pd.read_csv(table.with_name("labels.csv"), keep_default_na=False)
    assert set(labels["temperature"]) == {""}
    assert start(server, table, *chosen) == 0 and server.calls == 12  # the limit does not shape an answer
    assert start(server, table, *chosen, "--reasoning-effort", "high") == 0 and server.calls == 24


def test_a_temperature_that_the_server_refuses_is_not_in_the_labels_file(table: Path) -> None:
    assert start(Behaviour(refuses=("temperature",)), table) == 0
    assert set(pd.read_csv(table.with_name("labels.csv"), keep_default_na=False)["temperature"]) == {""}


def test_annotate_speaks_to_a_deployment_at_azure(table: Path) -> None:
    server = Behaviour(api_version="2024-10-21")
    with annotating(server) as address:
        given = [str(table), "--out", str(table.with_name("labels.csv")), "--model", "gpt-4o", "--price", "0,0"]
        deployment = address.removesuffix("/v1") + "/openai/deployments/mine"
        assert main([*given, "--base-url", deployment, "--api-version", "2024-10-21"]) == 0
    assert server.calls == 12


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


def test_annotate_asks_about_the_chosen_lines_alone(server: Behaviour, table: Path, shared_data: Path) -> None:
    meld = shared_data / "meld"
    out = str(table.with_name("labels.csv"))
    with annotating(server) as address:
        given = [
            "--out",
            out,
            "--base-url",
            address,
            "--model",
            "test",
            "--filter",
            "short_clips,few_words",
            "--first",
            "9",
        ]
        assert main([str(meld), *given]) == 0
    labels = pd.read_csv(out)
    assert len(labels) == server.calls == 9
    assert (labels["Utterance"].str.split().str.len() > 2).all()


@pytest.mark.slow
def test_annotate_answers_each_line_once_after_kills(shared_data: Path) -> None:
    """Run the soak script on 300 lines of MELD with three kills; one call in five fails."""
    import json

    given = ["--first", "300", "--kills", "3", "--rate", "200", "--meld", str(shared_data / "meld")]
    done = subprocess.run([sys.executable, str(SCRIPT), *given], capture_output=True, text=True)
    result = json.loads(done.stdout)
    assert done.returncode == 0 and result["sound"], done.stderr
    assert result["lines"] == result["answered"] == result["different"] == result["rows"] == 300
    assert result["failed"] >= 60 and result["asked_again"] <= 3 * 16
