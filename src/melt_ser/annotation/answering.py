"""Make the calls of a job, a limited number at a time, and show the progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from melt_ser.annotation.cost import FREE, money
from melt_ser.annotation.engines import CallFailed, Engine, Reply
from melt_ser.annotation.job import Call, Failure, Job, entry_of, open_calls
from melt_ser.annotation.journal import Entry, Journal
from melt_ser.annotation.purse import Purse
from melt_ser.annotation.reasons import BY_LIMIT
from melt_ser.core.console import Progress
from melt_ser.core.errors import MeltSerError, SetupError

GIVE_UP = 20  # failed calls, or answers that the limit has cut, in a row: the job then stops


async def answer_all(
    job: Job, engine: Engine, journal: Journal, concurrency: int, progress: AnnotationProgress
) -> list[Failure]:
    """Make every open call (without a final answer), and return the calls that failed.

    Args:
        job: the calls.
        engine: answers them.
        journal: gets each answer as it arrives.
        concurrency: calls at a time.
        progress: counts the answers, and the money.

    Raises SetupError if no further call can succeed, or `GIVE_UP` calls failed in a row. It also does so if the money
    is spent, or `GIVE_UP` answers were cut in a row, but then awaits the answers of the calls under way first.
    """
    failures: list[Failure] = []
    failed_in_a_row = cut_in_a_row = 0
    waiting = open_calls(job, journal)
    purse = progress.purse

    async def answer(call: Call) -> Entry | None:
        """Return the final answer to a call; None if the money is spent before it has one."""
        while await purse.turn():
            with purse.call_under_way():
                started = time.monotonic()
                reply = await engine.ask(call.question(), job.prompt.schema, call.sample)
                entry = entry_of(job, call, reply, time.monotonic() - started)
                journal.record(entry)
                progress.count(reply)
            if job.is_final(entry) or _is_no_longer(entry, call.before):
                progress.advance()
                return entry
            call = call._replace(before=entry)
        return None

    async def work() -> None:
        nonlocal failed_in_a_row, cut_in_a_row
        while cut_in_a_row < GIVE_UP and (call := next(waiting, None)) is not None:
            try:
                entry = await answer(call)
            except CallFailed as error:
                failures.append(Failure(call.utterance, call.sample, str(error)))
                failed_in_a_row += 1
                if failed_in_a_row == GIVE_UP:
                    reason = f"{GIVE_UP} calls in a row failed, the last: {str(error).rstrip('.')}"
                    raise SetupError(f"{reason}; the same command continues with the missing calls.") from None
            else:
                if entry is None:
                    return
                failed_in_a_row = 0
                cut_in_a_row = cut_in_a_row + 1 if entry.reason in BY_LIMIT else 0

    await all_of([work() for _ in range(concurrency)])
    if cut_in_a_row >= GIVE_UP:
        raise SetupError(
            f"{GIVE_UP} answers in a row were cut at the limit of tokens; give a higher --max-tokens, and the same "
            "command asks for them again."
        )
    missing = 0 if purse.allows() else sum(1 for _ in open_calls(job, journal))
    if missing:
        raise purse.is_empty(missing)
    return failures


def _is_no_longer(entry: Entry, before: Entry | None) -> bool:
    """Return whether an answer was cut again, at the same limit: the engine has no higher one."""
    return (
        before is not None
        and entry.reason in BY_LIMIT
        and before.reason in BY_LIMIT
        and (entry.max_tokens or 0) <= (before.max_tokens or 0)
    )


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

    def __init__(self, total: int, done: int, purse: Purse) -> None:
        """Begin with `done` of `total` calls answered."""
        super().__init__("annotating", total, done, self._status, brief=0.0)
        self.purse = purse

    def count(self, reply: Reply) -> None:
        """Add the cost of a reply."""
        self.purse.pay(reply.prompt_tokens, reply.completion_tokens)

    def _status(self, done: int) -> str:
        cost = "" if self.purse.price in (None, FREE) else f", {money(self.purse.before + self.purse.spent)}"
        return f"{done:,} of {self.total:,} answered{cost}"
