"""Compose the settings with Hydra, from the command line or from Python, and return them as dataclasses.

Two settings of a corpus stand for others and are resolved here: `dataset.protocol=<name>` for the `group` and `folds`
that the corpus's YAML gives for that name, and `dataset.members=[emodb,urdu]` (of dataset=union) for the settings of
these corpora. Technical debt: the schema leaves `group` and `folds` without a value (MISSING), because Hydra cannot
tell a default from a value that was set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import MISSING, DictConfig, OmegaConf, flag_override

from melt_ser.cli.checks import check_entries
from melt_ser.cli.combination import settle_augment
from melt_ser.cli.failures import failure_of
from melt_ser.cli.keys import refuse_unknown_keys
from melt_ser.cli.overrides import for_hydra, with_entries
from melt_ser.cli.own_checkpoint import settle_backbone
from melt_ser.cli.quoting import written
from melt_ser.config import UNION, Config, DatasetConfig, EvaluateConfig, PrepareConfig, ProtocolConfig
from melt_ser.core.errors import MeltSerError, SetupError, did_you_mean
from melt_ser.core.package import conf_folder

Settings = TypeVar("Settings", Config, EvaluateConfig, PrepareConfig)

SCHEMAS: dict[str, type[Any]] = {"config": Config, "evaluate": EvaluateConfig, "prepare": PrepareConfig}
SPLIT_KEYS = ("group", "folds")


def _open_schema(schema: type[Any]) -> DictConfig:
    """Return a verb's schema with `group` and `folds` missing, so that a protocol can fill them if nobody sets them."""
    structured: DictConfig = OmegaConf.structured(schema)
    for key in SPLIT_KEYS:
        structured.dataset[key] = MISSING
    return structured


OPEN_SCHEMAS = {schema: _open_schema(schema) for schema in SCHEMAS.values()}  # a merge copies them, and is faster
for _name, _node in (("train_schema", Config), ("evaluate_schema", EvaluateConfig), ("prepare_schema", PrepareConfig)):
    ConfigStore.instance().store(name=_name, node=OPEN_SCHEMAS[_node])


def compose(overrides: list[str], config_name: str = "config") -> DictConfig:
    """Compose a configuration, in a verb, a notebook or a test; raise Hydra's exceptions (see `sentences`)."""
    if not GlobalHydra.instance().is_initialized():
        with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return compose(overrides, config_name)
    schema = SCHEMAS[config_name]
    composed = hydra.compose(config_name, overrides=for_hydra(overrides, schema), return_hydra_config=True)
    choice = composed.hydra.runtime.choices.get("backbone")
    with flag_override(composed, ["readonly", "struct"], False):
        del composed["hydra"]
    if choice is not None:
        settle_backbone(composed, choice, overrides)
    if "augment" in composed:
        settle_augment(composed, overrides)
    return with_entries(composed, schema)


def with_protocol(composed: DictConfig, schema: type[Any]) -> DictConfig:
    """Return the composed configuration with every value checked against its type, and with the split filled in."""
    merged = OmegaConf.merge(OPEN_SCHEMAS[schema], with_entries(composed, schema))
    assert isinstance(merged, DictConfig)
    choose_protocol(merged.dataset)
    return merged


def typed(composed: DictConfig, schema: type[Settings]) -> Settings:
    """Return the composed configuration as dataclasses, with every value checked against its type.

    Raises SetupError for an unknown key or protocol and for wrong members of a union, Hydra's exceptions for a member
    without a YAML, and OmegaConf's for a value of a wrong type.
    """
    settings = OmegaConf.to_object(with_protocol(composed, schema))
    assert isinstance(settings, schema)
    refuse_unknown_keys(settings)
    check_entries(settings, known_corpora())
    settings.dataset.attributes = {name: _numbers(name, scale) for name, scale in settings.dataset.attributes.items()}
    fill_members(settings.dataset)
    return settings


def _numbers(attribute: str, scale: list[Any]) -> list[float]:
    """Return a scale as numbers, so that [1, 7] and [1.0, 7.0] are the same settings; SetupError for other values."""
    for value in scale:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SetupError(f"dataset.attributes.{attribute} is two numbers, [lowest, highest], not {scale}.")
    return [float(value) for value in scale]


def load_config(*overrides: str) -> Config:
    """Return the settings of `python -m melt_ser.train <overrides>` as dataclasses."""
    return typed(compose(list(overrides)), Config)


def load_dataset(name: str) -> DatasetConfig:
    """Return the settings of `dataset=<name>`, from the package's YAML files or the user's own (--config-dir)."""
    return typed(compose([f"dataset={name}"]), Config).dataset


def known_corpora() -> list[str]:
    """Return the names of the YAML files of corpora, in a running verb with the user's own (--config-dir)."""
    if GlobalHydra.instance().is_initialized():
        return list(GlobalHydra.instance().config_loader().get_group_options("dataset"))
    return sorted(path.stem for path in (conf_folder() / "dataset").glob("*.yaml"))


def choose_protocol(dataset: DictConfig) -> None:
    """Fill missing `group` and `folds` from the protocol.

    `protocol` becomes the name of the protocol with the resulting `group` and `folds`, or None if there is none.
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
    twice, if `left_out` or `roots` names a corpus that is no member, or if `member_settings` is set by hand.
    """
    if union.member_settings:
        raise SetupError("dataset.member_settings is filled in from the YAML files of dataset.members; change those.")
    if union.reader != UNION:
        if union.members or union.left_out is not None or union.roots:
            raise SetupError("dataset.members, dataset.left_out and dataset.roots are for dataset=union.")
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
    texts = [f"{key}={written(value)}" for key, value in sorted(flat.items(), key=lambda item: "." in item[0])]
    with sentences(config_name):
        return compose(texts, config_name)


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
