"""The engine against a server that fails in every way: answers arrive, and the key goes to the server alone."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
import traceback
from contextlib import aclosing
from typing import Any, ClassVar

import pytest

from annotation_behaviours import without
from annotation_server import KEY, Behaviour, annotating, answer
from melt_ser.annotation.endpoint import Endpoint
from melt_ser.annotation.engines import CallFailed, Reply
from melt_ser.annotation.openai_engine import OpenAIEngine
from melt_ser.annotation.pace import Pace
from melt_ser.core.errors import MeltSerError, SetupError

MESSAGES = [{"role": "user", "content": "What does Ross feel?"}]
SCHEMA = {"type": "object", "properties": {"emotion": {"type": "string", "enum": ["joy", "anger"]}}}


def ask(behaviour: Behaviour, times: int = 1, at_once: int = 1) -> list[Reply]:
    """Return the replies of an engine to `times` questions, `at_once` at a time."""

    async def run(address: str) -> list[Reply]:
        limit = asyncio.Semaphore(at_once)

        async def one(engine: OpenAIEngine, sample: int) -> Reply:
            async with limit:
                return await engine.ask([*MESSAGES, {"role": "user", "content": str(sample)}], SCHEMA, sample)

        async with aclosing(Endpoint(address, timeout=60.0)) as endpoint:
            engine = OpenAIEngine(endpoint, "gpt-4o")
            return await asyncio.gather(*(one(engine, sample) for sample in range(times)))

    with annotating(behaviour) as address:
        return asyncio.run(run(address))


def test_a_reply_has_text_and_tokens() -> None:
    server = Behaviour(answer=lambda body: answer("joy"))
    [reply] = ask(server)
    assert reply.text == answer("joy")
    assert reply.prompt_tokens > 0 and reply.completion_tokens > 0
    [body] = server.bodies
    assert body["response_format"]["json_schema"] == {"name": "annotation", "schema": SCHEMA, "strict": True}
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("gpt-4o", 1.0, 500)


@pytest.mark.parametrize("failure", [429, 500, 503, "hang up", "cut", "nonsense"])
def test_a_call_with_a_temporary_failure_is_repeated(failure: int | str) -> None:
    server = Behaviour(failures=[failure])
    [reply] = ask(server)
    assert reply.text and server.calls == 2 and sum(server.answered.values()) == 1


def test_the_client_waits_as_long_as_retry_after_says() -> None:
    started = time.monotonic()
    ask(Behaviour(failures=[429], retry_after="1.2"))
    assert time.monotonic() - started >= 1.2


def test_every_request_takes_its_turn_and_tells_its_tokens() -> None:
    class Noting(Pace):
        turns: ClassVar[list[int]] = []
        corrected: ClassVar[list[int]] = []

        async def turn(self, tokens: int) -> None:
            self.turns.append(tokens)

        def correct(self, tokens: int) -> None:
            self.corrected.append(tokens)

    async def run(address: str) -> Reply:
        async with aclosing(Endpoint(address)) as endpoint:
            return await OpenAIEngine(endpoint, "m", pace=Noting()).ask(MESSAGES, SCHEMA, 0)

    with annotating(Behaviour(forms=())) as address:  # two of three requests are refused
        reply = asyncio.run(run(address))
    assert len(Noting.turns) == 3 and min(Noting.turns) > 110
    assert Noting.corrected == [reply.prompt_tokens + reply.completion_tokens - Noting.turns[-1]]


def test_a_server_that_counts_no_tokens_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    ask(Behaviour(shape=without("usage")), times=3)
    assert capsys.readouterr().err.count("does not count the tokens; they are counted by a rule") == 1


def test_many_calls_at_a_time_wait_for_a_server_with_a_rate_limit() -> None:
    """Twelve calls at a time against thirty answers a second: some are refused at first, and none fails."""
    server = Behaviour(rate=30.0)
    assert len(ask(server, times=60, at_once=12)) == 60
    assert server.refused > 0 and set(server.answered.values()) == {1}
    assert 59 / (server.last - server.first) <= 30 * 1.1


@pytest.mark.parametrize("lost", [2, 3])
def test_a_call_that_fails_while_others_succeed_is_repeated_twice(lost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate limit may have used up all tries but the last."""
    monkeypatch.setattr("melt_ser.annotation.endpoint.RETRIES", 0)
    server = Behaviour()

    async def run(address: str) -> Reply:
        async with aclosing(Endpoint(address)) as endpoint:
            engine = OpenAIEngine(endpoint, "gpt-4o")
            await engine.ask(MESSAGES, SCHEMA, 0)
            server.failures = ["hang up"] * lost
            ask_once = engine._ask

            async def while_others_succeed(*question: Any) -> Reply:
                engine.answered += 1
                return await ask_once(*question)

            monkeypatch.setattr(engine, "_ask", while_others_succeed)
            return await engine.ask(MESSAGES, SCHEMA, 1)

    with annotating(server) as address:
        if lost < 3:
            assert asyncio.run(run(address)).text
        else:
            with pytest.raises(CallFailed, match="Connection error"):
                asyncio.run(run(address))
    assert server.calls == 4


@pytest.mark.parametrize(("refusal", "refused"), [(400, 1), (422, 1), (500, 2)])
@pytest.mark.parametrize("forms", [("json_object",), ()])
def test_a_server_gets_the_schema_in_the_first_form_that_it_takes(
    forms: tuple[str, ...], refusal: int, refused: int
) -> None:
    server = Behaviour(forms=forms, refusal=refusal)
    ask(server, times=3)
    assert server.calls == 3 + refused * (2 - len(forms))
    [form] = map(json.loads, server.schemas)
    assert form == ({"type": "json_object", "schema": SCHEMA} if forms else None)


