"""A job of annotation: the calls that ask about each line once for each sample, and the labels from their answers.

Calls are generated one by one from the lines and the journal, and answers go to the journal alone, so memory does not
grow with the job. After an unreadable answer, one repair call tells the model the problem and asks again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from melt_ser.annotation.answers import LONGEST, parse_answer
from melt_ser.annotation.dialect import ANSWER_LIMIT, THINKING_LIMIT
from melt_ser.annotation.endpoint import OPENAI
from melt_ser.annotation.engines import Message, Reply
from melt_ser.annotation.journal import Entry, Journal, Settings, call_name
from melt_ser.annotation.labels_file import LabelledLine, Origin, label_line
from melt_ser.annotation.prompts import Prompt
from melt_ser.annotation.reasons import (
    BY_LIMIT,
    IN_A_BATCH,
    NO_ANSWER,
    OUTSIDE,
    THINKING,
    UNREADABLE,
    problem_of,
)
from melt_ser.corpora.lines import Line

ROUNDS = 2  # the question, and one repair of an unreadable answer
MOST_NAMED = 3  # failures that a sentence names
LEFT_OUT = "left out"  # a temperature that was not sent, in the journal


@dataclass(frozen=True)
class Job:
    """The lines, the earlier lines of their dialogues, and how each is asked about.

    `address` is the server's ("": the model is in this process), `max_tokens` the user's limit of an answer (None: it
    depends on whether the model thinks), and `shaping` what else shapes an answer, such as the reasoning effort.
    """

    lines: Sequence[Line]
    earlier: Mapping[str, Sequence[Line]]  # by utterance
    prompt: Prompt
    model: str
    temperature: float | None  # None: left out
    samples: int = 1
    address: str = ""
    max_tokens: int | None = None
    shaping: Mapping[str, Any] = field(default_factory=dict)
    later: Mapping[str, Sequence[Line]] = field(default_factory=dict)  # the next lines of their dialogues, by utterance

    def calls(self) -> Iterator[Call]:
        """Yield every call of the job: lines in order, the samples of a line together."""
        elsewhere = {"address": self.address} if self.address not in ("", OPENAI) else {}
        for line in self.lines:
            around = (lines.get(line.utterance, ()) for lines in (self.earlier, self.later))
            messages = self.prompt.messages(line, *around)
            content = [self.model, self.temperature, messages, self.prompt.schema]
            content += [dict(self.shaping)] if self.shaping else []
            for sample in range(self.samples):
                former = call_name(line.utterance, sample, content)
                name = call_name(line.utterance, sample, [*content, elsewhere]) if elsewhere else former
                yield Call(name, line.utterance, sample, messages, former)

    @property
    def settings(self) -> Settings:
        """The model, the version of the prompt, the temperature and the server."""
        return Settings(self.model, self.prompt.version, stored(self.temperature), self.address)

    def is_final(self, entry: Entry) -> bool:
        """Return whether a call with this answer is not asked again.

        A readable answer is final, a refused or filtered one too, and an unreadable one after its repair. One that the
        limit of tokens has cut is asked again once the limit is higher.
        """
        if entry.problem is None:
            return True
        if entry.reason in BY_LIMIT and entry.max_tokens is not None:
            automatic = THINKING_LIMIT if entry.reason == THINKING else ANSWER_LIMIT
            return entry.max_tokens >= (self.max_tokens or automatic)
        return entry.reason not in (None, UNREADABLE) or entry.rounds >= ROUNDS

    def __len__(self) -> int:
        return len(self.lines) * self.samples


class Call(NamedTuple):
    """One question; `before` is an earlier answer that was not good enough.

    `former` is the call's name in journals that did not know the server.
    """

    name: str
    utterance: str
    sample: int
    messages: list[Message]
    former: str | None = None
    before: Entry | None = None

    @property
    def repairs(self) -> bool:
        """Whether the question tells the model the problem of its earlier answer; one that was cut is asked anew."""
        return self.before is not None and bool(self.before.text.strip()) and self.before.reason in (None, UNREADABLE)

    def question(self) -> list[Message]:
        """Return the messages to send; a repair adds the unreadable answer and its problem."""
        if self.before is None or not self.repairs:
            return self.messages
        problem = {"role": "user", "content": f"That cannot be read: {self.before.problem}"}
        return [*self.messages, {"role": "assistant", "content": self.before.text}, problem]


class Failure(NamedTuple):
    """A line without a readable answer, and the reason as a sentence and in a word."""

    utterance: str
    sample: int
    reason: str
    word: str = NO_ANSWER


def adopt(job: Job, address: str, journal: Journal) -> None:
    """Take the answers of an earlier address of the server for those of the job's; they keep that address.

    Its batches that are not collected yet are asked for at the job's address.
    """
    there = replace(job, address=address)
    journal.rename((earlier.name, call.name) for earlier, call in zip(there.calls(), job.calls(), strict=True))
    journal.move_batches(there.settings, job.address)


def open_calls(job: Job, journal: Journal) -> Iterator[Call]:
    """Yield the calls without an answer or with one that is not final, except those in a submitted batch."""
    for call in job.calls():
        entry = journal.find(call.name, call.former)
        if (entry is None or not job.is_final(entry)) and not journal.is_submitted(call.name, call.former):
            yield call._replace(before=entry)


def entry_of(job: Job, call: Call, reply: Reply, seconds: float | None = None) -> Entry:
    """Return the journal's row for a reply; its tokens include those of earlier answers to the same call."""
    problem, reason = problem_of(reply, job.prompt)
    before = call.before
    unreadable_before = before is not None and before.reason in (None, UNREADABLE)
    return Entry(
        call.name,
        call.utterance,
        call.sample,
        job.model,
        job.prompt.name,
        job.prompt.version,
        stored(job.temperature if reply.temperature_sent else None),
        reply.text[: LONGEST + 1],  # a longer one is unreadable, and its repair would pay for the rest
        problem,
        rounds=before.rounds + 1 if before is not None and unreadable_before else 1,
        prompt_tokens=reply.prompt_tokens + (before.prompt_tokens if before else 0),
        completion_tokens=reply.completion_tokens + (before.completion_tokens if before else 0),
        probabilities=None if reply.probabilities is None else dict(reply.probabilities),
        seconds=seconds,
        arrived=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        reason=reason,
        finish_reason=reply.finish,
        answered_by=reply.model,
        fingerprint=reply.fingerprint,
        address=job.address,
        max_tokens=reply.max_tokens,
        options=json.dumps(job.shaping) if job.shaping else None,
    )


