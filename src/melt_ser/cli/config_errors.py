"""Hydra's and OmegaConf's exceptions about a mistyped command, told as one sentence with the valid choices."""

from __future__ import annotations

import dataclasses
import re
import traceback
import typing
from typing import Any

import yaml
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from melt_ser.core.errors import did_you_mean

GROUPS = ("backbone", "dataset", "labels", "head", "augment", "trainer", "eval", "experiment")


def explain(error: BaseException, schema: type[Any]) -> str | None:
    """One sentence about a configuration mistake; None where the exception is about something else."""
    chain = _chain(error)
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError):
        return _unreadable(error)
    text = "\n".join(str(link) for link in chain)
    theirs = any(isinstance(link, HydraException | OmegaConfBaseException) for link in chain)
    if not theirs and not _raised_by_hydra(error):
        return None
    unparsed = next((link for link in chain if isinstance(link, OverrideParseException)), None)
    if unparsed is not None:
        return _unparsed(unparsed.override)
    for pattern, tell in (
        (r"Could not find '(?:[^']*/)?([\w@.]+)/([^'/]+)'", _unknown_choice),
        (r"Could not override '([^']+)'", _unknown_key),
        (r"Key '([^']+)' (?:is )?not in '(\w+)'", _unknown_field),
        (r"Key '([^']+)' is not in struct", _unknown_key),
        (r"In '([^']+)': [^']*?Merge error: (\w+) is not a subclass", _not_a_mapping),
        (r"(?i)missing mandatory value: ([\w.]+)", _missing),
        (r"full_key: ([\w.]+)", _wrong_value),
    ):
        match = re.search(pattern, text)
        if match:
            return tell(match, text, schema)
    return " ".join(text.split("\n\n")[0].split())


def _unreadable(error: yaml.YAMLError | UnicodeDecodeError) -> str | None:
    """A YAML that cannot be parsed, with its file, which stands in the frame where Hydra reads it."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__") == "hydra._internal.core_plugins.file_config_source":
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark is not None else ""
            problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not a mapping"
            return f"{frame.f_locals['full_path']}{line} is not YAML in UTF-8 ({problem}); correct it."
    return None


def _raised_by_hydra(error: BaseException) -> bool:
    """Whether Hydra or OmegaConf raised it, who have other exceptions beside their own."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__", "").partition(".")[0] in ("hydra", "omegaconf")


def _chain(error: BaseException | None) -> list[BaseException]:
    links = []
    while error is not None and error not in links:
        links.append(error)
        error = error.__cause__ or error.__context__
    return links


def _unparsed(override: str) -> str:
    """What Hydra's grammar does not take: letters beyond ASCII and most signs unless quoted, and such keys at all."""
    key, equals, value = override.partition("=")
    if not equals:
        return f"'{override}' is no setting; give it as <key>={override}."
    if not re.fullmatch(r"[+~]*[\w./@-]+", key, re.ASCII):
        return f"'{key}' cannot be a key on the command line; write it into a YAML of yours (--config-dir)."
    if value.startswith("{"):
        return f"{key}: {value} has keys that a command line cannot; write it into a YAML of yours (--config-dir)."
    if value.startswith(("[", "'", '"')):
        return f"{key}: {value} cannot be read; quote what has other signs than ASCII letters and digits within it."
    return f"{key}: quote a value with such signs, within the shell's quotes: \"{key}='{value}'\"."


def _unknown_choice(match: re.Match[str], text: str, schema: type[Any]) -> str:
    group, name = match.groups()
    options = re.search(r"Available options in '[^']*':\n((?:\t\S+\n?)*)", text)
    choices = options.group(1).split() if options else []
    return f"There is no {group} '{name}'; {did_you_mean(name, choices)}"


def _unknown_key(match: re.Match[str], text: str, schema: type[Any]) -> str:
    key = match.group(1)
    *parents, name = key.split(".")
    node: Any = schema
    for parent in parents:
        fields = typing.get_type_hints(node) if dataclasses.is_dataclass(node) else {}
        if parent not in fields:
            return f"There is no key '{key}'; {did_you_mean(parent, fields or _names(schema))}"
        node = fields[parent]
    if typing.get_origin(node) is dict:
        return f"'{'.'.join(parents)}' has no entry '{name}' yet; add one with a plus: +{key}=<value>."
    choices = _names(node) if dataclasses.is_dataclass(node) else []
    where = f" in '{'.'.join(parents)}'" if parents else ""
    return f"There is no key '{name}'{where}; {did_you_mean(name, choices or _names(schema))}"


def _unknown_field(match: re.Match[str], text: str, schema: type[Any]) -> str:
    name, owner = match.groups()
    for node in (schema, *typing.get_type_hints(schema).values()):
        if getattr(node, "__name__", "") == owner:
            full = re.search(r"full_key: ([\w.]+)", text)
            return f"There is no key '{full.group(1) if full else name}'; {did_you_mean(name, _names(node))}"
    return f"There is no key '{name}'; {did_you_mean(name, _names(schema))}"


def _wrong_value(match: re.Match[str], text: str, schema: type[Any]) -> str:
    key = match.group(1)
    enumeration = re.search(r"Invalid value '([^']*)', expected one of \[([^\]]*)\]", text)
    if enumeration:
        value, choices = enumeration.groups()
        return f"{key} cannot be '{value}'; {did_you_mean(value, re.split(r', *', choices))}"
    if "'NoneType' object" in text:
        return f"{key} is null, so it has no entries to change; write it into a YAML of yours (--config-dir)."
    if "is not a ListConfig, list or tuple" in text:
        return f"{key} is a list: give it in brackets, within the shell's quotes: '{key}=[…]'."
    reason = " ".join(text[: match.start()].split("\n")[-2].split()) if "\n" in text[: match.start()] else text
    return f"{key}: {reason.rstrip('.')}."


def _not_a_mapping(match: re.Match[str], text: str, schema: type[Any]) -> str:
    return f"The YAML of {match.group(1)} is of the type {match.group(2)}; it has to be keys and values."


def _missing(match: re.Match[str], text: str, schema: type[Any]) -> str:
    return f"{match.group(1)} has to be given: {match.group(1)}=<value>."


def _names(node: Any) -> list[str]:
    names = [field.name for field in dataclasses.fields(node)]
    return [*names, "experiment"] if "experiment_name" in names else names
