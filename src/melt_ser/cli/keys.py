"""Find the setting that a key names, or the sentence with the nearest one.

A setting with entries of the user's (`label_map`, `columns`, `roots`) takes any name below it: the entry of
`dataset.label_map.Überdruss` is `Überdruss`, and that of `dataset.label_map.a.b` is `a.b`.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any, NamedTuple

from hydra.conf import HydraConf

from melt_ser.config import RENAMED
from melt_ser.core.errors import SetupError, did_you_mean

EXPERIMENT = "experiment"  # a group of YAMLs without settings of its own
MERGED = ("augment", "logger")  # groups of which a run may have several YAMLs
WORDS = {str: "text", int: "a whole number", float: "a number"}


class Place(NamedTuple):
    """A setting, its type without Optional, and the name of the entry below it, if the key names one."""

    setting: str
    kind: Any
    entry: str | None
    optional: bool

    @property
    def has_entries(self) -> bool:
        """Return whether the setting is a dictionary."""
        return typing.get_origin(self.kind) is dict

    @property
    def is_group(self) -> bool:
        """Return whether a value is the name of a YAML."""
        return dataclasses.is_dataclass(self.kind) or self.setting == EXPERIMENT

    @property
    def kinds(self) -> tuple[Any, ...]:
        """Return the types of its values."""
        return typing.get_args(self.kind) if typing.get_origin(self.kind) is typing.Union else (self.kind,)


def place_of(key: str, schema: type[Any]) -> Place:
    """Return the place of a key among the settings of a verb; raise SetupError with the nearest key if there is none.

    The keys of Hydra itself (`hydra.sweep.dir`) are checked too.
    """
    if key in RENAMED:
        raise SetupError(renamed(key))
    node: Any = schema
    names = key.split(".")
    for depth, name in enumerate(names):
        fields = _fields(node, outermost=depth == 0)
        if name not in fields:
            group = ".".join(names[:depth])
            raise SetupError(unknown_name(name, group, fields) if group else unknown_key(name, schema))
        node, optional = _without_optional(fields[name])
        place = Place(".".join(names[: depth + 1]), node, ".".join(names[depth + 1 :]) or None, optional)
        if not dataclasses.is_dataclass(node):
            break
    if place.entry is not None and not (place.has_entries or place.kind is Any):
        raise SetupError(f"There is no key '{key}': {place.setting} has no keys; write {place.setting}=<value>.")
    return place


def unknown_key(name: str, schema: type[Any]) -> str:
    """Return the sentence about an outermost key that names no setting of a verb."""
    own = {field: kind for field, kind in _fields(schema, outermost=True).items() if field != "hydra"}
    same = [f"{group}.{name}" for group, kind in own.items() if name in _fields(kind)]
    return f"There is no key '{name}'; did you mean '{same[0]}'?" if same else unknown_name(name, "", own)


def renamed(old: str) -> str:
    """Return the sentence about an old key."""
    return f"{old} is called {RENAMED[old]} now; use the new key (docs/migration.md)."


def refuse_unknown_keys(settings: Any, place: str = "") -> None:
    """Raise SetupError for a key that is no field of its dataclass, in dictionaries and lists of dataclasses too.

    Hydra lets a plus, and the defaults list of a YAML, add any key.
    """
    if isinstance(settings, dict | list):
        for name, value in settings.items() if isinstance(settings, dict) else enumerate(settings):
            refuse_unknown_keys(value, f"{place}.{name}")
    if not dataclasses.is_dataclass(settings):
        return
    known, kinds = [field.name for field in dataclasses.fields(settings)], _fields(type(settings))
    for name, value in vars(settings).items():
        key = f"{place}.{name}" if place else name
        if name not in known:
            raise SetupError(renamed(key) if key in RENAMED else unknown_name(name, place, known))
        _check_entries(key, value, kinds[name])
        refuse_unknown_keys(value, key)


def _check_entries(key: str, value: Any, kind: Any) -> None:
    """Raise SetupError for a text or number in a dictionary or a list that is a list or a dictionary itself.

    OmegaConf checks entries only where they are typed on the command line, and those of lists nowhere.
    """
    plain, _ = _without_optional(kind)
    if plain in WORDS and isinstance(value, list | dict):
        raise SetupError(f"{key} is {value}; it has to be {WORDS[plain]}.")
    origin, inner = typing.get_origin(plain), typing.get_args(plain)
    if origin is dict and isinstance(value, dict):
        for name, entry in value.items():
            _check_entries(f"{key}.{name}", entry, inner[1])
    elif origin is list and isinstance(value, list):
        for number, entry in enumerate(value):
            _check_entries(f"{key}.{number}", entry, inner[0])


def unknown_name(name: str, place: str, known: Iterable[str]) -> str:
    """Return the sentence about a name that is not known in a place: a group, a setting or "" for the outermost."""
    within = f" in '{place}'" if place else ""
    return f"There is no key '{name}'{within}; {did_you_mean(name, known)}"


def _fields(node: Any, outermost: bool = False) -> dict[str, Any]:
    """Return the types of the fields of a dataclass; none for another type."""
    if not dataclasses.is_dataclass(node):
        return {}
    fields = typing.get_type_hints(node)
    if outermost:
        fields["hydra"] = HydraConf
        if "experiment_name" in fields:
            fields[EXPERIMENT] = str
    return fields


def _without_optional(kind: Any) -> tuple[Any, bool]:
    """Return a type without None, and whether it has None."""
    members = [member for member in typing.get_args(kind) if member is not type(None)]
    if typing.get_origin(kind) is typing.Union and len(members) == 1:
        return members[0], True
    return kind, False