def test_a_server_that_fails_and_then_refuses_the_schema_is_asked_without_it() -> None:
    server = Behaviour(forms=(), failures=["hang up", "hang up"])
    [reply] = ask(server)
    assert reply.text and server.schemas == {"null"}


def test_a_filtered_first_question_teaches_nothing() -> None:
    server = Behaviour(forms=(), failures=[400], code="content_filter")
    filtered, answered = ask(server, times=2)
    assert filtered.finish == "content_filter" and answered.text


def test_a_refused_question_leaves_the_form_of_the_schema_unchanged() -> None:
    server = Behaviour(failures=[])

    async def run(address: str) -> None:
        async with aclosing(Endpoint(address)) as endpoint:
            engine = OpenAIEngine(endpoint, "gpt-4o")
            await engine.ask(MESSAGES, SCHEMA, 0)
            server.failures = [400]
            with pytest.raises(MeltSerError, match="something is wrong"):
                await engine.ask(MESSAGES, SCHEMA, 1)
            await engine.ask(MESSAGES, SCHEMA, 2)

    with annotating(server) as address:
        asyncio.run(run(address))
    assert "null" not in server.schemas


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        (Behaviour(key="sk-another"), r"refuses the key in \$OPENAI_API_KEY .*the header Bearer <key> is wrong"),
        (Behaviour(failures=[403]), r"refuses the key in \$OPENAI_API_KEY"),
        (Behaviour(failures=[404]), "correct --model or --base-url"),
        (Behaviour(failures=[429] * 99, code="insufficient_quota", retry_after="0.01"), "the quota is used up"),
    ],
)
def test_an_error_that_every_call_would_meet_is_a_sentence_with_the_fix(server: Behaviour, sentence: str) -> None:
    with pytest.raises(SetupError, match=sentence):
        ask(server)


def test_a_missing_server_is_a_sentence_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = OpenAIEngine(Endpoint("http://127.0.0.1:9/v1"), "gpt-4o")
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("anyio.sleep", wait)  # of the client, between two tries
    with pytest.raises(SetupError, match=r"http://127.0.0.1:9/v1: Connection error: .*connect.*; start it, or correct"):
        asyncio.run(engine.ask(MESSAGES, SCHEMA, 0))
    assert 0 < sum(waits) < 20  # ten tries take most of a minute


@pytest.mark.parametrize(
    ("address", "variable", "value", "sentence"),
    [
        (None, "OPENAI_API_KEY", "", "set the environment variable OPENAI_API_KEY"),
        ("http://127.0.0.1:9/v1", "MY_KEY", "", "set the environment variable MY_KEY"),
        ("127.0.0.1:9", "OPENAI_API_KEY", KEY, "is an address such as http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:99999/v1", "OPENAI_API_KEY", KEY, "is an address such as http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:x/v1", "OPENAI_API_KEY", KEY, "is an address such as http://127.0.0.1:8000/v1"),
        ("http://[::1", "OPENAI_API_KEY", KEY, "is an address such as http://127.0.0.1:8000/v1"),
        ("http://:80/v1", "OPENAI_API_KEY", KEY, "is an address such as http://127.0.0.1:8000/v1"),
        (f"http://me:{KEY}@127.0.0.1:9/v1", "OPENAI_API_KEY", "", "put the key into .OPENAI_API_KEY instead"),
        (f"http://127.0.0.1:9/v1?key={KEY}", "OPENAI_API_KEY", "", "put the key into .OPENAI_API_KEY instead"),
        (None, "OPENAI_API_KEY", KEY[:9] + "\n" + KEY[9:], "does not hold a valid key"),
    ],
)
def test_an_invalid_address_or_key_is_a_sentence(
    address: str | None, variable: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SetupError, match=sentence) as raised:
        Endpoint(address, variable)
    assert KEY not in str(raised.value) and KEY[9:] not in str(raised.value)


def test_a_server_of_ones_own_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert ask(Behaviour(key=None))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 422, 429, 500])
def test_no_error_shows_the_key(status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The server repeats the key in its message, and logging is at its most verbose."""
    monkeypatch.setattr("melt_ser.annotation.endpoint.RETRIES", 0)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(MeltSerError) as raised:
        ask(Behaviour(failures=[status] * 9, message=f"The key {KEY} does not please me"))
    assert "<key> does not please me" in str(raised.value)
    shown = "".join(traceback.format_exception(raised.value))
    assert KEY not in shown + str(raised.value) + caplog.text


def test_no_answer_shows_the_key() -> None:
    [reply] = ask(Behaviour(answer=lambda body: answer("joy", rhythm_speed=KEY)))
    assert KEY not in reply.text and "<key>" in reply.text


def test_a_word_too_short_for_a_secret_stays_in_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "joy")
    [reply] = ask(Behaviour(key="joy", answer=lambda body: answer("joy")))
    assert reply.text == answer("joy")


def test_a_missing_openai_package_is_a_sentence() -> None:
    code = (
        "import sys; sys.modules['openai'] = None\n"
        "from melt_ser.annotation.openai_engine import Endpoint\n"
        "from melt_ser.core.errors import SetupError\n"
        "try: Endpoint()\n"
        "except SetupError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.stdout == "This engine needs the openai package: pip install 'melt-ser[annotate]'.\n"
