"""The documentation of the settings, read from config.py: for `--help` and for docs/settings.md."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import shutil
import sys
import textwrap
import typing
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from melt_ser import config as settings
from melt_ser.cli.compose import SCHEMAS, compose, with_protocol
from melt_ser.core.errors import SetupError
from melt_ser.core.package import conf_folder

VERBS = {"config": "train", "evaluate": "evaluate", "prepare": "prepare"}  # by the name of the main YAML
FIRST = {"evaluate": "RUN dataset=NAME "}  # what a verb cannot do without
WIDTH = 100  # columns, if standard output is no terminal
LONGEST = 60  # characters of a default value; a longer mapping or list is shown by its number of entries


class Setting(NamedTuple):
    """One key: its full name, default as text, sentences, and for an enumeration its members and their meaning."""

    key: str
    default: str
    text: str
    choices: dict[str, str]


class Group(NamedTuple):
    """One group of settings and its YAML choices; the keys outside any group have the name ''."""

    name: str
    text: str
    choices: list[str]
    settings: list[Setting]


@cache
def strings_under_names() -> dict[str, dict[str, str]]:
    """Return the string under each field and enum member of config.py: {class: {name: text}}."""
    classes = [node for node in ast.parse(inspect.getsource(settings)).body if isinstance(node, ast.ClassDef)]
    texts: dict[str, dict[str, str]] = {}
    for node in classes:
        texts[node.name] = {}
        for statement, below in zip(node.body, node.body[1:], strict=False):
            match statement, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    texts[node.name][name] = " ".join(text.split())
    return texts


def groups_of(config_name: str, overrides: list[str], folder: Path | None = None) -> list[Group]:
    """Return the groups of a verb with their composed values; the keys outside any group come last.

    Args:
        config_name: The verb's main YAML: config, evaluate or prepare.
        overrides: As typed on the command line.
        folder: The user's own YAML folder (`--config-dir`), or None.
    """
    search = [f"hydra.searchpath=['file://{folder.absolute()}']"] if folder is not None else []
    schema = SCHEMAS[config_name]
    values = OmegaConf.to_container(with_protocol(compose([*overrides, *search], config_name), schema), resolve=True)
    assert isinstance(values, dict)
    types = typing.get_type_hints(schema)
    groups = [
        Group(name, inspect.getdoc(node) or "", yaml_choices(name, folder), settings_of(node, values[name], name))
        for name, node in types.items()
        if dataclasses.is_dataclass(node)
    ]
    if config_name == "config":
        groups.append(Group("experiment", "A whole study in one file.", yaml_choices("experiment", folder), []))
    return [*groups, Group("", "Other keys.", [], settings_of(schema, values, ""))]


def settings_of(node: Any, values: Any, group: str) -> list[Setting]:
    """Return the settings of a dataclass that are no groups themselves. `values` maps each key to its value."""
    hints = typing.get_type_hints(node)
    texts = strings_under_names()
    listed = []
    for field in dataclasses.fields(node):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            continue
        enums = [kind for kind in (hint, *typing.get_args(hint)) if isinstance(kind, type) and issubclass(kind, Enum)]
        members = {name: member for enum in enums for name, member in enum.__members__.items()}
        documented = {name: text for enum in enums for name, text in texts[enum.__name__].items() if name in members}
        choices = {members[name].value: text for name, text in documented.items()}
        key = f"{group}.{field.name}" if group else field.name
        listed.append(Setting(key, as_text(values[field.name]), texts[node.__name__][field.name], choices))
    return listed


def as_text(value: Any) -> str:
    """Return a default value as a user types it, or the number of entries of a long mapping or list."""
    if value == "???":
        return "(required)"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, str):
        return value or "''"
    if isinstance(value, dict | list):
        text = yaml.safe_dump(_plain(value), default_flow_style=True, width=10**6, allow_unicode=True).strip()
        return text if len(text) <= LONGEST else f"({len(value)} entries)"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def _plain(value: Any) -> Any:
    """Return a value without enum members; YAML cannot write them."""
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def yaml_choices(group: str, folder: Path | None = None) -> list[str]:
    """Return the names of a group's YAML files, in the package and in the user's own folder."""
    places = [conf_folder(), *([folder] if folder is not None else [])]
    return sorted({path.stem for place in places for path in (place / group).glob("*.yaml")})


def is_asked(arguments: list[str]) -> bool:
    """Return whether the command line asks for help (not Hydra's own `--hydra-help`)."""
    return "--help" in arguments or "-h" in arguments


def print_help(config_name: str, arguments: list[str]) -> None:
    """Print the help of a verb, with the values that the overrides among the arguments give.

    Raises SetupError if `--config-dir` is no folder, and Hydra's exceptions if an override is wrong.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path)
    known, rest = parser.parse_known_args(arguments)
    if known.config_dir is not None and not known.config_dir.is_dir():
        raise SetupError(f"--config-dir {known.config_dir} is no folder; correct the path.")
    overrides = [argument for argument in rest if not argument.startswith("-")]
    if {"--multirun", "-m"} & set(rest):
        overrides = [_first_of(override) for override in overrides]
    width = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
    print(help_text(VERBS[config_name], groups_of(config_name, overrides, known.config_dir), width))


def _first_of(override: str) -> str:
    """Return an override as the first job of a sweep has it; one that cannot be read stays, and is refused later."""
    try:
        parsed = OverridesParser.create().parse_override(override)
        first = next(parsed.sweep_string_iterator()) if parsed.is_sweep_override() else None
    except HydraException:
        return override
    return override if first is None else f"{parsed.get_key_element()}={first}"


def help_text(verb: str, groups: list[Group], width: int) -> str:
    """Return the help of a verb, wrapped to `width` columns."""
    lines = [
        f"usage: python -m melt_ser.{verb} {FIRST.get(verb, '')}[GROUP=NAME ...] [KEY=VALUE ...]",
        "",
        *textwrap.wrap(
            "GROUP=NAME chooses a YAML file of a group, KEY=VALUE sets one key. The values below are those of this "
            "command; add overrides before --help to see theirs. --multirun runs every combination of values "
            "with commas (dataset=emodb,urdu). --config-dir FOLDER adds your own YAML files: FOLDER/dataset/mine.yaml "
            "is dataset=mine. --cfg job prints the whole configuration as YAML; --hydra-help lists further options.",
            width,
        ),
        "",
        "Groups:",
    ]
    for group in groups:
        if group.choices:
            lines += _wrap(f"{group.name}={', '.join(group.choices)}", width, 2, 6)
    for group in groups:
        if group.settings:
            lines += ["", f"{group.name}: {group.text}" if group.name else group.text]
        for setting in group.settings:
            lines += _wrap(f"{setting.key}={setting.default}", width, 2, 6) + _wrap(setting.text, width, 6, 6)
            for word, meaning in setting.choices.items():
                lines += _wrap(f"{word}: {meaning}", width, 8, 10)
    return "\n".join(lines)


def _wrap(text: str, width: int, first: int, other: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=" " * first,
        subsequent_indent=" " * other,
        break_long_words=False,
        break_on_hyphens=False,
    )
