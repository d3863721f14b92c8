"""The Batch API, at half the price within a day: write, submit, poll, collect; a killed process loses no batch.

A batch is noted in the journal before it is submitted, under a name of ours that goes with it as metadata. So a process
that is killed between the two finds it again on the server, and what is paid is collected, never submitted twice.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from melt_ser.annotation.engines import CallFailed, Reply
from melt_ser.annotation.job import Call, Failure, Job, all_of, entry_of, is_final, open_calls
from melt_ser.annotation.journal import Journal
from melt_ser.annotation.openai_engine import RETRIES, Endpoint
from melt_ser.annotation.progress import AnnotationProgress
from melt_ser.core.console import say
from melt_ser.core.errors import SetupError

ENDED = ("completed", "expired", "cancelled")  # with what was done until then in the file of answers
MARK = "melt_ser"  # the key of a batch's metadata that holds our name of it


class Batches:
    """The batches of one job: `requests` calls in each, `concurrency` of them under way, looked at each `poll` s."""

    def __init__(
        self,
        job: Job,
        endpoint: Endpoint,
        journal: Journal,
        requests: int,
        concurrency: int,
        poll: float,
        progress: AnnotationProgress,
    ) -> None:
        self.job = job
        self.endpoint = endpoint
        self.journal = journal
        self.requests = requests
        self.concurrency = concurrency
        self.poll = poll
        self.progress = progress
        self.answered = 0
        self.reasons: dict[str, str] = {}  # why a call is not answered, by its name

    async def answer_all(self) -> list[Failure]:
        """Collect what is submitted and submit what is open, until nothing is or nothing more is answered.

        Returns the calls without an answer. Raises SetupError where the server fails or refuses a batch, or it was
        cancelled.
        """
        while True:
            before = self.answered
            waiting = iter(self.journal.batches(self.job.settings))
            calls = open_calls(self.job, self.journal)
            try:
                await all_of([self._work(waiting, calls) for _ in range(self.concurrency)])
            except CallFailed as error:
                raise SetupError(f"{str(error).rstrip('.')}; the same command goes on.") from None
            left = [
                Failure(call.utterance, call.sample, self.reasons.get(call.name, "no answer"))
                for call in open_calls(self.job, self.journal)
            ]
            if not left or self.answered == before:
                return left

    async def _work(self, waiting: Iterator[tuple[str, str | None]], calls: Iterator[Call]) -> None:
        """One batch after the other: those of an earlier process first, then new ones."""
        for batch, identity in waiting:
            found = identity or await self._find(batch)
            if found is None:  # it was never submitted
                self.journal.batch_done(batch)
            else:
                self.journal.batch_submitted(batch, found)
                say(f"batch {found} was submitted before; waiting for it")
                await self._collect(batch, found)
        while chunk := list(islice(calls, self.requests)):
            batch = uuid.uuid4().hex
            self.journal.plan_batch(
                batch, self.job.settings, [(call.name, call.utterance, call.sample) for call in chunk]
            )
            await self._collect(batch, await self._submit(batch, chunk))

    async def _find(self, batch: str) -> str | None:
        """The server's name of a batch that was planned, and perhaps submitted, by a process that was killed."""
        with self.endpoint.telling_failures():
            async for one in self.endpoint.client.batches.list(limit=100):
                if (one.metadata or {}).get(MARK) == batch:
                    return one.id
        return None

    async def _submit(self, batch: str, calls: list[Call]) -> str:
        with tempfile.TemporaryDirectory() as folder, self.endpoint.telling_failures():
            path = Path(folder) / "annotate.jsonl"
            with path.open("w", encoding="utf-8") as file:
                for call in calls:
                    body = self.endpoint.request(
                        self.job.model, call.question(), self.job.prompt.schema, self.job.temperature
                    )
                    request = {"custom_id": call.name, "method": "POST", "url": "/v1/chat/completions", "body": body}
                    file.write(json.dumps(request) + "\n")
            uploaded = await self.endpoint.client.files.create(file=path, purpose="batch")
        identity = await self._create(batch, uploaded.id)
        self.journal.batch_submitted(batch, identity)
        say(f"batch {identity} is submitted with {len(calls):,} calls; a stopped command goes on with it")
        return identity

    async def _create(self, batch: str, file: str) -> str:
        """Begin a batch once, even where the connection is lost before the server says that it has begun."""
        client = self.endpoint.client.with_options(max_retries=0)
        attempts = 0
        while True:
            try:
                with self.endpoint.telling_failures():
                    made = await client.batches.create(
                        input_file_id=file,
                        endpoint="/v1/chat/completions",
                        completion_window="24h",
                        metadata={MARK: batch},
                    )
                return made.id
            except CallFailed:
                found = await self._find(batch)
                if found is not None:
                    return found
                attempts += 1
                if attempts == RETRIES:
                    raise
                await asyncio.sleep(self.poll)

    async def _collect(self, batch: str, identity: str) -> None:
        """Wait until a batch has ended, and journal its answers."""
        while True:
            with self.endpoint.telling_failures():
                state = await self.endpoint.client.batches.retrieve(identity)
            if state.status == "failed":
                self.journal.batch_done(batch)
                said = "; ".join(str(error.message) for error in (state.errors and state.errors.data) or [])
                raise SetupError(
                    f"The server refuses batch {identity} ({self.endpoint.hide(said) or 'no reason given'}); where it "
                    f"is too much at a time, give a smaller --batch-requests and --concurrency 1."
                )
            if state.status in ENDED:
                break
            await asyncio.sleep(self.poll)
        for file in (state.output_file_id, state.error_file_id):
            if file is not None:
                await self._read(batch, file)
        self.journal.batch_done(batch)
        if state.status == "cancelled":
            raise SetupError(f"Batch {identity} was cancelled; the same command submits what it left unanswered.")

    async def _read(self, batch: str, file: str) -> None:
        """Journal the answers of a file of the server's, and keep the reasons of those that failed."""
        with self.endpoint.telling_failures():  # not streamed, so that a download that breaks off is made again
            content = await self.endpoint.client.files.content(file)
        for line in content.content.splitlines():
            row = _row(line)
            if row is not None:
                self._take(batch, row)

    def _take(self, batch: str, row: dict[str, Any]) -> None:
        asked = self.journal.submitted(row["custom_id"], batch)
        if asked is None:  # journalled already, by a process that was killed while it collected
            return
        response = row.get("response") or {}
        reply: Reply | None = self.endpoint.reply(response.get("body"))
        if reply is None:
            said = row.get("error") or (response.get("body") or {}).get("error") or {}
            self.reasons[row["custom_id"]] = self.endpoint.hide(str(said.get("message") or response.get("status_code")))
            return
        call = Call(row["custom_id"], *asked, messages=[], before=self.journal.find(row["custom_id"]))
        entry = entry_of(self.job, call, reply)
        self.journal.record(entry)
        self.answered += 1
        self.progress.count(reply)
        if is_final(entry):
            self.progress.advance()


def _row(line: bytes) -> dict[str, Any] | None:
    """The row of a file of answers; None for what is none, so that the call it was of is open again."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("custom_id"), str) else None
