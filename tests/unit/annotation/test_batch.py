"""The Batch API: each batch begins once and is collected once, whatever is lost, forgotten or refused on the way."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from openai import APITimeoutError

from annotation_jobs import TEXTS, job, labels
from annotation_server import KEY, Behaviour, annotating
from melt_ser.annotation.answering import AnnotationProgress
from melt_ser.annotation.batch import Batches
from melt_ser.annotation.bounded_client import BoundedClient
from melt_ser.annotation.cost import Price, estimate_job
from melt_ser.annotation.endpoint import Endpoint
from melt_ser.annotation.job import Failure, Job, adopt, open_calls, without_answer
from melt_ser.annotation.journal import Journal
from melt_ser.annotation.purse import Purse, purse_for
from melt_ser.annotation.token_counts import BY_RULE
from melt_ser.core.errors import SetupError


def batches(
    server: Behaviour, asked: Job, journal: Journal, requests: int = 10, purse: Purse | None = None
) -> list[Failure]:
    """Return the failures of a job by the Batch API, two batches at a time."""
    progress = AnnotationProgress(len(asked), 0, purse or Purse())

    async def run(address: str) -> list[Failure]:
        async with aclosing(Endpoint(address)) as endpoint:
            return await Batches(asked, endpoint, journal, requests, 2, 0.01, progress).answer_all()

    with annotating(server) as address:
        return asyncio.run(run(address))


def test_batches_answer_each_line_once(journal: Journal) -> None:
    server, asked = Behaviour(failing=0.2, malformed=0.2, batch_polls=3), job()
    assert batches(server, asked, journal) == []
    assert len(labels(asked, journal)) == 24 and set(server.answered.values()) == {1}
    requests = [json.loads(line) for line in server.files["file-0"].splitlines()]
    assert len(requests) == 10 and len({request["custom_id"] for request in requests}) == 10
    assert requests[0]["body"]["response_format"]["json_schema"]["strict"] is True


def test_a_batch_under_way_is_collected_not_submitted_again(journal: Journal) -> None:
    server, asked = Behaviour(), job(TEXTS[:4])
    server.poll_status = 418
    with pytest.raises(SetupError, match="something is wrong; the same command continues"):  # stops while it waits
        batches(server, asked, journal)
    assert len(server.batches) == 1 and list(open_calls(asked, journal)) == []
    server.poll_status = None
    assert batches(server, asked, journal) == []
    assert len(server.batches) == 1 and len(labels(asked, journal)) == 4


@pytest.mark.parametrize("earlier", ["http://127.0.0.1:1/v1", None])
def test_a_batch_that_was_sent_to_an_earlier_or_unknown_address_is_collected(
    earlier: str | None, journal: Journal
) -> None:
    """Journals of earlier versions do not know the address, nor does the name of a call there."""
    server, asked = Behaviour(), replace(job(TEXTS[:4]), address=earlier or "")
    server.poll_status = 418
    with pytest.raises(SetupError):
        batches(server, asked, journal)
    server.poll_status = None
    moved = replace(asked, address="http://127.0.0.1:2/v1")
    if earlier is None:
        journal.connection.execute("UPDATE batches SET address = NULL")
    else:
        adopt(moved, earlier, journal)
    assert batches(server, moved, journal) == []
    assert len(server.batches) == 1 and len(labels(moved, journal)) == 4
    assert list(open_calls(moved, journal)) == []


def test_a_submitted_batch_that_a_kill_left_unnoted_is_found_on_the_server(journal: Journal) -> None:
    server, asked = Behaviour(), job(TEXTS[:4])
    planned = [(call.name, call.utterance, call.sample) for call in asked.calls()]
    journal.plan_batch("ours", asked.settings, planned)
    lines = []
    for call in asked.calls():
        body = {"model": "gpt-4o", "messages": call.messages}
        lines.append(json.dumps({"custom_id": call.name, "body": body}))
    server.files["file-x"] = "\n".join(lines).encode()
    server.batches["batch-x"] = {
        "id": "batch-x", "object": "batch", "status": "in_progress", "polls": 0, "created_at": 0,
        "input_file_id": "file-x", "metadata": {"melt_ser": "ours"},
    }  # fmt: skip
    journal.plan_batch("never", asked.settings, [])
    assert batches(server, asked, journal) == []
    assert list(server.batches) == ["batch-x"] and len(labels(asked, journal)) == 4


@pytest.mark.parametrize("lost", ["the batch", "its answers"])
def test_calls_of_a_batch_that_the_server_has_forgotten_are_asked_again(
    lost: str, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    server, asked = Behaviour(), job(TEXTS[:4])
    server.poll_status = 418
    with pytest.raises(SetupError, match="something is wrong"):  # stops while it waits
        batches(server, asked, journal)
    server.poll_status = None
    if lost == "the batch":
        server.batches.clear()
    else:
        server.batches["batch-0"] |= {"status": "completed", "output_file_id": "file-gone"}
    assert batches(server, asked, journal) == []
    assert len(labels(asked, journal)) == 4 and set(server.answered.values()) == {1}
    assert "its 4 unanswered calls count as not asked, and are asked again" in capsys.readouterr().err


def test_a_server_that_forgets_every_batch_is_not_asked_for_ever(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(server: Behaviour, batch: dict[str, Any]) -> None:
        batch["output_file_id"] = "file-gone"

    monkeypatch.setattr(Behaviour, "_compute", forget)
    server = Behaviour()
    assert len(batches(server, job(TEXTS[:4]), journal)) == 4 and len(server.batches) == 1


def test_calls_of_a_forgotten_batch_keep_to_the_limit(journal: Journal) -> None:
    server, asked = Behaviour(poll_status=418), job(TEXTS[:4])
    with pytest.raises(SetupError, match="something is wrong"):
        batches(server, asked, journal)
    server.poll_status = None
    server.batches.clear()
    estimate = estimate_job(asked, journal, BY_RULE)
    with pytest.raises(SetupError, match="4 calls are missing"):
        batches(server, asked, journal, purse=purse_for(estimate, Price(0.0, 1000.0), 0.05))
    assert not server.answered


def test_a_batch_is_not_forgotten_at_an_address_without_batches(journal: Journal) -> None:
    server, asked = Behaviour(poll_status=418), job(TEXTS[:4])
    with pytest.raises(SetupError, match="something is wrong"):
        batches(server, asked, journal)
    with pytest.raises(SetupError, match=r"does not know this model or address .*; correct --model or --base-url"):
        batches(Behaviour(no_batches=True), asked, journal)
    server.poll_status = None
    assert batches(server, asked, journal) == [] and len(server.batches) == 1


def test_an_expired_batch_gives_its_answers_and_the_rest_is_submitted_again(journal: Journal) -> None:
    server, asked = Behaviour(batch_ends=["expired"]), job()
    assert batches(server, asked, journal, requests=50) == []
    assert len(server.batches) == 2 and set(server.answered.values()) == {1}


def test_a_refused_or_cancelled_batch_is_a_sentence(journal: Journal) -> None:
    with pytest.raises(SetupError, match=r"refuses batch batch-0 \(something is wrong\).*--batch-requests"):
        batches(Behaviour(batch_ends=["failed"]), job(), journal, requests=50)
    with pytest.raises(SetupError, match="Batch batch-0 was cancelled; the same command submits its unanswered calls"):
        batches(Behaviour(batch_ends=["cancelled"]), job(), journal, requests=50)


def test_calls_that_no_batch_answers_are_counted_with_the_reason(journal: Journal) -> None:
    server = Behaviour(batch_fails=True, message=f"no, {KEY}")
    failures = batches(server, job(TEXTS[:2]), journal)
    assert [(failure.utterance, failure.reason) for failure in failures] == [
        ("dia0_utt0", "no, <key>"),
        ("dia0_utt1", "no, <key>"),
    ]
    assert len(server.batches) == 1


@pytest.mark.parametrize("listed_at_once", [True, False])
def test_a_batch_begins_once_if_the_connection_is_lost(
    listed_at_once: bool, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, sleep = Behaviour(batch_lost=1, batches_listed=listed_at_once), asyncio.sleep

    async def meanwhile(seconds: float) -> None:
        server.batches_listed = True
        await sleep(seconds)

    monkeypatch.setattr("melt_ser.annotation.batch.asyncio.sleep", meanwhile)
    assert batches(server, job(TEXTS[:4]), journal) == []
    assert len(server.batches) == 1


def test_a_broken_download_of_a_batch_is_repeated_and_foreign_lines_are_ignored(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = Behaviour._compute

    def with_garbage(server: Behaviour, batch: dict[str, Any]) -> None:
        compute(server, batch)
        server.files[batch["output_file_id"]] += b'\n\nno row\n[1]\n{}\n{"custom_id": "of another"}\n'

    monkeypatch.setattr(Behaviour, "_compute", with_garbage)
    server, asked = Behaviour(file_cuts=1), job(TEXTS[:4])
    assert batches(server, asked, journal) == []
    assert len(server.batches) == 1 and len(labels(asked, journal)) == 4


def test_a_look_at_a_batch_that_times_out_is_repeated_once(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    send, late = BoundedClient.send, ["one look"]

    async def send_in_time(client: BoundedClient, request: Any, **options: Any) -> Any:
        if "/batches/" in request.url.path and late:
            late.pop()
            raise APITimeoutError(request=request)
        return await send(client, request, **options)

    monkeypatch.setattr(BoundedClient, "send", send_in_time)
    server = Behaviour()
    assert batches(server, job(TEXTS[:2]), journal) == []
    assert len(server.batches) == 1 and not late


@pytest.mark.parametrize("refuses", ["temperature", "max_tokens"])
def test_what_a_server_refuses_in_a_batch_is_left_out_of_the_next(refuses: str, journal: Journal) -> None:
    server, asked = Behaviour(refuses=(refuses,)), job(TEXTS[:4])
    assert batches(server, asked, journal) == []
    assert len(server.batches) == 2 and set(server.answered.values()) == {1}
    entry = journal.find(next(asked.calls()).name)
    assert entry is not None and entry.temperature == ("left out" if refuses == "temperature" else 1.0)


def test_a_filtered_question_of_a_batch_is_final(journal: Journal) -> None:
    server, asked = Behaviour(batch_fails=True, code="content_filter", batch_status=400), job(TEXTS[:2])
    assert batches(server, asked, journal) == []
    assert [failure.word for failure in without_answer(asked, journal)] == ["filtered"] * 2
    assert len(server.batches) == 1
