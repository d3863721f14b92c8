"""Hydra composes, dataclasses come out."""

from __future__ import annotations

from typing import Any, TypeVar

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from melt_ser.cli.protocols import choose_protocol, open_schema
from melt_ser.cli.union_corpora import fill_members
from melt_ser.config import Config, DatasetConfig, EvaluateConfig, PrepareConfig
from melt_ser.core.paths import conf_folder

Settings = TypeVar("Settings", Config, EvaluateConfig, PrepareConfig)

SCHEMAS: dict[str, type[Any]] = {"config": Config, "evaluate": EvaluateConfig, "prepare": PrepareConfig}

for _name, _node in (("train_schema", Config), ("evaluate_schema", EvaluateConfig), ("prepare_schema", PrepareConfig)):
    ConfigStore.instance().store(name=_name, node=open_schema(_node))


def typed(composed: DictConfig, schema: type[Settings]) -> Settings:
    """The composed configuration as dataclasses, every value checked against its type."""
    merged = OmegaConf.merge(open_schema(schema), composed)
    choose_protocol(merged.dataset)
    settings = OmegaConf.to_object(merged)
    assert isinstance(settings, schema)
    fill_members(settings.dataset, load_dataset)
    return settings


def compose(overrides: list[str], config_name: str = "config") -> DictConfig:
    """Compose a configuration within a running verb, or from a notebook or test."""
    if GlobalHydra.instance().is_initialized():
        return hydra.compose(config_name, overrides=overrides)
    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return hydra.compose(config_name, overrides=overrides)


def load_config(*overrides: str) -> Config:
    """The settings of `python -m melt_ser.train <overrides>` as dataclasses."""
    return typed(compose(list(overrides)), Config)


def load_dataset(name: str) -> DatasetConfig:
    """The dataset group's YAML of that name, from the package or the user's own --config-dir."""
    return typed(compose([f"dataset={name}"]), Config).dataset
