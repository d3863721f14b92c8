"""Read the files that raters save or send: of a listening test or of a review."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.files import read_typed
from melt_ser.label_study.listening import SCHEMA_VERSION


class Given(Struct):
    """An answer of a rater; `chosen` None: the clip did not play, or the rater cannot say."""

    item: str
    chosen: str | None
    side: str | None  # left or right; None in a review
    plays: int
    seconds: float


class Answers(Struct, omit_defaults=True):
    """The file of a rater."""

    schema_version: int
    study: str
    rater: str
    answers: list[Given]
    items: int = 0  # of the whole test
    about: dict[str, str] = {}  # the rater's answers about themselves


Raters = dict[str, dict[str, Given]]  # the answers of each rater by item


def read_answers(
    paths: Sequence[Path], study: str, key_path: Path, labels: Mapping[str, Sequence[str]]
) -> tuple[Raters, dict[str, dict[str, str]]]:
    """Return the answers of each rater by item, and each rater's answers about themselves.

    A folder stands for its JSON files. Several files of one rater are joined. Raises SetupError if a file is missing,
    InputError if one is damaged, belongs to another study, has an answer that the study does not offer, or contradicts
    another file of the same rater.

    Args:
        paths: the raters' files, or folders of them.
        study: the name of the study in the key.
        key_path: the key, for error messages.
        labels: the labels to choose from, by item.
    """
    given: defaultdict[str, dict[str, Given]] = defaultdict(dict)
    about: dict[str, dict[str, str]] = {}
    for path in _files(paths):
        content: Answers = read_versioned(path, Answers, "ask the rater to save the answers again")
        if content.study != study:
            raise InputError(
                f"{path} answers the study {content.study}, but {key_path} belongs to {study}; "
                "give the key.json of that study."
            )
        wrong = wrong_answer(content, labels)
        if wrong is not None:
            raise InputError(
                f"{path}: '{wrong.chosen}' for the item {wrong.item} is not an answer of this study; "
                "ask the rater to save the answers again."
            )
        _join(given[content.rater], {answer.item: answer for answer in content.answers}, content.rater, path)
        if content.about:
            about[content.rater] = content.about
    return dict(given), about


def wrong_answer(content: Answers, labels: Mapping[str, Sequence[str]]) -> Given | None:
    """Return the first answer that the study does not offer."""
    for answer in content.answers:
        if answer.item not in labels or answer.chosen not in (None, *labels[answer.item]):
            return answer
    return None


def _join(before: dict[str, Given], answers: dict[str, Given], rater: str, path: Path) -> None:
    """Add a rater's answers to those of their other files; an item skipped in one file may be judged in another."""
    for name, answer in answers.items():
        known = before[name].chosen if name in before else None
        if known is not None and answer.chosen not in (None, known):
            raise InputError(
                f"{path} says '{answer.chosen}' for the item {name}, and another file of rater {rater} '{known}'; "
                "leave the older file out, or, if two people share the code, change 'rater' in one file."
            )
        if known is None:
            before[name] = answer


def _files(paths: Sequence[Path]) -> list[Path]:
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not files:
        raise SetupError(f"There are no answers (*.json) in {paths[0]}; give the files that the raters saved.")
    return files


def read_versioned(path: Path, kind: Any, fix: str) -> Any:
    if not path.is_file():
        raise SetupError(f"There is no file {path}; {fix}.")
    content = read_typed(path, kind, fix)
    if content.schema_version != SCHEMA_VERSION:
        raise InputError(f"{path} is of version {content.schema_version}, not {SCHEMA_VERSION}; {fix}.")
    return content
