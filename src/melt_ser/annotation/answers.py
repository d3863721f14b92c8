"""Read a model's answer: the JSON that the prompt asks for, or the near-JSON that models often write instead."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from melt_ser.annotation.fields import Field, Value, WrongValue, field_key, plain
from melt_ser.annotation.prompts import Prompt
from melt_ser.core.errors import InputError, SetupError, did_you_mean

LONGEST = 20_000  # characters; a normal answer has a few hundred


class AnswerError(InputError):
    """An answer that cannot be read. The repair call sends the error's sentence to the model."""


@dataclass(frozen=True)
class Answer:
    """A model's answer about a line."""

    values: Mapping[str, Value]  # by field, without those that the model left out; labels as it wrote them
    probabilities: Mapping[str, float] | None = None  # by label, if the engine scores labels


def parse_answer(text: str, prompt: Prompt) -> Answer:
    """Parse the answer in a model's text: JSON, also in a code fence or in prose, with wrong commas and quotes.

    Keys may have any case and stand at any depth, but must not contradict each other. Labels stay as the model wrote
    them (`label_of` maps them to the set). Raises AnswerError if no object has every field that is not optional, if a
    field has two values or one out of range, or if the text is too long.
    """
    if len(text) > LONGEST:
        raise AnswerError(f"The answer has {len(text)} characters; answer with the JSON alone.")
    fields = {field_key(field.name): field for field in prompt.fields}
    needed = [key for key, field in fields.items() if not field.optional]
    found = [values for content in _objects(text, fields) if set(needed) <= set(values := _values(content, fields))]
    if not found:
        names = ", ".join(f"'{fields[key].name}'" for key in needed)
        wanted = "; ".join(f"for its {fields[key].name} {fields[key].wanted}" for key in needed)
        raise AnswerError(
            f"The answer is no JSON object with the field {names}; answer with the JSON alone, complete, and {wanted}."
        )
    read: dict[str, Value] = {}
    for key, given in found[-1].items():  # models that think aloud give their answer last
        field = fields[key]
        try:
            first, *others = [field.read(value) for value in given]
        except WrongValue as error:
            raise AnswerError(f"The answer's '{field.name}' must be {error}; answer with the JSON again.") from None
        if any(other != first for other in others):
            raise AnswerError(f"The answer has two values of '{field.name}'; answer with one JSON object, once.")
        read[field.name] = first
    return Answer(read)


def label_of(label_raw: str, labels: Sequence[str], rules: Mapping[str, str]) -> str | None:
    """Return the label for a raw one: itself if it is in the set, otherwise by rule, otherwise None.

    >>> [label_of(raw, ["joy", "Spaß"], {"comfort": "joy"}) for raw in (" Joy.", "comfort", "SPASS", "frustration")]
    ['joy', 'joy', 'Spaß', None]
    """
    spelled = {plain(label): label for label in labels}
    return spelled.get(plain(label_raw), rules.get(plain(label_raw)))


def parse_rules(rules: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Parse rules such as `frustration=anger`, for labels outside the set. Raises SetupError for a malformed rule."""
    parsed = {}
    spelled = {plain(label): label for label in labels}
    for rule in rules:
        outside, label = map(plain, rule.partition("=")[::2])
        if not outside or label not in spelled:
            choice = did_you_mean(label, labels) if labels else "its answer has none."
            raise SetupError(f"--map {rule} does not end in a label of the prompt: {choice}")
        if outside in spelled:
            raise SetupError(
                f"--map {rule}: '{spelled[outside]}' is a label of the prompt; rules are for labels outside its set."
            )
        parsed[outside] = spelled[label]
    return parsed


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


def _objects(text: str, fields: Mapping[str, Field]) -> list[Any]:
    """Return the JSON objects in a text. If the first brace opens no object, read the text in braces as YAML."""
    objects, first_is_json = _json_objects(text)
    start, end = text.find("{"), text.rfind("}")
    if not first_is_json and start < end:
        try:
            loose = yaml.load(text[start : end + 1].replace("\t", " "), Loader=_Loader)
        except (yaml.YAMLError, ValueError, RecursionError):
            return objects
        if _values(loose, fields):
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


def _values(content: Any, fields: Mapping[str, Field]) -> dict[str, list[Any]]:
    """Return the values of each field in an object, at any depth. `fields` are by `field_key`."""
    values: dict[str, list[Any]] = {}
    waiting, seen = [content], {id(content)}  # YAML aliases may put one object in many places
    while waiting:
        object_ = waiting.pop()
        for key, value in _pairs(object_):
            field = fields.get(field_key(str(key)))
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            if field is not None and field.takes(value):
                values.setdefault(field_key(field.name), []).append(value)
            elif isinstance(value, dict) and id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)
    return values
