"""Prompts are data: a YAML with a name, a version, the label set, the answer and the templates of the messages.

`system` and `template` are Jinja templates. Every value in double braces comes out as JSON (a text as a string in
quotes), so that no utterance can leave its quotes, end the turn or change the schema. `template` knows `speaker`,
`season`, `episode`, `utterance` (its text), `previous` and `later` (the lines before and after, if `history` and
`following` ask for some), every column of the table by its name in lower case (with _ for spaces and signs), `labels`
and `corpus`; `system` knows
only the last two. `fields.py` describes `answer`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined, Template, TemplateError, Undefined, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from melt_ser.annotation.engines import Message, Schema
from melt_ser.annotation.examples import wrong_examples
from melt_ser.annotation.fields import (
    Field,
    WrongFields,
    answer_schema,
    main_field,
    paper_fields,
    read_fields,
    wrong_labels,
)
from melt_ser.core.errors import SetupError, did_you_mean, one_line
from melt_ser.core.files import sha256
from melt_ser.core.package import conf_folder
from melt_ser.corpora.lines import Line

WORDS = {str: "text", int: "whole number", list: "list", dict: "mapping of fields"}
KEYS = {"name": str, "version": int, "template": str}  # required keys and their types
OPTIONAL = {
    **{"labels": list, "answer": dict, "system": str, "corpus": str},
    **{"history": int, "following": int, "examples": list},
}
EMPTY_LINE: dict[str, Any] = {"speaker": "", "season": "", "episode": "", "utterance": "", "previous": [], "later": []}
KNOWN = {*EMPTY_LINE, "labels", "corpus"}  # variables of a template; any other is a column of the table
# Chat models take these for the beginning or the end of a turn: <|im_end|>, <end_of_turn>, </s>, [INST].
TURN_MARK = re.compile(r"<|\[(?=/?[A-Z_]+\])")


def quoted(value: Any) -> str:
    """Return a value as JSON on one line, without the marks of any chat template; it still decodes to the value.

    >>> quoted('He said "no".<end_of_turn>')
    '"He said \\\\"no\\\\".\\\\u003cend_of_turn>"'
    """
    text = json.dumps(value, ensure_ascii=False)
    text = TURN_MARK.sub(lambda mark: f"\\u{ord(mark[0]):04x}", text)
    return "".join(c if c == " " or c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _quoted_if_known(value: Any) -> str:
    return quoted(str(value) if isinstance(value, Undefined) else value)  # str raises and names the unknown variable


ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, finalize=_quoted_if_known, trim_blocks=True)


@dataclass(frozen=True)
class Prompt:
    """A prompt; `version` is the YAML's own with a hash of its content, such as 1-3f9c2ab1."""

    name: str
    version: str
    fields: tuple[Field, ...]  # of the answer
    history: int  # number of earlier lines of the dialogue that the template gets
    following: int  # number of later ones
    system: str
    template: str
    examples: tuple[Mapping[str, Any], ...]  # lines with the wanted answer
    corpus: str = ""  # where the lines are from, in words

    @property
    def main(self) -> Field | None:
        """The field that gives the label of a line; None if the answer has scores and texts alone."""
        return main_field(self.fields)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label set; empty without a main field."""
        return self.main.labels if self.main else ()

    @cached_property
    def columns(self) -> list[str]:
        """The columns of the table that the template shows."""
        return sorted(meta.find_undeclared_variables(ENVIRONMENT.parse(self.template)) - KNOWN)

    @cached_property
    def schema(self) -> Schema:
        """The JSON schema of the answer; it depends on the prompt alone, never on the utterance."""
        return answer_schema(self.fields)

    def messages(self, line: Line, previous: Sequence[Line] = (), later: Sequence[Line] = ()) -> list[Message]:
        """Return the chat that asks about a line.

        `previous` and `later` are the other lines of its dialogue, the earliest first.
        """
        values = _values(line) | {
            "previous": [_values(other) for other in (previous[-self.history :] if self.history else ())],
            "later": [_values(other) for other in later[: self.following]],
        }
        empty = EMPTY_LINE | dict.fromkeys(self.columns, "")
        chat = [self._message("system", self._templates[0], {})] if self.system else []
        for example in self.examples:
            chat.append(self._message("user", self._templates[1], {**empty, **example}))
            chat.append({"role": "assistant", "content": json.dumps(example["answer"], ensure_ascii=False)})
        return [*chat, self._message("user", self._templates[1], values)]

    @cached_property
    def _templates(self) -> tuple[Template, Template]:
        return ENVIRONMENT.from_string(self.system), ENVIRONMENT.from_string(self.template)

    def _message(self, role: str, template: Template, values: Mapping[str, Any]) -> Message:
        known = {"labels": list(self.labels), "corpus": self.corpus}
        return {"role": role, "content": template.render({**values, **known}).strip()}


def _values(line: Line) -> dict[str, Any]:
    """Return what a template knows of a line; our names win over columns of the same name."""
    ours = {"speaker": line.speaker, "season": line.season, "episode": line.episode, "utterance": line.text}
    return {_variable(column): cell for column, cell in line.columns.items()} | ours


def _variable(column: str) -> str:
    """Return the name of a column in a template.

    >>> _variable("Topic"), _variable("Start (s)")
    ('topic', 'start_s')
    """
    name = column.lower()
    return name if name.isidentifier() else re.sub(r"\W+", "_", name).strip("_")


def check_columns(prompt: Prompt, lines: Sequence[Line]) -> None:
    """Raise SetupError if a line lacks a column that the prompt shows."""
    for column in prompt.columns:
        if not all(column in _values(line) for line in lines):
            columns = {*KNOWN, *_values(lines[0])}
            raise SetupError(
                f"The prompt {prompt.name} shows {{{{ {column} }}}}, but not every table has such a column: "
                f"{did_you_mean(column, columns)}"
            )


def load_prompt(name_or_path: str, corpus: str | None = None) -> Prompt:
    """Load a prompt by its name in the package, or by the path of a YAML file; `corpus` replaces that of the YAML.

    Raises SetupError if there is none, if a key is missing, unknown or of the wrong type, or if a template fails.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        shipped = conf_folder() / "prompt"
        path = shipped / f"{name_or_path}.yaml"
        if not path.is_file():
            names = did_you_mean(name_or_path, [file.stem for file in shipped.glob("*.yaml")]).rstrip(".?")
            raise SetupError(
                f"There is no prompt '{name_or_path}' ({names}); the path of a YAML file ends in .yaml or .yml."
            )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(f"The prompt {path} cannot be read: {error.strerror}; give the path of a YAML.") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise SetupError(f"The prompt {path} is not YAML: {_place(error)}; correct it there.") from None
    if corpus is not None and isinstance(content, dict):
        content["corpus"] = corpus
    _check(content, path)
    labels = content.get("labels", ())
    try:
        fields = read_fields(content["answer"], labels) if "answer" in content else paper_fields(labels)
    except WrongFields as error:
        raise _wrong(path, str(error)) from None
    if problem := wrong_examples(content.get("examples", ()), fields):
        raise _wrong(path, problem)
    prompt = Prompt(
        name=content["name"],
        version=f"{content['version']}-{_digest(content)}",
        fields=fields,
        history=content.get("history", 0),
        following=content.get("following", 0),
        system=content.get("system", ""),
        template=content["template"],
        examples=tuple(content.get("examples", ())),
        corpus=content.get("corpus", ""),
    )
    try:
        columns = dict.fromkeys(prompt.columns, "")
        lines = [Line("", text, "", "", "", "", 0, None, "", columns) for text in ("one", "other")]
        one, other = map(prompt.messages, lines)
        unknown = {key for example in prompt.examples for key in example} - {*EMPTY_LINE, "answer", *columns}
    except (TemplateError, TypeError) as error:
        raise SetupError(f"The prompt {path} has a template that fails: {_place(error)}; correct it there.") from None
    if one == other:
        raise SetupError(f"The prompt {path} does not ask about the line; put {{{{ utterance }}}} into its template.")
    if unknown:
        raise SetupError(f"The prompt {path} has an example with '{min(unknown)}', which its template does not show.")
    if corpus is not None and "corpus" not in meta.find_undeclared_variables(
        ENVIRONMENT.parse(prompt.system + prompt.template)
    ):
        raise SetupError(
            f"The prompt {path} does not say {{{{ corpus }}}}; leave --corpus out, or give another prompt."
        )
    return prompt


