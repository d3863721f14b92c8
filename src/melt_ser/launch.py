"""The edge where Hydra composes a configuration; everything behind it is plain Python.

A mistake in the command (key, group, value) and every `MeltSerError` end as one line on standard error
and an exit code; nothing heavy is imported before the configuration is known to be right.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from melt_ser.config import Config, DatasetConfig, EvaluateConfig, PrepareConfig
from melt_ser.console import print_anything
from melt_ser.errors import MeltSerError, one_line
from melt_ser.mistakes import explain
from melt_ser.processes import several
from melt_ser.protocols import choose_protocol, open_schema

Settings = TypeVar("Settings", Config, EvaluateConfig, PrepareConfig)

WORKER_TRACEBACK = re.compile(r"Caught \w+ in DataLoader worker.*^melt_ser\.errors\.\w+: ", re.DOTALL | re.MULTILINE)
SCHEMAS: dict[str, type[Any]] = {"config": Config, "evaluate": EvaluateConfig, "prepare": PrepareConfig}

for _name, _node in (("train_schema", Config), ("evaluate_schema", EvaluateConfig), ("prepare_schema", PrepareConfig)):
    ConfigStore.instance().store(name=_name, node=open_schema(_node))


def conf_folder() -> Path:
    """The folder of YAMLs: beside the package in a wheel, at the top of a checkout."""
    packaged = Path(__file__).parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "conf"


def typed(composed: DictConfig, schema: type[Settings]) -> Settings:
    """The composed configuration as dataclasses, every value checked against its type."""
    merged = OmegaConf.merge(open_schema(schema), composed)
    choose_protocol(merged.dataset)
    settings = OmegaConf.to_object(merged)
    assert isinstance(settings, schema)
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


def command() -> str:
    """The overrides that were typed, as a shell takes them, for the result; empty outside a Hydra run."""
    if not HydraConfig.initialized():
        return ""
    return shlex.join(str(override) for override in HydraConfig.get().overrides.task)


def launch(config_name: str, task: Callable[[DictConfig], Any]) -> int:
    """Compose the configuration from the command line, run the task, and return the exit code.

    A failed job of a sweep does not stop the others; the exit code is the highest of all jobs.
    """
    print_anything()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that errors reach us, who print one line instead of a traceback
    codes = [0]

    @functools.wraps(task)
    def guarded(composed: DictConfig) -> None:
        try:
            task(composed)
        except Exception as error:  # caught here, since Hydra prints a line of its own for what passes it
            codes.append(_tell(error, config_name))
            if several():  # the others wait for this process, and the launcher ends them when it ends
                sys.exit(codes[-1])

    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=config_name)(guarded)()
    except KeyboardInterrupt:
        print("stopped; the same command goes on from what is finished.", file=sys.stderr)
        return 130
    except Exception as error:
        codes.append(_tell(error, config_name))
    return max(codes)


def _tell(error: Exception, config_name: str) -> int:
    """Print the sentence of a failure and give its exit code; what is no user's mistake is raised again."""
    if isinstance(error, MeltSerError):
        # A decoding process hands over its whole traceback, which ends with the sentence.
        print(f"error: {one_line(WORKER_TRACEBACK.sub('', str(error)).strip())}", file=sys.stderr)
        return error.exit_code
    sentence = explain(error, SCHEMAS[config_name])
    if sentence is None and isinstance(error, OSError) and error.filename is not None:
        sentence = f"{error.filename}: {error.strerror}; correct the path, or its permissions."
    if sentence is None:
        raise error
    print(f"error: {one_line(sentence)}", file=sys.stderr)
    return 2