def stored(temperature: float | None) -> float | str:
    """Return a temperature as the journal has it."""
    return LEFT_OUT if temperature is None else temperature


def without_answer(job: Job, journal: Journal) -> list[Failure]:
    """Return the calls whose answer is not readable, and those in a batch that is not collected."""
    failures = []
    for call in job.calls():
        entry = journal.find(call.name, call.former)
        if entry is not None and entry.problem is not None:
            failures.append(Failure(call.utterance, call.sample, entry.problem, entry.reason or UNREADABLE))
        elif entry is None and journal.is_submitted(call.name, call.former):
            failures.append(Failure(call.utterance, call.sample, "--engine batch collects it", IN_A_BATCH))
    return failures


def unanswered(job: Job, journal: Journal, failures: Sequence[Failure]) -> str:
    """Return a sentence that counts the calls without a readable answer, by reason, and names the first.

    It is "" if there are none.
    """
    reasons = {(failure.utterance, failure.sample): failure for failure in [*without_answer(job, journal), *failures]}
    if not reasons:
        return ""
    words = Counter(failure.word for failure in reasons.values())
    counts = ", ".join(f"{count:,} {word}" for word, count in words.most_common())
    first = list(reasons.values())[:MOST_NAMED]
    named = "; ".join(f"{failure.utterance} ({failure.reason})" for failure in first)
    return f"{len(reasons):,} of {len(job):,} calls have no readable answer ({counts}): {named}"


def labelled_lines(job: Job, journal: Journal, rules: Mapping[str, str]) -> list[LabelledLine]:
    """Return every line of the job with the label from its answers; `rules` map labels outside the prompt's set."""
    calls = job.calls()
    return [
        _labelled(line, job, {call.sample: call for call in islice(calls, job.samples)}, journal, rules)
        for line in job.lines
    ]


def _labelled(
    line: Line, job: Job, calls: Mapping[int, Call], journal: Journal, rules: Mapping[str, str]
) -> LabelledLine:
    entries = {sample: journal.find(call.name, call.former) for sample, call in calls.items()}
    found = {sample: entry for sample, entry in entries.items() if entry is not None}
    answers = {
        sample: replace(parse_answer(entry.text, job.prompt), probabilities=entry.probabilities)
        for sample, entry in found.items()
        if entry.problem is None
    }
    temperature = job.temperature if not found else next(iter(found.values())).temperature
    shown = f"{temperature:g}" if isinstance(temperature, float | int) else ""
    origin = Origin(job.model, job.prompt.name, job.prompt.version, shown)
    labelled = label_line(line, answers, job.prompt.fields, rules, origin)
    reasons = [entry.reason or UNREADABLE for entry in found.values() if entry.problem is not None]
    waiting = [IN_A_BATCH for call in calls.values() if journal.is_submitted(call.name, call.former)]
    reason = OUTSIDE if answers else (*reasons, *waiting, NO_ANSWER)[0]
    shown_entry = found.get(int(labelled.sample)) if labelled.sample else next(iter(found.values()), None)
    return replace(
        labelled,
        reason="" if labelled.is_labelled else reason,
        provenance=_provenance(shown_entry) if shown_entry else {},
    )


def _provenance(entry: Entry) -> dict[str, str]:
    """Return where an answer comes from, by column of the labels file."""
    return {
        "answered_by": entry.answered_by or "",
        "fingerprint": entry.fingerprint or "",
        "finish_reason": entry.finish_reason or "",
        "address": entry.address or "",
        "options": entry.options or "",
        "answered_at": entry.arrived,
    }
