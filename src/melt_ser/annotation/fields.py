"""The fields of an answer: a prompt says which there are, of which type, and which may be left out.

`answer:` in a prompt's YAML maps the name of each field to its type, or to a mapping with the key `type`:

    labels: [Freude, Ärger, neutral]
    answer:
      emotion: label                            # one of the prompt's labels; also `labels` and `distribution`
      tone: {type: label, labels: [warm, cold]} # one of its own
      arousal: {type: score, from: 1, to: 7}    # 0.0 and 1.0: a number with decimals
      reason: {type: text, optional: true}

The first field with labels is the main one: it gives the label of a line. A prompt without `answer` asks for PAPER.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from melt_ser.annotation.engines import Schema
from melt_ser.core.errors import did_you_mean, one_line

KINDS = ("label", "labels", "distribution", "score", "text")
WITH_LABELS = KINDS[:3]
LEVELS = ("low", "mid", "high")  # of loudness and pitch
OPTIONS = {
    "label": {"labels"},
    "labels": {"labels"},
    "distribution": {"labels"},
    "score": {"from", "to"},
    "text": set(),
}

# A label or a text is a str, several labels are a tuple, a distribution is a mapping (shares of 1), a score is a float.
Value = str | tuple[str, ...] | Mapping[str, float] | float


class WrongValue(ValueError):
    """A value that is none of its field; the message says what the field needs, as the end of a sentence."""


class WrongFields(ValueError):
    """An `answer` that describes no fields; the message is the rest of a sentence about the prompt."""


@dataclass(frozen=True)
class Field:
    """One field of an answer."""

    name: str
    kind: str  # one of KINDS
    column: str  # of the labels file; that of the main field is not used
    labels: tuple[str, ...] = ()  # of a text: the values that are asked for, though others are kept
    lowest: float = 0.0  # of a score; two whole numbers ask for whole numbers
    highest: float = 0.0
    optional: bool = False
    group: str = ""  # the object within the answer that holds the field

    @property
    def schema(self) -> Schema:
        """The JSON schema of a value. Strict servers want every field, so an optional one may be null."""
        if self.kind == "text":
            return {"type": "string", "enum": list(self.labels)} if self.labels else {"type": "string"}
        if self.kind == "labels":
            choice = {"type": "string", "enum": list(self.labels)}
            return {"type": "array", "items": choice, "minItems": 0 if self.optional else 1}
        if self.kind == "label":
            schema: Schema = {"type": "string", "enum": list(self.labels)}
        elif self.kind == "distribution":
            schema = object_schema({label: {"type": "number"} for label in self.labels})
        else:
            whole = isinstance(self.lowest, int) and isinstance(self.highest, int)
            schema = {"type": "integer" if whole else "number", "minimum": self.lowest, "maximum": self.highest}
        return {"anyOf": [schema, {"type": "null"}]} if self.optional else schema

    def takes(self, value: Any) -> bool:
        """Return whether a JSON value may be one of this field: it has the right form, and is not empty."""
        if self.kind == "distribution":
            return isinstance(value, dict) and bool(value)
        if self.kind == "labels" and isinstance(value, list):
            return bool(value) and all(map(_is_text, value))
        return _is_text(value)

    def read(self, value: Any) -> Value:
        """Return a JSON value that the field `takes` as a value. Raises WrongValue for one out of range."""
        if self.kind == "score":
            return self._score(value)
        if self.kind == "distribution":
            return self._distribution(value)
        if self.kind == "labels":
            return tuple(dict.fromkeys(_text(item) for item in (value if isinstance(value, list) else [value])))
        return _text(value)

    def _score(self, value: Any) -> float:
        try:
            score = float(str(value).replace(",", "."))
        except ValueError:
            score = math.nan
        if not self.lowest <= score <= self.highest:
            raise WrongValue(f"a number from {self.lowest} to {self.highest}")
        return score

    def _distribution(self, value: Mapping[str, Any]) -> dict[str, float]:
        try:
            shares = {_text(label): float(share) for label, share in value.items()}
        except (TypeError, ValueError):
            shares = {}
        total = sum(shares.values())
        if not shares or min(shares.values()) < 0 or not 0 < total < math.inf:
            raise WrongValue("an object with a number for each label, none below 0, and not all 0")
        return {label: share / total for label, share in shares.items()}

    @property
    def usual(self) -> Any:
        """A JSON value of the usual length, to count its tokens; a text is empty, since its length is not known."""
        return {
            "label": max(self.labels, key=len, default=""),
            "labels": sorted(self.labels, key=len)[-2:],
            "distribution": dict.fromkeys(self.labels, 0.25),
            "score": 5,
            "text": "",
        }[self.kind]

    @property
    def wanted(self) -> str:
        """What a value is, for the sentence that asks a model to repair its answer."""
        choices = ", ".join(self.labels)
        return {
            "label": f"one of {choices}",
            "labels": f"some of {choices}",
            "distribution": f"a number for each of {choices}",
            "score": f"a number from {self.lowest} to {self.highest}",
            "text": "a text",
        }[self.kind]


def _paper(name: str, group: str = "", labels: tuple[str, ...] = ()) -> Field:
    return Field(name, "text", name, labels, optional=True, group=group)


def paper_fields(labels: Sequence[str]) -> tuple[Field, ...]:
    """Return the paper's answer: the label within a description of the speaker, the situation and the voice."""
    within = "elements"
    return (
        _paper("character"),
        _paper("context"),
        Field("emotion", "label", "", tuple(labels), group=within),
        _paper("loudness", within, LEVELS),
        _paper("pitch", within, LEVELS),
        _paper("rhythm_speed", within),
        _paper("emotional_impact", within),
    )


