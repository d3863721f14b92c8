"""Write, submit, poll and collect batches of the Batch API (half the price, within a day). A kill loses no batch.

The journal notes a batch before it is submitted, under a name of ours that is sent along as metadata. If the process is
killed in between, the next process finds the batch on the server by that name and collects it. Nothing is submitted,
or paid, twice.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from melt_ser.annotation.answering import AnnotationProgress, all_of
from melt_ser.annotation.completions import read_json
from melt_ser.annotation.cost import answer_tokens
from melt_ser.annotation.dialect import (
    ANSWER_LIMIT,
    MALFORMED,
    THINKING_LIMIT,
    Dialect,
    Options,
    Refusal,
    first_dialect,
)
from melt_ser.annotation.endpoint import RETRIES, Endpoint, finish_in
from melt_ser.annotation.engines import CallFailed, Reply
from melt_ser.annotation.job import Call, Failure, Job, entry_of, open_calls
from melt_ser.annotation.journal import Batch, Journal
from melt_ser.annotation.reasons import THINKING
from melt_ser.annotation.token_counts import BY_RULE, TokenCounter
from melt_ser.core.console import say
from melt_ser.core.counting import counted
from melt_ser.core.errors import SetupError

Result = TypeVar("Result")
ENDED = ("completed", "expired", "cancelled")  # each leaves the answers up to then in the file of answers
METADATA_KEY = "melt_ser"  # the key of our batch name in the metadata of a batch


class Forgotten(Exception):
    """The server has no such batch, or not its answers any more."""


class Batches:
    """The batches of one job.

    Args:
        job: the calls to make.
        endpoint: the server.
        journal: notes batches and answers.
        requests: calls in each batch.
        concurrency: batches under way at a time.
        poll: seconds between two checks of a batch.
        progress: counts the answers, and the money.
        options: the user's choices.
        counter: counts the tokens if the server does not.
        limit: tokens of an answer to begin with, if the options have no `max_tokens`.
    """

    def __init__(
        self,
        job: Job,
        endpoint: Endpoint,
        journal: Journal,
        requests: int,
        concurrency: int,
        poll: float,
        progress: AnnotationProgress,
        options: Options | None = None,
        counter: TokenCounter = BY_RULE,
        limit: int = ANSWER_LIMIT,
    ) -> None:
        self.job = job
        self.endpoint = endpoint
        self.journal = journal
        self.requests = requests
        self.concurrency = concurrency
        self.poll = poll
        self.progress = progress
        self.options = options or Options()
        self.counter = counter
        self.limit = self.options.max_tokens or limit
        self.dialect = first_dialect(endpoint.official)  # what the server takes, as far as it has refused
        self._sent: dict[str, Dialect] = {}  # by our name of a batch
        self.answered = self.forgotten = 0  # calls, and batches of an earlier process
        self.reasons: dict[str, str] = {}  # why a call got no answer, by the call's name

    async def answer_all(self) -> list[Failure]:
        """Collect submitted batches and submit open calls, until no call is open or a round answers and learns nothing.

        Return the calls without an answer. Raises SetupError if the server fails or refuses a batch, the batch was
        cancelled, or the money is spent.
        """
        self.journal.rename(((call.former, call.name) for call in self.job.calls() if call.former), answered=False)
        while True:
            before = self._done
            waiting = iter(self.journal.batches(self.job.settings))
            calls = open_calls(self.job, self.journal)
            try:
                await all_of([self._work(waiting, calls) for _ in range(self.concurrency)])
            except CallFailed as error:
                raise SetupError(
                    f"{str(error).rstrip('.')}; the same command continues with the missing calls."
                ) from None
            unanswered = [
                Failure(call.utterance, call.sample, self.reasons.get(call.name, "no answer"))
                for call in open_calls(self.job, self.journal)
            ]
            if unanswered and not self.progress.purse.allows():
                raise self.progress.purse.is_empty(len(unanswered))
            if not unanswered or self._done == before:
                return unanswered

    @property
    def _done(self) -> tuple[object, ...]:
        """What a round may change; if it changes nothing, another one would not either."""
        return self.answered, self.forgotten, self.dialect, self.limit

    async def _work(self, waiting: Iterator[Batch], calls: Iterator[Call]) -> None:
        """Do one batch after another: first those of an earlier process, then new ones, as far as the money goes."""
        for batch in waiting:
            server_name = batch.identity or await self._find(batch.name)
            if server_name is None:  # the earlier process was killed before it submitted the batch
                self.journal.batch_done(batch.name)
            else:
                self.journal.batch_submitted(batch.name, server_name)
                say(f"batch {server_name} was submitted before; waiting for it")
                self.forgotten += not await self._collect(batch._replace(identity=server_name), server_name)
        purse = self.progress.purse
        if not purse.each and (call := next(open_calls(self.job, self.journal), None)) is not None:
            usual = answer_tokens(self.job.prompt.fields, self.counter)
            purse.expect(self.counter.of_messages(call.question()), usual)
        while chunk := list(islice(calls, int(min(self.requests, purse.room())))):
            with purse.call_under_way(len(chunk)):
                batch = Batch(uuid.uuid4().hex, None, self.limit)
                planned = [(call.name, call.utterance, call.sample) for call in chunk]
                self.journal.plan_batch(batch.name, self.job.settings, planned, self.limit)
                self._sent[batch.name] = self.dialect
                await self._collect(batch, await self._submit(batch.name, chunk))

    async def _find(self, batch: str) -> str | None:
        """Return the server's name of a planned batch; None if it was never submitted."""
        with self.endpoint.translated_errors():
            async for listed in self.endpoint.client.batches.list(limit=100):
                if (listed.metadata or {}).get(METADATA_KEY) == batch:
                    return listed.id
        return None

    async def _forget(self, batch: str, server_name: str) -> None:
        """Count the calls of a batch as not asked. Raises SetupError if the server has no batches at all."""
        await self._find(batch)
        unanswered = self.journal.batch_done(batch)
        say(
            f"note: {self.endpoint.address} has batch {server_name} or its answers no longer, or not for this key; its "
            f"{unanswered:,} unanswered calls count as not asked, and are asked again"
        )

    async def _known(self, ask: Callable[[], Awaitable[Result]]) -> Result:
        """Return what a request about a batch returns, repeated once. Raises Forgotten for a status of 404."""
        import openai

        with self.endpoint.translated_errors():
            try:
                return await self.endpoint.twice(ask)
            except openai.NotFoundError:
                raise Forgotten from None

    async def _submit(self, batch: str, calls: list[Call]) -> str:
        """Upload the calls, begin the batch, and return the server's name for it."""
        with tempfile.TemporaryDirectory() as folder, self.endpoint.translated_errors():
            path = Path(folder) / "annotate.jsonl"
            with path.open("w", encoding="utf-8") as file:
                for call in calls:
                    body = self.dialect.body(
                        self.job.model, call.question(), self.job.prompt.schema, self.options, self.limit
                    )
                    request = {"custom_id": call.name, "method": "POST", "url": "/v1/chat/completions", "body": body}
                    file.write(json.dumps(request) + "\n")
            uploaded = await self.endpoint.twice(lambda: self.endpoint.client.files.create(file=path, purpose="batch"))
        identity = await self._create(batch, uploaded.id)
        self.journal.batch_submitted(batch, identity)
        say(f"batch {identity} is submitted with {counted(len(calls), 'call')}; a stopped command goes on with it")
        return identity

    async def _create(self, batch: str, file: str) -> str:
        """Begin a batch once, even if the connection is lost before the server confirms it."""
        client = self.endpoint.client.with_options(max_retries=0)
        attempts = 0
        while True:
            try:
                with self.endpoint.translated_errors():
                    made = await client.batches.create(
                        input_file_id=file,
                        endpoint="/v1/chat/completions",
                        completion_window="24h",
                        metadata={METADATA_KEY: batch},
                    )
                return made.id
            except CallFailed:
                await asyncio.sleep(self.poll)  # a busy server lists a batch some time after it was asked for it
                server_name = await self._find(batch)
                if server_name is not None:
                    return server_name
                attempts += 1
                if attempts == RETRIES:
                    raise

    async def _collect(self, batch: Batch, identity: str) -> bool:
        """Write the answers of a batch into the journal once it has ended; return whether the server still has it."""
        try:
            await self._read_ended(batch, identity)
        except Forgotten:
            await self._forget(batch.name, identity)
            return False
        return True

    async def _read_ended(self, batch: Batch, identity: str) -> None:
        """Wait until a batch has ended, and write its answers into the journal."""
        while True:
            state = await self._known(lambda: self.endpoint.client.batches.retrieve(identity))
            if state.status == "failed":
                self.journal.batch_done(batch.name)
                messages = "; ".join(str(error.message) for error in (state.errors and state.errors.data) or [])
                raise SetupError(
                    f"The server refuses batch {identity} ({self.endpoint.hide(messages) or 'no reason given'}); if it "
                    f"is too much at a time, give a smaller --batch-requests and --concurrency 1."
                )
            if state.status in ENDED:
                break
            await asyncio.sleep(self.poll)
        for file in (state.output_file_id, state.error_file_id):
            if file is not None:
                await self._read(batch, file)
        self.journal.batch_done(batch.name)
        if state.status == "cancelled":
            raise SetupError(f"Batch {identity} was cancelled; the same command submits its unanswered calls.")

    async def _read(self, batch: Batch, file: str) -> None:
        """Write the answers in a file of the server into the journal, and keep the reasons of the failed calls."""
        # not streamed, so that the client repeats a broken download
        content = await self._known(lambda: self.endpoint.client.files.content(file))
        for line in content.content.splitlines():
            row = _row(line)
            if row is not None:
                self._take(batch, row)

    def _take(self, batch: Batch, row: dict[str, Any]) -> None:
        """Write one row of a file of answers into the journal."""
        submitted = self.journal.submitted(row["custom_id"], batch.name)
        if submitted is None:  # an earlier process wrote it into the journal before it was killed
            return
        call = Call(*submitted, messages=[], before=self.journal.find(submitted[0]))
        response = _mapping(row.get("response"))
        error = _mapping(row.get("error")) or _mapping(_mapping(response.get("body")).get("error"))
        reply = self.endpoint.reply(response.get("body"), call.messages, self.counter)
        finish = finish_in(f"{error.get('code')} {error.get('message')}")
        if reply is None and finish is not None:
            reply = Reply("", 0, 0, finish=finish)
        if reply is None:
            self._learn(batch, call.name, response.get("status_code"), error)
            return
        sent = self._sent.get(batch.name, self.dialect)
        reply = replace(reply, max_tokens=batch.max_tokens, temperature_sent=sent.temperature)
        entry = entry_of(self.job, call, reply)
        self.journal.record(entry)
        self.answered += 1
        self.progress.count(reply)
        if self.job.is_final(entry):
            self.progress.advance()
        elif entry.reason == THINKING:
            self.limit = max(self.limit, self.options.max_tokens or THINKING_LIMIT)

    def _learn(self, batch: Batch, call: str, status: Any, error: dict[str, Any]) -> None:
        """Keep the reason of a call without an answer; leave out what the server refuses by name in the next round."""
        sentence = self.endpoint.hide(str(error.get("message") or status))
        self.reasons[call] = sentence
        sent = self._sent.get(batch.name, self.dialect)
        named = Refusal(None, str(error.get("param") or error.get("message") or ""), sentence)
        simpler = sent.without(named, self.options) if status in MALFORMED else None
        self.dialect = simpler or self.dialect


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _row(line: bytes) -> dict[str, Any] | None:
    """Return the row in a line of a file of answers; None for anything else, so that its call stays open."""
    try:
        row = read_json(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("custom_id"), str) else None
