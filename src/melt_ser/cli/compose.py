"""Compose the settings with Hydra, from the command line or from Python, and return them as dataclasses.

Two settings of a corpus stand for others and are resolved here: `dataset.protocol=<name>` for the `group` and `folds`
that the corpus's YAML gives for that name, and `dataset.members=[emodb,urdu]` (of dataset=union) for the settings of
these corpora. Technical debt: the schema leaves `group` and `folds` without a value (MISSING), because Hydra cannot
tell a default from a value that was set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeVar

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import MISSING, DictConfig, OmegaConf, flag_override

from melt_ser.cli.failures import failure_of, renamed
from melt_ser.cli.own_checkpoint import settle_checkpoint
from melt_ser.config import RENAMED, UNION, Config, DatasetConfig, EvaluateConfig, PrepareConfig, ProtocolConfig
from melt_ser.core.errors import MeltSerError, SetupError, did_you_mean
from melt_ser.core.package import conf_folder

Settings = TypeVar("Settings", Config, EvaluateConfig, PrepareConfig)

SCHEMAS: dict[str, type[Any]] = {"config": Config, "evaluate": EvaluateConfig, "prepare": PrepareConfig}
SPLIT_KEYS = ("group", "folds")


def open_schema(schema: type[Any]) -> DictConfig:
    """Return a verb's schema with `group` and `folds` missing, so that a protocol can fill them if nobody sets them."""
    structured: DictConfig = OmegaConf.structured(schema)
    for key in SPLIT_KEYS:
        structured.dataset[key] = MISSING
    return structured


for _name, _node in (("train_schema", Config), ("evaluate_schema", EvaluateConfig), ("prepare_schema", PrepareConfig)):
    ConfigStore.instance().store(name=_name, node=open_schema(_node))


def compose(overrides: list[str], config_name: str = "config") -> DictConfig:
    """Compose a configuration, in a verb, a notebook or a test; raise Hydra's exceptions (see `sentences`)."""
    if not GlobalHydra.instance().is_initialized():
        with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return compose(overrides, config_name)
    composed = hydra.compose(config_name, overrides=overrides, return_hydra_config=True)
    choice = composed.hydra.runtime.choices.get("backbone")
    with flag_override(composed, ["readonly", "struct"], False):
        del composed["hydra"]
    if choice is not None and OmegaConf.select(composed, "backbone.checkpoint") is not None:
        settle_checkpoint(composed, choice, overrides)
    return composed


def with_protocol(composed: DictConfig, schema: type[Any]) -> DictConfig:
    """Return the composed configuration with every value checked against its type, and with the split filled in."""
    merged = OmegaConf.merge(open_schema(schema), composed)
    assert isinstance(merged, DictConfig)
    choose_protocol(merged.dataset)
    return merged


def typed(composed: DictConfig, schema: type[Settings]) -> Settings:
    """Return the composed configuration as dataclasses, with every value checked against its type.

    Raises SetupError for an unknown key, protocol or member, and OmegaConf's exceptions for a value of a wrong type.
    """
    settings = OmegaConf.to_object(with_protocol(composed, schema))
    assert isinstance(settings, schema)
    refuse_unknown_keys(settings)
    fill_members(settings.dataset)
    return settings


def refuse_unknown_keys(settings: Any, place: str = "") -> None:
    """Raise SetupError for a key that is no field of its dataclass: Hydra accepts any key after a plus."""
    known = [field.name for field in dataclasses.fields(settings)]
    for name, value in vars(settings).items():
        key = f"{place}{name}"
        if name not in known:
            raise SetupError(
                renamed(key) if key in RENAMED else f"There is no key '{key}'; {did_you_mean(name, known)}"
            )
        if dataclasses.is_dataclass(value):
            refuse_unknown_keys(value, f"{key}.")


def load_config(*overrides: str) -> Config:
    """Return the settings of `python -m melt_ser.train <overrides>` as dataclasses."""
    return typed(compose(list(overrides)), Config)


def load_dataset(name: str) -> DatasetConfig:
    """Return the settings of `dataset=<name>`, from the package's YAML files or the user's own (--config-dir)."""
    return typed(compose([f"dataset={name}"]), Config).dataset


