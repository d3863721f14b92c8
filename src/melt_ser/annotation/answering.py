"""Make the calls of a job, a limited number at a time, and show the progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from melt_ser.annotation.cost import FREE, Price, money
from melt_ser.annotation.engines import CallFailed, Engine, Reply
from melt_ser.annotation.job import Call, Failure, Job, entry_of, is_final, open_calls
from melt_ser.annotation.journal import Journal
from melt_ser.core.console import Progress
from melt_ser.core.errors import MeltSerError, SetupError

GIVE_UP = 20  # consecutive failed calls after which the job stops


async def answer_all(
    job: Job, engine: Engine, journal: Journal, concurrency: int, progress: AnnotationProgress
) -> list[Failure]:
    """Make every open call (no answer yet, or an unreadable one to repair), and return the calls that failed.

    Args:
        job: the calls.
        engine: answers them.
        journal: gets each answer as it arrives.
        concurrency: calls at a time.
        progress: counts the answers.

    Raises SetupError if no further call can succeed, or `GIVE_UP` calls failed in a row.
    """
    failures: list[Failure] = []
    in_a_row = 0
    waiting = open_calls(job, journal)

    async def answer(call: Call) -> None:
        started = time.monotonic()
        reply = await engine.ask(call.question(), job.prompt.schema, call.sample)
        entry = entry_of(job, call, reply, time.monotonic() - started)
        journal.record(entry)
        progress.count(reply)
        if is_final(entry):
            progress.advance()
        else:
            await answer(call._replace(before=entry))

    async def work() -> None:
        nonlocal in_a_row
        for call in waiting:
            try:
                await answer(call)
                in_a_row = 0
            except CallFailed as error:
                failures.append(Failure(call.utterance, call.sample, str(error)))
                in_a_row += 1
                if in_a_row == GIVE_UP:
                    reason = f"{GIVE_UP} calls in a row failed, the last: {str(error).rstrip('.')}"
                    raise SetupError(f"{reason}; the same command continues with the missing calls.") from None

    await all_of([work() for _ in range(concurrency)])
    return failures


async def all_of(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all coroutines at once. The first error stops the others.

    One error is raised, not an exception group: the first MeltSerError if there is one.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as errors:
        ours = [error for error in errors.exceptions if isinstance(error, MeltSerError)]
        raise (ours or errors.exceptions)[0] from None


class AnnotationProgress(Progress):
    """Show answers and cost so far, those of earlier runs included; without a bar, a last line comes in any case."""

    def __init__(self, total: int, done: int, price: Price | None, spent: float) -> None:
        """Begin with `done` of `total` calls answered and `spent` US dollars; a price of None is not known."""
        super().__init__("annotating", total, done, self._status, brief=0.0)
        self.price = price
        self.spent = spent

    def count(self, reply: Reply) -> None:
        """Add the cost of a reply."""
        if self.price is not None:
            self.spent += self.price.of(reply.prompt_tokens, reply.completion_tokens)

    def _status(self, done: int) -> str:
        cost = "" if self.price in (None, FREE) else f", {money(self.spent)}"
        return f"{done:,} of {self.total:,} answered{cost}"
