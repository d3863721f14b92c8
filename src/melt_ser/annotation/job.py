"""A job of annotation: each line asked for each sample, once, by as many calls at a time as are allowed.

Calls are made one after the other from the lines and the journal, and answers go to the journal alone, so memory does
not grow with what is asked. An answer that cannot be read is asked for once more, with what was wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

from melt_ser.annotation.answers import AnswerError, parse_answer
from melt_ser.annotation.cost import (
    ANSWER_TOKENS,
    CHARACTERS_A_TOKEN,
    ENOUGH,
    FREE,
    Estimate,
    Price,
    duration,
    money,
    schema_tokens,
    thousands,
)
from melt_ser.annotation.engines import CallFailed, Engine, Message, Reply
from melt_ser.annotation.journal import Entry, Journal, Settings, call_name
from melt_ser.annotation.labels_file import Asked, LabelledLine, label_line
from melt_ser.annotation.progress import AnnotationProgress
from melt_ser.annotation.prompts import Prompt
from melt_ser.core.errors import MeltSerError, SetupError
from melt_ser.corpora.lines import Line

ROUNDS = 2  # the question, and one repair of an answer that cannot be read
GIVE_UP = 20  # calls that fail with none between them that does not


@dataclass(frozen=True)
class Job:
    """What is asked: about which lines (with those before them in their dialogue), how, of which model, how often."""

    lines: Sequence[Line]
    earlier: Mapping[str, Sequence[Line]]
    prompt: Prompt
    model: str
    temperature: float
    samples: int = 1

    def calls(self) -> Iterator[Call]:
        """Every call of the job, lines in their order, the samples of a line together."""
        for line in self.lines:
            messages = self.prompt.messages(line, self.earlier.get(line.utterance, ()))
            asked = [self.model, self.temperature, messages, self.prompt.schema]
            for sample in range(self.samples):
                yield Call(call_name(line.utterance, sample, asked), line.utterance, sample, messages)

    @property
    def settings(self) -> Settings:
        """Whom and how it asks."""
        return Settings(self.model, self.prompt.version, self.temperature)

    def __len__(self) -> int:
        return len(self.lines) * self.samples


class Call(NamedTuple):
    """One question; `before` is the unreadable answer that it repairs."""

    name: str
    utterance: str
    sample: int
    messages: list[Message]
    before: Entry | None = None

    def question(self) -> list[Message]:
        """What is sent: the messages, and where it repairs an answer, that answer and what is wrong with it."""
        if self.before is None:
            return self.messages
        wrong = {"role": "user", "content": f"That cannot be read: {self.before.problem}"}
        return [*self.messages, {"role": "assistant", "content": self.before.text}, wrong]


class Failure(NamedTuple):
    """A line without an answer that can be read, and why."""

    utterance: str
    sample: int
    reason: str


def open_calls(job: Job, journal: Journal) -> Iterator[Call]:
    """The calls that have no answer yet, or one that can be asked for once more; not those of a submitted batch."""
    for call in job.calls():
        entry = journal.find(call.name)
        if entry is None:
            if not journal.is_submitted(call.name):
                yield call
        elif not is_final(entry) and not journal.is_submitted(call.name):
            yield call._replace(before=entry)


def estimated(job: Job, journal: Journal) -> Estimate:
    """What the open calls of a job will take."""
    estimate = Estimate(schema_tokens(job.prompt.schema), journal.spent(job.model, job.prompt.version))
    for call in open_calls(job, journal):
        estimate.add(call.question())
    return estimate


def is_final(entry: Entry) -> bool:
    """Whether nothing more is asked after this answer."""
    return entry.problem is None or entry.rounds >= ROUNDS


def entry_of(job: Job, call: Call, reply: Reply, seconds: float | None = None) -> Entry:
    """The row of the journal for a reply; tokens are added to those of the answer that it repairs."""
    try:
        parse_answer(reply.text, job.prompt)
        problem = None
    except AnswerError as error:
        problem = str(error)
    before = call.before
    return Entry(
        call.name,
        call.utterance,
        call.sample,
        job.model,
        job.prompt.name,
        job.prompt.version,
        job.temperature,
        reply.text,
        problem,
        rounds=1 if before is None else before.rounds + 1,
        prompt_tokens=reply.prompt_tokens + (before.prompt_tokens if before else 0),
        completion_tokens=reply.completion_tokens + (before.completion_tokens if before else 0),
        probabilities=None if reply.probabilities is None else dict(reply.probabilities),
        seconds=seconds,
    )


async def answer_all(
    job: Job, engine: Engine, journal: Journal, concurrency: int, progress: AnnotationProgress
) -> list[Failure]:
    """Ask what is open, `concurrency` calls at a time; the calls that got no answer.

    Raises SetupError where no further call can succeed, or `GIVE_UP` failed in a row.
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
                    said = f"{GIVE_UP} calls in a row failed, the last: {str(error).rstrip('.')}"
                    raise SetupError(f"{said}; the same command goes on.") from None

    await all_of([work() for _ in range(concurrency)])
    return failures