def choose_protocol(dataset: DictConfig) -> None:
    """Fill missing `group` and `folds` from the protocol, and set `protocol` to the name of the resulting split.

    A key that a YAML or the command sets wins over the protocol's. Raises SetupError if the corpus has no protocol of
    that name.
    """
    name, declared = dataset.protocol, dataset.protocols
    if name is not None and name not in declared:
        fix = did_you_mean(name, declared) if declared else "set dataset.group and dataset.folds."
        raise SetupError(f"Corpus '{dataset.name}' has no protocol '{name}'; {fix}")
    chosen = OmegaConf.structured(ProtocolConfig) if name is None else declared[name]
    for key in SPLIT_KEYS:
        if OmegaConf.is_missing(dataset, key):
            dataset[key] = chosen[key]
    fitting = [other for other in declared if all(declared[other][key] == dataset[key] for key in SPLIT_KEYS)]
    if name not in fitting:
        dataset.protocol = fitting[0] if fitting else None


def fill_members(union: DatasetConfig) -> None:
    """Fill `member_settings` of a union with the settings of its members, except `left_out`.

    A member's settings are part of the run (another label map is another run), so the union's configuration holds them.
    The same members, in any order, give the same union. Raises SetupError if no member remains, if a corpus is named
    twice, or if `left_out` or `roots` names a corpus that is no member.
    """
    if union.reader != UNION:
        if union.members or union.left_out is not None:
            raise SetupError("dataset.members and dataset.left_out are for dataset=union.")
        return
    if len(set(union.members)) < len(union.members):
        raise SetupError(f"dataset.members names a corpus of '{union.name}' twice: {', '.join(union.members)}.")
    for key, names in (("left_out", [union.left_out] if union.left_out else []), ("roots", union.roots)):
        for name in names:
            if name not in union.members:
                raise SetupError(f"dataset.{key}: no member is called '{name}'; {did_you_mean(name, union.members)}")
    if not union.members:
        return  # reading the corpus reports it
    union.members = sorted(set(union.members) - {union.left_out})
    if not union.members:
        raise SetupError(f"dataset.left_out leaves no member of '{union.name}' to train on; name more dataset.members.")
    for name in union.members:
        member = load_dataset(name)
        if member.reader == UNION:
            raise SetupError(f"'{name}' is a union and cannot be a member of another; name its members.")
        member.root = union.roots.get(name, member.root)
        union.member_settings[name] = member


def compose_settings(settings: Mapping[str, Any], config_name: str = "config") -> DictConfig:
    """Compose a verb's configuration from keys such as `backbone` or `trainer.epochs` and their Python values.

    A mapping sets the keys of a group (`{"trainer": {"epochs": 3}}`) or the entries of a key that is a mapping itself
    (`{"eval.roots": {"emodb": "/data/emodb"}}`); names of entries may have any characters. Raises SetupError with the
    same sentence as the command line.
    """
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and "." not in key:
            flat |= {f"{key}.{name}": item for name, item in value.items()}
        else:
            flat[key] = value
    # Choosing a group's YAML comes first, so that the order of a mapping does not matter.
    texts = [f"{key}={_text(value)}" for key, value in sorted(flat.items(), key=lambda item: "." in item[0])]
    with sentences(config_name):
        composed = compose(texts, config_name)
        for key, value in flat.items():
            if isinstance(value, Mapping):
                entries = {name: _plain(item) for name, item in value.items()}
                name = key.lstrip("+")
                is_null = OmegaConf.select(composed, name) is None
                OmegaConf.update(composed, name, entries, merge=not is_null, force_add=True)
    return composed


@contextmanager
def sentences(config_name: str = "config") -> Iterator[None]:
    """Raise SetupError with one sentence if the block fails because of the settings of a verb."""
    try:
        yield
    except MeltSerError:
        raise
    except Exception as error:
        failure = failure_of(error, SCHEMAS[config_name])
        if not failure.known:
            raise
        raise SetupError(failure.sentence) from error


def _text(value: Any) -> str:
    """Write a value in the grammar of Hydra's command line."""
    value = _plain(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    if isinstance(value, Mapping):
        return "{}"  # its entries are merged afterwards: the grammar knows only simple names
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return str(value)


def _plain(value: Any) -> Any:
    """Return paths as text, choices as their value, tuples as lists and numbers of numpy as Python's."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value
