"""A model's answer, from its text: the JSON that the prompt asks for, or what models write instead of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from melt_ser.annotation.prompts import DESCRIBED, Prompt
from melt_ser.core.errors import InputError, SetupError, did_you_mean, one_line

LONGEST = 20_000  # characters; an answer has a few hundred
FIELDS = ("character", "context", *DESCRIBED)


class AnswerError(InputError):
    """An answer that says no emotion; the sentence tells the model what is wrong, for the repair round."""


@dataclass(frozen=True)
class Answer:
    """What a model said of a line; what it left out is ""."""

    label_raw: str  # as it was written, in the label set or not
    character: str
    context: str
    loudness: str
    pitch: str
    rhythm_speed: str
    emotional_impact: str
    probabilities: Mapping[str, float] | None = None  # by label, where the engine scores them


def parse_answer(text: str, prompt: Prompt) -> Answer:
    """The answer in a text: JSON in a code fence or amid prose, with commas and quotes as models write them.

    Keys may have any case and stand at any depth, but must not contradict each other. The label is kept as it was
    written (`label_of` says what it stands for). Raises AnswerError where there is no object with an emotion.
    """
    if len(text) > LONGEST:
        raise AnswerError(f"The answer has {len(text)} characters; answer with the JSON alone.")
    found = [values for content in _objects(text) if (values := _values(content)).get("emotion")]
    if not found:
        raise AnswerError(
            "The answer is no JSON object with an 'emotion'; answer with the JSON alone, complete, "
            f"and for its emotion one of {', '.join(prompt.labels)}."
        )
    values = found[-1]  # models that think aloud answer last
    contradictory = [name for name, given in values.items() if len(given) > 1]
    if contradictory:
        raise AnswerError(f"The answer has two values of '{contradictory[0]}'; answer with one JSON object, once.")
    texts = {name: given[0] for name, given in values.items()}
    return Answer(texts["emotion"], probabilities=None, **{name: texts.get(name, "") for name in FIELDS})


def label_of(label_raw: str, labels: Sequence[str], rules: Mapping[str, str]) -> str | None:
    """The label that a raw one stands for: itself in the set, else by rule, else None.

    >>> [label_of(raw, ["joy"], {"comfort": "joy"}) for raw in (" Joy.", "comfort", "frustration")]
    ['joy', 'joy', None]
    """
    label = _plain(label_raw)
    return label if label in labels else rules.get(label)


def parse_rules(rules: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Rules such as `frustration=anger`, for labels outside the set; SetupError where one is no rule."""
    parsed = {}
    for rule in rules:
        outside, label = map(_plain, rule.partition("=")[::2])
        if not outside or label not in labels:
            raise SetupError(f"--map {rule} does not end in a label of the prompt: {did_you_mean(label, labels)}")
        if outside in labels:
            raise SetupError(
                f"--map {rule}: '{outside}' is a label of the prompt; rules are for labels outside its set."
            )
        parsed[outside] = label
    return parsed


def _plain(label: str) -> str:
    return label.strip().strip(".!'\"*_ ").casefold()


def _objects(text: str) -> list[Any]:
    """The JSON objects in a text; where the first brace opens none, what YAML, which is looser, reads from there."""
    found, sound = _json_objects(text)
    start, end = text.find("{"), text.rfind("}")
    if not sound and start < end:
        try:  # every value stays a text, so that no is no false
            loose = yaml.load(text[start : end + 1].replace("\t", " "), Loader=yaml.BaseLoader)
        except (yaml.YAMLError, ValueError, RecursionError):
            return found
        if "emotion" in _values(loose):
            return [loose]
    return found


def _json_objects(text: str) -> tuple[list[Any], bool]:
    """The outermost objects that are JSON, and whether the first brace opens one."""
    decoder = json.JSONDecoder(strict=False)  # takes line ends within texts
    found: list[Any] = []
    first = start = text.find("{")
    sound = False
    while start >= 0:
        try:
            content, end = decoder.raw_decode(text, start)
            found.append(content)
            sound = sound or start == first
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    return found, sound


def _values(content: Any) -> dict[str, list[str]]:
    """What an object says of each field that we ask for, at whatever depth; each value once."""
    values: dict[str, list[str]] = {}
    waiting, seen = [content], {id(content)}  # by YAML's aliases one object may stand in many places
    while waiting:
        object_ = waiting.pop()
        for key, value in object_.items() if isinstance(object_, dict) else ():
            name = re.sub(r"[\s-]+", "_", str(key).strip().casefold())
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            if isinstance(value, dict) and id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)
            elif name in ("emotion", *FIELDS) and isinstance(value, str | int | float) and str(value).strip():
                text = one_line(" ".join(str(value).split()))
                if text not in values.setdefault(name, []):
                    values[name].append(text)
    return values