async def all_of(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all at once; the first error of ours ends the others and is raised as it is, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as errors:
        ours = [error for error in errors.exceptions if isinstance(error, MeltSerError)]
        raise (ours or errors.exceptions)[0] from None


def unreadable(job: Job, journal: Journal) -> list[Failure]:
    """The answers that could not be read, even after they were asked for once more."""
    entries = (journal.find(call.name) for call in job.calls())
    return [
        Failure(entry.utterance, entry.sample, entry.problem)
        for entry in entries
        if entry is not None and entry.problem is not None
    ]


def labelled_lines(job: Job, journal: Journal, rules: Mapping[str, str]) -> list[LabelledLine]:
    """Every line of the job with the label that its answers give it; `rules` map labels outside the prompt's set."""
    asked = Asked(job.model, job.prompt.name, job.prompt.version, f"{job.temperature:g}")
    calls = job.calls()
    labelled = []
    for line in job.lines:
        entries = [journal.find(call.name) for call in islice(calls, job.samples)]
        answers = {
            entry.sample: replace(parse_answer(entry.text, job.prompt), probabilities=entry.probabilities)
            for entry in entries
            if entry is not None and entry.problem is None
        }
        labelled.append(label_line(line, answers, job.prompt.labels, rules, asked))
    return labelled


def describe(
    job: Job, estimate: Estimate, price: Price | None, source: str, engine: str, concurrency: int
) -> list[str]:
    """The estimate in sentences."""
    asked = f"{job.model} by the prompt {job.prompt.name} ({job.prompt.version}) at temperature {job.temperature:g}"
    answered = len(job) - estimate.calls
    before = f"; {answered:,} are answered or submitted already" if answered else ""
    sentences = [f"{len(job):,} calls of {asked}{before}"]
    if not estimate.calls:
        return sentences
    if engine == "local":  # which scores labels, one line after the other, and writes no answer
        known = f"about {duration(estimate.seconds(1))}" if estimate.measured else f"not known before {ENOUGH} answers"
        return [*sentences, f"time: {known}; nothing is paid"]
    basis = f"{CHARACTERS_A_TOKEN} characters a token, {ANSWER_TOKENS} tokens an answer"
    basis = f"as the {estimate.spent.answers:,} answers before" if estimate.measured else basis
    prompts, answers = thousands(estimate.prompt_tokens), thousands(estimate.completion_tokens)
    sentences.append(f"tokens: about {prompts} thousand of prompts and {answers} thousand of answers ({basis})")
    if price is None:
        sentences.append(f"cost: not known, since no price of {job.model} is; --price 2.50,10 tells it")
    elif price == FREE:
        sentences.append(f"cost: nothing by the token ({source})")
    else:
        each = f"US$ {price.prompt:.2f} and {price.completion:.2f} a million tokens"
        sentences.append(f"cost: about {money(estimate.cost(price))} ({each}, {source})")
    if engine == "batch":
        sentences.append("time: within a day of each batch, as the Batch API promises")
    else:
        sentences.append(f"time: about {duration(estimate.seconds(concurrency))}, {concurrency} calls at a time")
    return sentences
