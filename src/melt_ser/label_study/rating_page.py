"""The page that people judge labels on: of a listening test, or of a review. Its words are in a YAML (`words/`).

The page opens from a disk or from any static server. It keeps answers in the browser until the rater saves them as a
file, or sends them to `listen serve`, if the link that opened it is signed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from msgspec import Struct

from melt_ser.core.errors import InputError, SetupError, did_you_mean, first_line
from melt_ser.reporting.pages import render, script

Kind = Literal["listening", "review"]
FOLDER = files("melt_ser.label_study").joinpath("words")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
NAME = re.compile("[A-Za-z0-9_-]{1,40}")
MOST_QUESTIONS = 20


class Question(Struct, frozen=True):
    """A question about the rater; without `choices` it is answered in free text."""

    name: str
    question: str
    choices: list[str] = []


def load_words(chosen: str) -> dict[str, Any]:
    """Return the words of a language of the package (en, de) or of a YAML.

    Raises SetupError if there is no such file, InputError if a word is missing, unknown or lacks a placeholder.
    """
    english = _yaml(FOLDER.joinpath("en.yaml").read_text(encoding="utf-8"), "en.yaml")
    names = sorted(entry.name.removesuffix(".yaml") for entry in FOLDER.iterdir() if entry.name.endswith(".yaml"))
    if chosen in names:
        words, where = _yaml(FOLDER.joinpath(f"{chosen}.yaml").read_text(encoding="utf-8"), chosen), chosen
    elif Path(chosen).is_file():
        words, where = _yaml(Path(chosen).read_text(encoding="utf-8-sig"), chosen), chosen
    else:
        raise SetupError(f"There are no words '{chosen}': {did_you_mean(chosen, names)}; or give a YAML like en.yaml.")
    missing = [key for key in english if key not in words]
    if missing:
        raise InputError(f"{where} lacks {', '.join(missing)}; translate every text of en.yaml.")
    for key, text in words.items():
        if key not in english:
            raise InputError(f"{where} has a text '{key}' that no page shows; {did_you_mean(key, english)}")
        if type(text) is not type(english[key]):
            kind = "mapping of labels to words" if key == "labels" else "text; put it in quotes"
            raise InputError(f"{where}, {key}: '{text}' is no {kind}.")
        lost = [] if key == "labels" else sorted({*PLACEHOLDER.findall(text)} ^ {*PLACEHOLDER.findall(english[key])})
        if lost:
            raise InputError(f"{where}, {key}: {{{lost[0]}}} is in one of this text and en.yaml's alone; keep it.")
    return words


def load_questions(path: Path | None) -> list[Question]:
    """Return the questions of a YAML: a list of `name`, `question` and, if wanted, `choices`.

    Raises SetupError if there is no such file, InputError if it is not like that.
    """
    if path is None:
        return []
    if not path.is_file():
        raise SetupError(f"There is no file {path}; give a YAML with a list of name, question and choices.")
    import msgspec

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        questions = msgspec.convert(content, list[Question])
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no list of name, question and choices: {first_line(error)}") from None
    names = [question.name for question in questions]
    wrong = [name for name in names if not NAME.fullmatch(name) or names.count(name) > 1]
    if wrong or len(names) > MOST_QUESTIONS:
        raise InputError(
            f"{path} has {len(names)} questions, one with the name '{(wrong or names)[0]}'; give up to "
            f"{MOST_QUESTIONS}, each with a name of its own (letters, digits, - and _)."
        )
    return questions


def rating_page(
    kind: Kind, study: str, items: Sequence[dict[str, Any]], words: dict[str, Any], questions: Sequence[Question]
) -> str:
    """Return the page; each item has an `id`, the `labels` to choose from, and `check`, the answer to a check, or None.

    The items of a review also have `text`, `speaker`, `before` (the lines before, each with speaker and text), `said`
    (the answers of models, each with label and confidence), and `clip` (whether there is one).
    """
    text, digest = script("rating.js", "melt_ser.label_study")
    content = {"id": study, "kind": kind, "items": list(items), "words": words}
    return render(
        "rating.html",
        "melt_ser.label_study",
        kind=kind,
        words=words,
        questions=questions,
        count=len(items),
        has_clips=kind == "listening" or any(item["clip"] for item in items),
        checks=any(item["check"] is not None for item in items),
        study=json.dumps(content, ensure_ascii=False),
        script=text,
        script_hash=digest,
    )


def _yaml(text: str, where: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{where} is no YAML ({first_line(error)}); correct it.") from None
    if not isinstance(content, dict):
        raise InputError(f"{where} has no texts; copy en.yaml and translate it.")
    return content