def main_field(fields: Sequence[Field]) -> Field | None:
    """Return the field that gives the label of a line; None if the answer has scores and texts alone."""
    return next((field for field in fields if field.kind in WITH_LABELS), None)


def in_order(fields: Sequence[Field]) -> list[Field]:
    """Return the fields in the order of the labels file, where the paper's label and voice come first."""
    return sorted(fields, key=lambda field: not field.group)


PAPER_COLUMNS = tuple(field.column for field in in_order(paper_fields(())) if field.column)  # in the labels file


def read_fields(answer: Mapping[Any, Any], labels: Sequence[str]) -> tuple[Field, ...]:
    """Return the fields that a prompt's `answer` describes; `labels` are the prompt's own. Raises WrongFields."""
    fields = tuple(_field(name, content, labels) for name, content in answer.items())
    keys = [field_key(field.name) for field in fields]
    if all(field.optional for field in fields) or len(set(keys)) < len(keys):
        raise WrongFields("has an 'answer' without a field that is not optional, or two fields of the same name")
    if any(
        field.column == "llm_label" and (field is not main_field(fields) or field.kind == "labels") for field in fields
    ):
        raise WrongFields("has a field 'label' that is not the label of a line; give it another name")
    return fields


def _field(name: Any, content: Any, labels: Sequence[str]) -> Field:
    content = content if isinstance(content, dict) else {"type": content}
    kind, optional = content.get("type"), content.get("optional", False)
    where = f"has an answer whose field '{name}'"
    if not isinstance(name, str) or not name.isidentifier():
        raise WrongFields(f"{where} has no name of letters, digits and _")
    if kind is None:
        raise WrongFields(f"{where} lacks its 'type': {did_you_mean('', KINDS)}")
    if kind not in KINDS:
        raise WrongFields(f"{where} has the type '{kind}': {did_you_mean(str(kind), KINDS)}")
    known = {"type", "optional"} | OPTIONS[kind]
    for key in content:
        if key not in known:
            raise WrongFields(f"{where} has the unknown key '{key}': {did_you_mean(str(key), known)}")
    if not isinstance(optional, bool):
        raise WrongFields(f"{where} has an 'optional' that is not true or false")
    chosen: tuple[str, ...] = ()
    lowest = highest = 0.0
    if kind in WITH_LABELS:
        given = content.get("labels", labels)
        if problem := wrong_labels(given):
            raise WrongFields(f"{where} {problem}")
        chosen = tuple(given)
    if kind == "score":
        lowest, highest = content.get("from"), content.get("to")
        if not _is_number(lowest) or not _is_number(highest) or lowest >= highest:
            raise WrongFields(f"{where} needs the numbers 'from' and 'to', such as from: 1, to: 7")
    return Field(name, kind, f"llm_{name}", chosen, lowest, highest, optional)


def wrong_labels(labels: Any) -> str:
    """Return the problem of a label set, as the rest of a sentence; "" if it has none."""
    if not isinstance(labels, list | tuple) or not labels:
        return "needs labels"
    if not all(isinstance(label, str) and plain(label) and label == one_line(label.strip()) for label in labels):
        return "has labels that are not texts (quote yes, no, on, off and numbers)"
    if len({plain(label) for label in labels}) < max(2, len(labels)):
        return "has a label twice (letter case makes no difference), or only one label"
    return ""


def object_schema(properties: Mapping[str, Schema]) -> Schema:
    """Return the JSON schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def answer_schema(fields: Sequence[Field]) -> Schema:
    """Return the JSON schema of an answer with these fields."""
    properties: dict[str, Schema] = {field.name: field.schema for field in fields if not field.group}
    for group in dict.fromkeys(field.group for field in fields if field.group):
        properties[group] = object_schema({field.name: field.schema for field in fields if field.group == group})
    return object_schema(properties)


def field_key(name: str) -> str:
    """Return the name of a field by which an answer's keys are found, in any case and with spaces or hyphens."""
    return re.sub(r"[\s-]+", "_", plain(name))


def plain(label: str) -> str:
    """Return what two spellings of a label have in common: no letter case, and no signs around it.

    >>> plain(" **Spaß!** ") == plain("SPASS"), plain("「高兴」。")
    (True, '高兴')
    """
    return unicodedata.normalize("NFKC", label).strip().strip(".!。｡！'\"*_ 「」“”„‘’").casefold()


def _is_text(value: Any) -> bool:
    return isinstance(value, str | int | float) and bool(str(value).strip())


def _text(value: Any) -> str:
    return one_line(" ".join(str(value).split()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
