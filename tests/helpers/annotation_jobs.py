"""A job of annotation for tests: short lines of one speaker, and the labels that its journal has."""

from __future__ import annotations

from collections.abc import Sequence

from melt_ser.annotation.answering import AnnotationProgress
from melt_ser.annotation.answers import parse_answer
from melt_ser.annotation.job import Job
from melt_ser.annotation.journal import Journal
from melt_ser.annotation.prompts import load_prompt
from melt_ser.annotation.purse import Purse
from melt_ser.corpora.lines import Line, earlier_lines

TEXTS = [f"Line number {number}, and I am glad." for number in range(24)]


def job(texts: Sequence[str] = TEXTS, prompt: str = "melt", samples: int = 1, model: str = "gpt-4o") -> Job:
    lines = [
        Line(f"dia0_utt{number}", text, "Ross", "1", "2", "0", number, 2.0, "", {}) for number, text in enumerate(texts)
    ]
    loaded = load_prompt(prompt)
    return Job(lines, earlier_lines(lines, loaded.history), loaded, model, 1.0, samples)


def progress_of(asked: Job) -> AnnotationProgress:
    return AnnotationProgress(len(asked), 0, Purse())


def labels(asked: Job, journal: Journal) -> list[str]:
    entries = [journal.find(call.name) for call in asked.calls()]
    return [str(parse_answer(entry.text, asked.prompt).values["emotion"]) for entry in entries if entry is not None]
