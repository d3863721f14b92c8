"""Check the answered lines of a prompt: a model repeats what it is shown, so they must answer as the prompt asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from melt_ser.annotation.fields import Field, WrongValue, plain
from melt_ser.core.errors import did_you_mean


def wrong_examples(examples: Sequence[Mapping[str, Any]], fields: Sequence[Field]) -> str:
    """Return the first problem of the examples' answers, as the rest of a sentence about the prompt; "" for none."""
    for number, example in enumerate(examples, start=1):
        if problem := _wrong_answer(example["answer"], fields):
            return f"has an example {number} whose answer {problem}"
    return ""


def _wrong_answer(answer: Any, fields: Sequence[Field]) -> str:
    if not isinstance(answer, dict):
        return "is no mapping of fields"
    for group in sorted({field.group for field in fields}):
        part = answer.get(group, {}) if group else answer
        if not isinstance(part, dict):
            return f"has a '{group}' that is no mapping of fields"
        within = f" in '{group}'" if group else ""
        known = [field.name for field in fields if field.group == group]
        groups = [] if group else [field.group for field in fields]
        for name in part:
            if name not in known and name not in groups:
                return f"has the unknown field '{name}'{within}: {did_you_mean(str(name), known)}"
        for field in fields:
            where = f"'{field.name}'{within}"
            if field.group == group and (problem := _wrong_value(part.get(field.name), field, where)):
                return problem
    return ""


def _wrong_value(value: Any, field: Field, where: str) -> str:
    if value is None:
        return "" if field.optional else f"lacks the field {where}"
    if not field.takes(value):
        return f"has a {where} that is not {field.wanted}"
    try:
        read = field.read(value)
    except WrongValue as error:
        return f"has a {where} that is not {error}"
    labels = {plain(label) for label in field.labels}
    given = [read] if isinstance(read, str) else [] if isinstance(read, float) else list(read)
    outside = next((label for label in given if labels and plain(label) not in labels), None)
    return "" if outside is None else f"has '{outside}' as {where}: {did_you_mean(outside, field.labels)}"
