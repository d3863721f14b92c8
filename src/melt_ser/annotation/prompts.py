"""Prompts are data: a YAML with a name, a version, the label set and the templates of the messages.

`system` and `template` are Jinja templates. Every value in double braces comes out as JSON (a text as a string in
quotes), so that no utterance can leave its quotes, end the turn or change the schema. `template` knows `speaker`,
`season`, `episode`, `utterance` (its text), `previous` (the earlier lines, if `history` asks for some) and `labels`;
`system` knows only `labels`.
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
from jinja2 import StrictUndefined, Template, TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from melt_ser.annotation.engines import Message, Schema
from melt_ser.core.errors import SetupError, did_you_mean
from melt_ser.core.files import sha256
from melt_ser.core.package import conf_folder
from melt_ser.corpora.lines import Line

LEVELS = ("low", "mid", "high")  # of loudness and pitch
DESCRIBED = ("loudness", "pitch", "rhythm_speed", "emotional_impact")
KEYS = {"name": str, "version": int, "labels": list, "template": str}  # required keys and their types
OPTIONAL = {"system": str, "history": int, "examples": list}
EMPTY_LINE: dict[str, Any] = {"speaker": "", "season": "", "episode": "", "utterance": "", "previous": []}
EXAMPLE_KEYS = {*EMPTY_LINE, "answer"}
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
    labels: tuple[str, ...]
    history: int  # number of earlier lines of the dialogue that the template gets
    system: str
    template: str
    examples: tuple[Mapping[str, Any], ...]  # lines with the wanted answer

    @cached_property
    def schema(self) -> Schema:
        """The JSON schema of the answer; it depends on the prompt alone, never on the utterance."""
        text: Schema = {"type": "string"}
        level: Schema = {"type": "string", "enum": list(LEVELS)}
        elements = {"emotion": {"type": "string", "enum": list(self.labels)}}
        elements |= {name: level if name in ("loudness", "pitch") else text for name in DESCRIBED}
        return _object({"character": text, "context": text, "elements": _object(elements)})

    def messages(self, line: Line, previous: Sequence[Line] = ()) -> list[Message]:
        """Return the chat that asks about a line; `previous` are the earlier lines of its dialogue, the latest last."""
        history = previous[-self.history :] if self.history else ()
        values = {
            "speaker": line.speaker,
            "season": line.season,
            "episode": line.episode,
            "utterance": line.text,
            "previous": [{"speaker": earlier.speaker, "utterance": earlier.text} for earlier in history],
        }
        chat = [self._message("system", self._templates[0], {})] if self.system else []
        for example in self.examples:
            chat.append(self._message("user", self._templates[1], {**EMPTY_LINE, **example}))
            chat.append({"role": "assistant", "content": json.dumps(example["answer"], ensure_ascii=False)})
        return [*chat, self._message("user", self._templates[1], values)]

    @cached_property
    def _templates(self) -> tuple[Template, Template]:
        return ENVIRONMENT.from_string(self.system), ENVIRONMENT.from_string(self.template)

    def _message(self, role: str, template: Template, values: Mapping[str, Any]) -> Message:
        return {"role": role, "content": template.render(labels=list(self.labels), **values).strip()}


def load_prompt(name_or_path: str) -> Prompt:
    """Load a prompt by its name in the package, or by the path of a YAML file.

    Raises SetupError if there is none, if a key is missing, unknown or of the wrong type, or if a template fails.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        shipped = conf_folder() / "prompt"
        path = shipped / f"{name_or_path}.yaml"
        if not path.is_file():
            names = [file.stem for file in shipped.glob("*.yaml")]
            raise SetupError(
                f"There is no prompt '{name_or_path}' ({did_you_mean(name_or_path, names)}); "
                "or give the path of a YAML file."
            )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(f"The prompt {path} cannot be read: {error.strerror}; give the path of a YAML.") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise SetupError(f"The prompt {path} is not YAML: {' '.join(str(error).split())}; correct it there.") from None
    _check(content, path)
    prompt = Prompt(
        name=content["name"],
        version=f"{content['version']}-{sha256(json.dumps(content, sort_keys=True, default=str))[:8]}",
        labels=tuple(content["labels"]),
        history=content.get("history", 0),
        system=content.get("system", ""),
        template=content["template"],
        examples=tuple(content.get("examples", ())),
    )
    try:
        one, other = (prompt.messages(Line("", text, "", "", "", "", 0, None, "", {})) for text in ("one", "other"))
    except (TemplateError, TypeError) as error:
        raise SetupError(f"The prompt {path} has a template that fails: {error}; correct it there.") from None
    if one == other:
        raise SetupError(f"The prompt {path} does not ask about the line; put {{{{ utterance }}}} into its template.")
    return prompt


def _check(content: Any, path: Path) -> None:
    """Raise SetupError if a prompt's YAML lacks a key, or has an unknown one or one of the wrong type."""
    known = KEYS | OPTIONAL
    problem = "" if isinstance(content, dict) else "is no mapping of keys"
    for key in [] if problem else [*content, *KEYS]:
        if key not in known:
            problem = f"has an unknown key '{key}': {did_you_mean(str(key), known)}"
        elif key not in content:
            problem = f"lacks the key '{key}'"
        elif not isinstance(content[key], known[key]):
            problem = f"has a '{key}' that is no {known[key].__name__}"
    if not problem:
        labels = content["labels"]
        if not labels or not all(isinstance(label, str) and label == label.strip().casefold() for label in labels):
            problem = "has labels that are not texts in lower case (quote yes, no, on and off)"
        elif len(set(labels)) < max(2, len(labels)):
            problem = "has a label twice, or only one label"
        if content.get("history", 0) < 0:
            problem = "has a 'history' that is no number of lines"
        for number, example in enumerate(content.get("examples", ()), start=1):
            if not isinstance(example, dict) or {"utterance", "answer"} - set(example) or set(example) - EXAMPLE_KEYS:
                optional = "speaker, season, episode or previous"
                problem = f"has an example {number} without utterance and answer, or with a key beyond {optional}"
    if problem:
        raise SetupError(f"The prompt {path} {problem}; correct it there.")


def labels_of(schema: Schema) -> list[str]:
    """Return the label set in a prompt's schema."""
    labels: list[str] = schema["properties"]["elements"]["properties"]["emotion"]["enum"]
    return labels


def _object(properties: dict[str, Any]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
