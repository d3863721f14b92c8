"""A job stops at its limits of money and tokens, loses nothing by it, and goes on when they are raised."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from annotation_behaviours import ended, message, without
from annotation_server import Behaviour, annotating
from melt_ser.annotation.answering import GIVE_UP, AnnotationProgress, answer_all
from melt_ser.annotation.batch import Batches
from melt_ser.annotation.cost import Estimate, Price
from melt_ser.annotation.dialect import ANSWER_LIMIT, THINKING_LIMIT, Options
from melt_ser.annotation.endpoint import Endpoint
from melt_ser.annotation.job import Failure, Job, labelled_lines, open_calls, unanswered
from melt_ser.annotation.journal import Journal, Spent, open_journal
from melt_ser.annotation.openai_engine import OpenAIEngine
from melt_ser.annotation.prompts import load_prompt
from melt_ser.annotation.purse import Purse, purse_for
from melt_ser.annotation.token_counts import BY_RULE
from melt_ser.core.errors import SetupError
from melt_ser.corpora.lines import Line

CENT = Price(0.0, 10_000.0)  # US$ for a million tokens, so that each token of an answer costs a cent


def job(many: int = 24, **more: object) -> Job:
    lines = [Line(f"u{n}", f"Line {n}.", "Ross", "", "", "", n, None, "", {}) for n in range(many)]
    return Job(lines, {}, load_prompt("melt"), "m", 1.0, **more)  # type: ignore[arg-type]


def annotate(server: Behaviour, asked: Job, journal: Journal, purse: Purse | None = None) -> list[Failure]:
    """Return the failures of a job that asks four calls at a time."""

    async def run(address: str) -> list[Failure]:
        async with aclosing(Endpoint(address)) as endpoint:
            options = Options(asked.temperature, asked.max_tokens)
            progress = AnnotationProgress(len(asked), 0, purse or Purse())
            return await answer_all(asked, OpenAIEngine(endpoint, "m", options), journal, 4, progress)

    with annotating(server) as address:
        return asyncio.run(run(address))


def tokens(count: int) -> Behaviour:
    """Return a server whose answers have so many tokens."""
    counts = {"prompt_tokens": 1, "completion_tokens": count}
    return Behaviour(shape=lambda completion: {**completion, "usage": counts}, seconds=0.01)


def test_a_job_stops_before_the_limit_is_exceeded_and_goes_on_with_the_rest(journal: Journal) -> None:
    server, asked = tokens(10), job()
    purse = Purse(CENT, limit=1.0)  # for ten answers
    with pytest.raises(SetupError, match=r"US\$ 1\.00 is spent, and the limit is US\$ 1\.00: 14 calls are missing"):
        annotate(server, asked, journal, purse)
    assert server.calls == 10 and sum(1 for _ in open_calls(asked, journal)) == 14
    assert annotate(server, asked, journal, Purse(CENT, limit=9.0)) == []
    assert server.calls == 24


def test_the_first_answer_shows_that_answers_are_dearer_than_estimated(journal: Journal) -> None:
    """Four calls at a time at a quarter of the limit each would otherwise cost twice the limit."""
    server, purse = tokens(50), Purse(CENT, limit=1.2, each=0.01)
    with pytest.raises(SetupError, match=r"US\$ 1\.00 is spent, and the limit is US\$ 1\.20: 22 calls are missing"):
        annotate(server, job(), journal, purse)
    assert server.calls == 2


def test_calls_wait_for_those_under_way_if_the_limit_may_not_hold_for_all(journal: Journal) -> None:
    """The first answer is dear, so that only two more seem to fit in; but the others cost nothing."""
    counts = iter([30] + [0] * 99)
    server = Behaviour(
        shape=lambda completion: {**completion, "usage": {"prompt_tokens": 0, "completion_tokens": next(counts)}},
        seconds=0.01,
    )
    assert annotate(server, job(), journal, Purse(CENT, limit=1.0)) == []


def test_the_last_answer_that_the_limit_allows_ends_the_job_well(journal: Journal) -> None:
    assert annotate(tokens(10), job(10), journal, Purse(CENT, limit=1.0)) == []


def test_a_server_without_counts_is_counted(journal: Journal) -> None:
    purse = Purse(CENT)
    annotate(Behaviour(shape=without("usage")), job(2), journal, purse)
    assert purse.spent > 0.5  # about 40 tokens an answer
    assert journal.spent("m", load_prompt("melt").version).prompt_tokens > 200


def test_thoughts_count_as_tokens_if_the_server_counts_none(journal: Journal) -> None:
    short, long = Purse(CENT), Purse(CENT)
    annotate(Behaviour(shape=without("usage")), job(1), journal, short)
    thoughtful = message(reasoning="Let me see. " * 100)
    server = Behaviour(shape=lambda completion: without("usage")(thoughtful(completion)))
    annotate(server, job(1, samples=2), journal, long)
    assert long.spent > short.spent + 2.5


def test_consent_to_an_estimate_above_the_limit_allows_twice_the_estimate() -> None:
    estimate = Estimate(BY_RULE, 0, 110, Spent(20, 2_000_000, 0, None), calls=4, prompt_tokens=4_000_000)
    dollar = Price(1.0, 0.0)  # a million tokens
    assert purse_for(estimate, dollar, 5.0).limit == 5.0
    assert purse_for(estimate, dollar, 1.0).limit == 8.0
    assert (purse_for(estimate, dollar, 1.0).before, purse_for(estimate, dollar, 1.0).each) == (2.0, 1.0)
    assert purse_for(estimate, None, 1.0).limit == float("inf")


def test_batches_stop_at_the_limit_too(journal: Journal) -> None:
    async def run(address: str, limit: float) -> list[Failure]:
        async with aclosing(Endpoint(address)) as endpoint:
            progress = AnnotationProgress(24, 0, Purse(CENT, limit, each=0.1))
            return await Batches(replace(asked, address=""), endpoint, journal, 5, 1, 0.01, progress).answer_all()

    server, asked = tokens(10), job()
    with annotating(server) as address:
        with pytest.raises(SetupError, match=r"US\$ 1\.20 is spent, and the limit is US\$ 1\.20: 12 calls are missing"):
            asyncio.run(run(address, 1.2))
        assert len(server.batches) == 3  # of five, five and two
        assert asyncio.run(run(address, 9.0)) == []


def test_a_model_that_thinks_gets_more_tokens_after_one_answer_alone(journal: Journal) -> None:
    server, asked = Behaviour(needs=3_000), job()
    assert annotate(server, asked, journal) == []
    assert server.calls == 24 + 1  # the first question goes alone
    limits = [body["max_tokens"] for body in server.bodies]
    assert set(limits) == {THINKING_LIMIT} and journal.has_seen_thinking("m", asked.prompt.version)


def test_answers_that_the_limit_cuts_are_asked_again_once_it_is_higher(journal: Journal) -> None:
    server, asked = Behaviour(needs=3_000), job(3, max_tokens=1_000)
    annotate(server, asked, journal)
    told = unanswered(asked, journal, [])
    assert "3 of 3 calls have no readable answer (3 truncated while thinking): u0 (The model was cut at 1,000" in told
    annotate(server, asked, journal)
    assert server.calls == 3  # nothing is paid again for the same cut
    annotate(server, replace(asked, max_tokens=4_000), journal)
    assert server.calls == 6 and unanswered(asked, journal, []) == ""
    entry = journal.find(next(asked.calls()).name)
    assert entry is not None and entry.rounds == 1 and entry.completion_tokens > 0


def test_a_cut_answer_is_not_repaired_and_a_higher_limit_asks_anew(journal: Journal) -> None:
    server, asked = Behaviour(shape=ended("length", content=lambda text: text[:50])), job(2)
    annotate(server, asked, journal)
    assert server.calls == 2
    assert [line.reason for line in labelled_lines(asked, journal, {})] == ["truncated"] * 2
    server.shape = dict
    assert annotate(server, replace(asked, max_tokens=ANSWER_LIMIT + 1), journal) == []
    assert all(len(body["messages"]) == 2 for body in server.bodies)  # without the cut answer


def test_a_job_whose_answers_are_all_cut_stops_and_keeps_the_calls_under_way(journal: Journal) -> None:
    server, asked = Behaviour(needs=10**6, seconds=0.01), job(60)
    with pytest.raises(SetupError, match=f"{GIVE_UP} answers in a row were cut at the limit of tokens; give a higher"):
        annotate(server, asked, journal)
    assert server.calls < 30
    count = journal.connection.execute("SELECT count(*) FROM answers").fetchone()[0]
    assert count == server.calls - 1  # the first was asked twice


def test_batches_give_a_model_that_thinks_more_tokens_in_the_next_round(journal: Journal) -> None:
    async def run(address: str) -> list[Failure]:
        async with aclosing(Endpoint(address)) as endpoint:
            progress = AnnotationProgress(4, 0, Purse())
            return await Batches(job(4), endpoint, journal, 9, 1, 0.01, progress).answer_all()

    server = Behaviour(needs=3_000)
    with annotating(server) as address:
        assert asyncio.run(run(address)) == []
    assert len(server.batches) == 2 and unanswered(job(4), journal, []) == ""


def test_an_old_journal_resumes_and_its_cut_answers_are_known_as_such(tmp_path: Path) -> None:
    """The tables are those of the version before this one."""
    asked, path = job(4), tmp_path / "old.sqlite"
    names = [call.name for call in asked.calls()]
    old = sqlite3.connect(path)
    old.executescript("""
        PRAGMA application_id = 0x4D454C54;
        CREATE TABLE answers (call TEXT PRIMARY KEY, utterance TEXT NOT NULL, sample INTEGER NOT NULL,
            model TEXT NOT NULL, prompt TEXT NOT NULL, prompt_version TEXT NOT NULL, temperature REAL NOT NULL,
            text TEXT NOT NULL, problem TEXT, rounds INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
            completion_tokens INTEGER NOT NULL, probabilities TEXT, seconds REAL,
            arrived TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))) WITHOUT ROWID;
        CREATE TABLE batches (batch TEXT PRIMARY KEY, id TEXT, model TEXT NOT NULL, prompt_version TEXT NOT NULL,
            temperature REAL NOT NULL) WITHOUT ROWID;
        CREATE TABLE submitted (call TEXT PRIMARY KEY, utterance TEXT NOT NULL, sample INTEGER NOT NULL,
            batch TEXT NOT NULL REFERENCES batches(batch) ON DELETE CASCADE) WITHOUT ROWID;
        """)
    rows = [('{"emotion": "joy"}', None, 1, 50), ("", "no JSON", 2, 1_000), ("I think", "no JSON", 2, 40)]
    for number, (text, problem, rounds, completion_tokens) in enumerate(rows):
        values = (names[number], f"u{number}", 0, "m", "melt", asked.prompt.version, 1.0, text, problem, rounds, 9)
        old.execute(
            "INSERT INTO answers (call, utterance, sample, model, prompt, prompt_version, temperature, text, problem, "
            f"rounds, prompt_tokens, completion_tokens) VALUES ({', '.join('?' * 12)})",
            (*values, completion_tokens),
        )
    old.execute("INSERT INTO batches VALUES ('b', 'batch_1', 'm', ?, 1.0)", (asked.prompt.version,))
    old.execute("INSERT INTO submitted VALUES (?, 'u3', 0, 'b')", (names[3],))
    old.commit()
    old.close()
    elsewhere = replace(asked, address="http://127.0.0.1:8000/v1")
    for same in (asked, elsewhere):  # an old journal does not know the server, so its answers count for each
        with open_journal(path) as journal:
            assert [call.utterance for call in open_calls(same, journal)] == ["u1"]
            reasons = [line.reason for line in labelled_lines(same, journal, {})]
            assert reasons == ["", "truncated while thinking", "unreadable", "in a batch"]
            assert journal.batches(same.settings) == [("b", "batch_1", None)]
