"""A job of annotation: the calls that ask about each line once for each sample, and the labels from their answers.

Calls are generated one by one from the lines and the journal, and answers go to the journal alone, so memory does not
grow with the job. After an unreadable answer, one repair call tells the model the problem and asks again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple

from melt_ser.annotation.answers import AnswerError, parse_answer
from melt_ser.annotation.engines import Message, Reply
from melt_ser.annotation.journal import Entry, Journal, Settings, call_name
from melt_ser.annotation.labels_file import LabelledLine, Origin, label_line
from melt_ser.annotation.prompts import Prompt
from melt_ser.corpora.lines import Line

ROUNDS = 2  # the question, and one repair of an unreadable answer
MOST_NAMED = 3  # failures that a sentence names


@dataclass(frozen=True)
class Job:
    """The lines, the earlier lines of their dialogues, the prompt, the model and the number of samples of a line."""

    lines: Sequence[Line]
    earlier: Mapping[str, Sequence[Line]]  # by utterance
    prompt: Prompt
    model: str
    temperature: float
    samples: int = 1
    later: Mapping[str, Sequence[Line]] = field(default_factory=dict)  # the next lines of their dialogues, by utterance

    def calls(self) -> Iterator[Call]:
        """Yield every call of the job: lines in order, the samples of a line together."""
        for line in self.lines:
            around = (lines.get(line.utterance, ()) for lines in (self.earlier, self.later))
            messages = self.prompt.messages(line, *around)
            content = [self.model, self.temperature, messages, self.prompt.schema]
            for sample in range(self.samples):
                yield Call(call_name(line.utterance, sample, content), line.utterance, sample, messages)

    @property
    def settings(self) -> Settings:
        """The model, the version of the prompt and the temperature."""
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
        """Return the messages to send; a repair adds the unreadable answer and its problem."""
        if self.before is None:
            return self.messages
        problem = {"role": "user", "content": f"That cannot be read: {self.before.problem}"}
        return [*self.messages, {"role": "assistant", "content": self.before.text}, problem]


class Failure(NamedTuple):
    """A line without a readable answer, and the reason."""

    utterance: str
    sample: int
    reason: str


def open_calls(job: Job, journal: Journal) -> Iterator[Call]:
    """Yield the calls without an answer or with one that can be repaired, except those in a submitted batch."""
    for call in job.calls():
        entry = journal.find(call.name)
        if entry is None:
            if not journal.is_submitted(call.name):
                yield call
        elif not is_final(entry) and not journal.is_submitted(call.name):
            yield call._replace(before=entry)


def is_final(entry: Entry) -> bool:
    """Return whether an answer is readable or was repaired as often as allowed."""
    return entry.problem is None or entry.rounds >= ROUNDS


def entry_of(job: Job, call: Call, reply: Reply, seconds: float | None = None) -> Entry:
    """Return the journal's row for a reply; its tokens include those of the answer that it repairs."""
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


def unreadable(job: Job, journal: Journal) -> list[Failure]:
    """Return the calls with an answer that is unreadable even after its repair."""
    entries = (journal.find(call.name) for call in job.calls())
    return [
        Failure(entry.utterance, entry.sample, entry.problem)
        for entry in entries
        if entry is not None and entry.problem is not None
    ]


def unanswered(job: Job, journal: Journal, failures: Sequence[Failure]) -> str:
    """Return a sentence that counts the calls without a readable answer and names the first; "" if there are none."""
    reasons = {
        (failure.utterance, failure.sample): failure.reason for failure in [*unreadable(job, journal), *failures]
    }
    if not reasons:
        return ""
    named = "; ".join(f"{utterance} ({reason})" for (utterance, _), reason in list(reasons.items())[:MOST_NAMED])
    return f"{len(reasons):,} of {len(job):,} calls have no readable answer: {named}"


def labelled_lines(job: Job, journal: Journal, rules: Mapping[str, str]) -> list[LabelledLine]:
    """Return every line of the job with the label from its answers; `rules` map labels outside the prompt's set."""
    origin = Origin(job.model, job.prompt.name, job.prompt.version, f"{job.temperature:g}")
    calls = job.calls()
    labelled = []
    for line in job.lines:
        entries = [journal.find(call.name) for call in islice(calls, job.samples)]
        answers = {
            entry.sample: replace(parse_answer(entry.text, job.prompt), probabilities=entry.probabilities)
            for entry in entries
            if entry is not None and entry.problem is None
        }
        labelled.append(label_line(line, answers, job.prompt.fields, rules, origin))
    return labelled
