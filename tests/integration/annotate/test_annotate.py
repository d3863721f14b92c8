"""`annotate` as a user starts it: its labels file, and the sentence for each mistake."""

from __future__ import annotations

import io
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from annotate_runs import start
from annotation_server import Behaviour, annotating, answer
from melt_ser.annotate import main


def test_annotate_turns_lines_into_labels(server: Behaviour, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(server, table) == 0
    labels = pd.read_csv(table.with_name("labels.csv"))
    assert len(labels) == 12 and labels["llm_label"].notna().all()
    shown = capsys.readouterr()
    assert shown.out == f"result: {table.with_name('labels.csv')}\n"
    assert "12 calls of test by the prompt melt" in shown.err and "12 of 12 answered" in shown.err


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


def test_a_labels_file_without_a_label_ends_in_1(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(Behaviour(answer=lambda body: answer("bliss")), table) == 1
    assert "has no label at all" in capsys.readouterr().err
    assert set(pd.read_csv(table.with_name("labels.csv"))["reason"]) == {"outside the set"}


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
