"""Check the settings of a command against the schema, and write them as Hydra can read them.

Hydra accepts any key behind a plus, asks for that plus before a new entry of a dictionary (`label_map`, `columns`,
`roots`), and knows only ASCII letters, digits, '-' and '_' in the names of entries. Here a key is a setting of the verb
or refused, signs or not, and an entry needs no plus and has any name: `dataset.label_map.Überdruss=null`, or
`dataset.label_map={"a b": sad}` as Hydra, JSON or YAML write it. Entries that Hydra cannot read go through it as text,
`++entries.0='dataset.label_map.Überdruss=null'`, and `with_entries` adds them to the composed configuration.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import typing
from collections.abc import Iterable
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Sweep
from omegaconf import DictConfig, OmegaConf

from melt_ser.cli.keys import EXPERIMENT, MERGED, Place, place_of
from melt_ser.cli.quoting import read_value, shell_word, unreadable, written
from melt_ser.core.errors import SetupError
from melt_ser.core.package import expanded

ENTRIES = "entries"  # the key of the entries that go through Hydra as text
CARRIED = re.compile(rf"\+\+{ENTRIES}\.\d+=")
OVERRIDE = re.compile(r"(\+\+|\+|~|)([^=]*)(?:(=)(.*))?", re.DOTALL)
GROUP = re.compile(r"[^.=]*[/@]")  # backbone@teacher, hydra/launcher: chosen YAMLs, which Hydra checks
SIMPLE_NAME = re.compile(r"[A-Za-z_$][\w$-]*|0|[1-9]\d*", re.ASCII)  # an entry that Hydra can read in a key
OPTIONS_WITH_VALUE = (
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"),
    *("--config-dir", "-cd", "--experimental-rerun", "--info", "-i"),
)


def for_hydra(words: Iterable[str], schema: type[Any]) -> list[str]:
    """Return the words of a command line with every override as Hydra can read it.

    Raises SetupError for a key that is no setting of the schema, and for an entry that cannot be read.
    """
    result, keys = list(words), set()
    for number in _settings(result):
        keys.add(_parts(result[number])[1])
        result[number] = _for_hydra(result[number], schema, number)
    if "dataset.table" in keys and not keys & {"dataset", "experiment"}:
        result.append("dataset=csv")  # otherwise the table would be another one of the demo
    return result


def with_run(words: list[str]) -> list[str]:
    """Return the words of `evaluate` with the first one that is a folder, or no setting, as `run=<folder>`."""
    for number in _settings(words):
        word = words[number]
        if "=" not in word.lstrip("=") or os.path.isdir(word):
            return [*words[:number], f"run={written(word)}", *words[number + 1 :]]
    return words


def is_setting_of(word: str, key: str) -> bool:
    """Return whether a word of the command sets a key, or chooses the YAML of a group."""
    return not word.startswith("-") and _parts(word)[1:3] == (key, "=")


def _settings(words: list[str]) -> list[int]:
    """Return the places of the words that are settings, and neither options of Hydra nor the values of these."""
    return [
        number
        for number, word in enumerate(words)
        if not word.startswith("-") and (number == 0 or words[number - 1] not in OPTIONS_WITH_VALUE)
    ]


def is_chosen(group: str) -> bool:
    """Return whether the command of the running verb chooses the YAML of a group; true outside a Hydra run."""
    return not HydraConfig.initialized() or any(
        _parts(override)[1] == group for override in HydraConfig.get().overrides.task
    )


def as_typed(override: str) -> str:
    """Return an override of Hydra as it was typed: without the frame of an entry that Hydra cannot read."""
    if not CARRIED.match(override):
        return override
    return str(OmegaConf.create({"text": OverridesParser.create().parse_override(override).value()}).text)


def with_entries(composed: DictConfig, schema: type[Any]) -> DictConfig:
    """Return a composed configuration with the entries that went through Hydra as text."""
    if ENTRIES not in composed:
        return composed
    texts = list(composed[ENTRIES].values())
    complete = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != ENTRIES])
    for text in texts:
        _, key, _, value = _parts(text)
        place = place_of(key, schema)
        is_null = OmegaConf.select(complete, place.setting) is None
        if is_null:  # merged into an empty mapping, an entry has its whole key in an error
            OmegaConf.update(complete, place.setting, {}, merge=False, force_add=True)
        OmegaConf.update(complete, place.setting, _entries(place, key, value), merge=True, force_add=True)
    return complete


def _for_hydra(override: str, schema: type[Any], number: int) -> str:
    """Return one override as Hydra can read it; `number` is its place in the command."""
    sign, key, equals, value = _parts(override)
    if not key or not (equals or sign == "~"):
        raise SetupError(f"{shell_word(override)} is no setting; write it as <key>=<value>.")
    if GROUP.match(key):
        return override
    place = place_of(key, schema)
    if key.startswith("hydra."):
        return override
    if place.has_entries and place.entry is None and "".join(value.split()) == "{}":
        raise SetupError(
            f"{shell_word(override)} changes nothing, since entries are added to those of the YAML; leave it out, or "
            f"take one entry away with {shell_word(f'~{key}.<name>')}."
        )
    if sign == "~":
        return _without_entry(override, place)
    if place.is_group and value in ("", "null"):
        raise SetupError(f"{shell_word(override)} names no YAML; leave it out, or choose one that --help lists.")
    if place.is_group and key not in (*MERGED, EXPERIMENT) and value.startswith("["):
        raise SetupError(_one_choice(key, value))
    if key == "out" and str(read_value(value)).startswith("~"):  # Hydra makes the folder of a sweep in it
        return f"out={written(str(expanded(read_value(value))))}"
    if not place.has_entries or (place.entry is None and not value.startswith("{")):
        return f"{key}={value}"  # a plus changes nothing: the key is known
    readable = _readable(place, key, value)
    if readable is not None:
        return f"++{readable}"
    _entries(place, key, value)  # an entry that cannot be read stops the command here
    return f"++{ENTRIES}.{number}={written(f'{key}={value}')}"


def _one_choice(group: str, choices: str) -> str:
    """Return the sentence about several YAMLs of a group: Hydra would mix their values under the name of the last."""
    names = choices.strip("[] ")
    together = f", or train on them together: dataset=union 'dataset.members=[{names}]'" if group == "dataset" else ""
    return f"{group}={choices} mixes YAMLs; choose one, or run each: --multirun {group}={names}{together}."


def _parts(override: str) -> tuple[str, str, str, str]:
    """Return the sign, the key, the equals sign and the value of an override."""
    match = OVERRIDE.fullmatch(override)
    assert match is not None  # the pattern matches any text
    sign, key, equals, value = match.groups(default="")
    return sign, key, equals, value


def _without_entry(override: str, place: Place) -> str:
    """Return `~key` if it takes an entry of a dictionary away; SetupError for a setting, which always has a value."""
    if place.entry is None:
        raise SetupError(f"{shell_word(override)}: a setting cannot be removed; give it a value with {place.setting}=.")
    if not SIMPLE_NAME.fullmatch(place.entry):
        raise SetupError(
            f"{shell_word(override)}: only an entry of ASCII letters, digits, '-' and '_' can be removed; "
            f"give this one the value null."
        )
    return override


def _readable(place: Place, key: str, value: str) -> str | None:
    """Return the setting of entries as Hydra reads it; None if its grammar cannot, or if the dictionary may be null."""
    item = typing.get_args(place.kind)[1]
    if place.optional:
        return None
    if place.entry is None:
        read = read_value(value)
        is_simple = isinstance(read, Sweep) or (isinstance(read, dict) and all(isinstance(name, str) for name in read))
        return f"{key}={value}" if is_simple else None
    name, _, inner = place.entry.partition(".")
    if inner and SIMPLE_NAME.fullmatch(name) and dataclasses.is_dataclass(item):
        return f"{place.setting}={{{name}: {{{inner}: {value}}}}}"
    return f"{key}={value}" if SIMPLE_NAME.fullmatch(place.entry) or (inner and item is Any) else None


def _entries(place: Place, key: str, value: str) -> dict[str, Any]:
    """Return the entries that an override sets; SetupError if they cannot be read, or if they are several to sweep."""
    read = read_value(value)
    if isinstance(read, Sweep):
        raise SetupError(f"{key} cannot be swept; write a YAML for each of its values (--config-dir).")
    if place.entry is not None:
        if read is None and value.lower() != "null":
            raise SetupError(unreadable(key, value))
        return {place.entry: read}
    entries = _named(read) if isinstance(read, dict) else _json(value) or _yaml(value)
    if entries is None:
        raise SetupError(unreadable(key, value))
    return entries


def _named(entries: dict[Any, Any]) -> dict[str, Any]:
    """Return a mapping that Hydra has read with its names as text: it reads 1 as a number and null as None."""
    return {written(name): item for name, item in entries.items()}


def _json(text: str) -> dict[str, Any] | None:
    try:
        read = json.loads(text)
    except ValueError:
        return None
    return read if isinstance(read, dict) else None


def _yaml(text: str) -> dict[str, Any] | None:
    """Return the mapping of a YAML text with its names as they are typed: YAML reads `no` as false."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if isinstance(node, yaml.MappingNode) and all(isinstance(name, yaml.ScalarNode) for name, _ in node.value):
            return {name.value: loader.construct_object(item, deep=True) for name, item in node.value}
    except yaml.YAMLError:
        pass
    return None
