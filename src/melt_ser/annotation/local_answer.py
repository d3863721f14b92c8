"""Write an answer by its JSON schema with a language model: every answer follows the schema, and nothing is sampled.

Labels and whole numbers are chosen by the likelihood of each of them; a distribution is that of its labels, and a score
is the mean of its numbers. A text is what the model writes greedily within its quotes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from melt_ser.annotation.engines import Schema
from melt_ser.evaluation.calibration import normalised, with_temperature

DECIMALS = 10  # steps between the ends of a scale with decimals


class LanguageModel(Protocol):
    """What writes the answer."""

    def likelihoods(self, text: str, continuations: Sequence[str]) -> np.ndarray:
        """Return the log-likelihood of each continuation of a text, up to a constant."""
        ...

    def continuation(self, text: str) -> str:
        """Return what the model writes next, up to a quote; it needs no escapes in JSON."""
        ...


class AnswerWriter:
    """An answer as it grows.

    Args:
        model: writes it.
        question: the text before the answer.
        temperature: of the distributions.
    """

    def __init__(self, model: LanguageModel, question: str, temperature: float) -> None:
        self.model = model
        self.question = question
        self.temperature = temperature
        self.text = ""
        self.labels: list[str] = []  # of the first field with labels, once it is written
        self.scores: np.ndarray | None = None  # the log-likelihoods of these, (labels,)

    def write(self, schema: Schema) -> Iterator[None]:
        """Write a value by its schema; yield after each field."""
        schema = schema.get("anyOf", [schema])[0]  # an optional field is written too
        properties: Mapping[str, Schema] = schema.get("properties", {})
        if properties and not _is_distribution(schema):
            # Groups come first: in the paper's answer the label, so that it does not depend on the rest.
            in_order = sorted(properties, key=lambda name: not _is_group(properties[name]))
            for number, name in enumerate(in_order):
                self.text += f"{', ' if number else '{'}{_json(name)}: "
                yield from self.write(properties[name])
            self.text += "}"
            return
        if properties:
            shares = with_temperature(softmax(self._scores(list(properties))), self.temperature)[0]
            self.text += _json(dict(zip(properties, np.round(shares, 4).tolist(), strict=True)))
        elif "enum" in schema:
            self.text += _json(schema["enum"][int(self._scores(schema["enum"]).argmax())])
        elif "minimum" in schema:
            self.text += self._score(schema)
        elif schema["type"] == "array":
            self._array(schema["items"]["enum"])
        else:
            self.text += '"'
            self.text += self.model.continuation(self.question + self.text) + '"'
        yield

    def _scores(self, labels: list[str]) -> np.ndarray:
        """Return the log-likelihood of each label in its quotes."""
        scores = self._likelihoods([_json(label) for label in labels])
        if self.scores is None:
            self.labels, self.scores = labels, scores
        return scores

    def _score(self, schema: Schema) -> str:
        lowest, highest = schema["minimum"], schema["maximum"]
        steps = highest - lowest if schema["type"] == "integer" else DECIMALS
        numbers = np.linspace(lowest, highest, steps + 1)
        shares = softmax(self._likelihoods([f"{number:.6g}," for number in numbers]))[0]
        return f"{float(shares @ numbers):.6g}"

    def _array(self, labels: list[str]) -> None:
        """Write labels until the end is more likely than another one."""
        self.text += "["
        self.text += _json(labels[int(self._scores(labels).argmax())])
        left = [label for label in labels if not self.text.endswith(f"[{_json(label)}")]
        while left:
            nexts = [f", {_json(label)}" for label in left] + ["]"]
            best = int(self._likelihoods(nexts).argmax())
            if best == len(left):
                break
            self.text += nexts[best]
            del left[best]
        self.text += "]"

    def _likelihoods(self, continuations: Sequence[str]) -> np.ndarray:
        return self.model.likelihoods(self.question + self.text, continuations)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return the probabilities, (1, labels), of scores, (labels,)."""
    shares: np.ndarray = np.exp(scores - scores.max())[None]
    return normalised(shares)


def _is_distribution(schema: Schema) -> bool:
    return all(inner == {"type": "number"} for inner in schema.get("properties", {}).values())


def _is_group(schema: Schema) -> bool:
    return "properties" in schema and not _is_distribution(schema)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