def _digest(content: Mapping[str, Any]) -> str:
    """Return a hash of a prompt's content; the order of keys counts only for the fields of the answer."""
    answer = {"answer": list(content["answer"].items())} if "answer" in content else {}
    return sha256(json.dumps({**content, **answer}, sort_keys=True, default=str))[:8]


def _check(content: Any, path: Path) -> None:
    """Raise SetupError if a prompt's YAML lacks a key, or has an unknown one or one of the wrong type."""
    known = KEYS | OPTIONAL
    problem = "" if isinstance(content, dict) else "is no mapping of keys"
    for key in [] if problem else [*content, *KEYS]:
        if problem:
            break
        if key not in known:
            problem = f"has an unknown key '{key}': {did_you_mean(str(key), known)}"
        elif key not in content:
            problem = f"lacks the key '{key}'"
        elif not isinstance(content[key], known[key]):
            problem = f"has a '{key}' that is no {WORDS[known[key]]}"
    if not problem:
        if "labels" in content or "answer" not in content:
            problem = wrong_labels(content.get("labels"))
        for key in ("history", "following"):
            if content.get(key, 0) < 0:
                problem = f"has a '{key}' that is no number of lines"
        for number, example in enumerate(content.get("examples", ()), start=1):
            if not isinstance(example, dict) or {"utterance", "answer"} - set(example):
                problem = f"has an example {number} without utterance and answer"
    if problem:
        raise _wrong(path, problem)


def _place(error: Exception) -> str:
    """Return what a reader of YAML or of templates says, with the place, on one line and without a full stop."""
    mark, line = getattr(error, "problem_mark", None), getattr(error, "lineno", None)
    text = str(getattr(error, "problem", None) or error)
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else f", in line {line}" if line else ""
    return one_line(" ".join(text.split())).rstrip(".") + where


def _wrong(path: Path, problem: str) -> SetupError:
    """Return the error for a prompt with a problem, the rest of a sentence; one that ends with choices has its fix."""
    return SetupError(f"The prompt {path} {problem}" + ("" if problem.endswith(("?", ".")) else "; correct it there."))
