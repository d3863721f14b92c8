"""Read a model's answer: the JSON that the prompt asks for, or the near-JSON that models often write instead."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from melt_ser.annotation.prompts import DESCRIBED, Prompt
from melt_ser.core.errors import InputError, SetupError, did_you_mean, one_line

LONGEST = 20_000  # characters; a normal answer has a few hundred
FIELDS = ("character", "context", *DESCRIBED)


class AnswerError(InputError):
    """An answer that cannot be read. The repair call sends the error's sentence to the model."""


@dataclass(frozen=True)
class Answer:
    """A model's answer about a line; fields that the model left out are ""."""

    label_raw: str  # as the model wrote it, in the label set or not
    character: str
    context: str
    loudness: str
    pitch: str
    rhythm_speed: str
    emotional_impact: str
    probabilities: Mapping[str, float] | None = None  # by label, if the engine scores labels


def parse_answer(text: str, prompt: Prompt) -> Answer:
    """Parse the answer in a model's text: JSON, also in a code fence or in prose, with wrong commas and quotes.

    Keys may have any case and stand at any depth, but must not contradict each other. The label stays as the model
    wrote it (`label_of` maps it to the set). Raises AnswerError if no object has an emotion, if
    a key has two values, or if the text is too long.
    """
    if len(text) > LONGEST:
        raise AnswerError(f"The answer has {len(text)} characters; answer with the JSON alone.")
    with_emotion = [fields for content in _objects(text) if (fields := _fields(content)).get("emotion")]
    if not with_emotion:
        raise AnswerError(
            "The answer is no JSON object with an 'emotion'; answer with the JSON alone, complete, "
            f"and for its emotion one of {', '.join(prompt.labels)}."
        )
    fields = with_emotion[-1]  # models that think aloud give their answer last
    contradictory = [name for name, values in fields.items() if len(values) > 1]
    if contradictory:
        raise AnswerError(f"The answer has two values of '{contradictory[0]}'; answer with one JSON object, once.")
    texts = {name: values[0] for name, values in fields.items()}
    return Answer(texts["emotion"], probabilities=None, **{name: texts.get(name, "") for name in FIELDS})


def label_of(label_raw: str, labels: Sequence[str], rules: Mapping[str, str]) -> str | None:
    """Return the label for a raw one: itself if it is in the set, otherwise by rule, otherwise None.

    >>> [label_of(raw, ["joy"], {"comfort": "joy"}) for raw in (" Joy.", "comfort", "frustration")]
    ['joy', 'joy', None]
    """
    label = _plain(label_raw)
    return label if label in labels else rules.get(label)


def parse_rules(rules: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Parse rules such as `frustration=anger`, for labels outside the set. Raises SetupError for a malformed rule."""
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


class Repeated(list[Any]):
    """The values of a key that an object has more than once; JSON and YAML readers would keep the last one alone."""


def with_repeated(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return an object with the values of a repeated key as Repeated."""
    values: dict[Any, list[Any]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    return {key: found[0] if len(found) == 1 else Repeated(found) for key, found in values.items()}


def _pairs(object_: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the keys and values of an object, a repeated key with each of its values."""
    for key, value in object_.items() if isinstance(object_, dict) else ():
        for one in value if isinstance(value, Repeated) else (value,):
            yield key, one


class _Loader(yaml.BaseLoader):
    """Keep every value a text, so that "no" does not become False, and every value of a repeated key."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        pairs = self.construct_pairs(node, deep)
        if not all(isinstance(key, str) for key, _ in pairs):
            raise yaml.constructor.ConstructorError(problem="a key is no text")
        return with_repeated(pairs)


def _objects(text: str) -> list[Any]:
    """Return the JSON objects in a text. If the first brace opens no object, read the text in braces as YAML."""
    objects, first_is_json = _json_objects(text)
    start, end = text.find("{"), text.rfind("}")
    if not first_is_json and start < end:
        try:
            loose = yaml.load(text[start : end + 1].replace("\t", " "), Loader=_Loader)
        except (yaml.YAMLError, ValueError, RecursionError):
            return objects
        if "emotion" in _fields(loose):
            return [loose]
    return objects


def _json_objects(text: str) -> tuple[list[Any], bool]:
    """Return the outermost objects that are JSON, and whether the first brace opens one."""
    decoder = json.JSONDecoder(object_pairs_hook=with_repeated, strict=False)  # accepts line ends within texts
    objects: list[Any] = []
    first = start = text.find("{")
    first_is_json = False
    while start >= 0:
        try:
            content, end = decoder.raw_decode(text, start)
            objects.append(content)
            first_is_json = first_is_json or start == first
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    return objects, first_is_json


def _fields(content: Any) -> dict[str, list[str]]:
    """Return an object's distinct values of each field of an answer, at any depth."""
    fields: dict[str, list[str]] = {}
    waiting, seen = [content], {id(content)}  # YAML aliases may put one object in many places
    while waiting:
        object_ = waiting.pop()
        for key, value in _pairs(object_):
            name = re.sub(r"[\s-]+", "_", str(key).strip().casefold())
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            if isinstance(value, dict) and id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)
            elif name in ("emotion", *FIELDS) and isinstance(value, str | int | float) and str(value).strip():
                text = one_line(" ".join(str(value).split()))
                if text not in fields.setdefault(name, []):
                    fields[name].append(text)
    return fields
