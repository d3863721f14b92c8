"""The edge where Hydra composes a configuration; everything behind it is plain Python.

A mistake in the command (key, group, value) and every `MeltSerError` end as one line on standard error
and an exit code; nothing heavy is imported before the configuration is known to be right.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from melt_ser.config import Config, DatasetConfig, EvaluateConfig, PrepareConfig
from melt_ser.console import print_anything
from melt_ser.failures import Failure, failure_of
from melt_ser.gpus import one_gpu
from melt_ser.members import fill_members
from melt_ser.processes import several
from melt_ser.protocols import choose_protocol, open_schema
from melt_ser.sweep import Outcomes, outcome, sweeping

Settings = TypeVar("Settings", Config, EvaluateConfig, PrepareConfig)

LAUNCHERS = ("joblib", "submitit", "ray")  # whose exceptions tell of a job that died
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


def launch(config_name: str, task: Callable[[DictConfig], str | None]) -> int:
    """Compose the configuration from the command line, run the task, and return the exit code.

    The task returns what became of it: finished (None) or skipped. A failed job of a sweep does not stop the others,
    wherever they run; the exit code is the highest of all jobs.
    """
    print_anything()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that errors reach us, who print one line instead of a traceback
    codes = [0]
    schema = SCHEMAS[config_name]

    @functools.wraps(task)
    def guarded(composed: DictConfig) -> dict[str, Any]:
        try:
            with one_gpu():
                return outcome(task(composed) or "finished")
        except Exception as error:  # caught here, since Hydra prints a line of its own for what passes it
            failure = failure_of(error, schema)
            if not failure.known and not sweeping():
                raise
            _tell(failure, error)
            codes.append(failure.exit_code)
            if several():  # the others wait for this process, and the launcher ends them when it ends
                sys.exit(failure.exit_code)
            return outcome("failed", failure.exit_code, failure.sentence)

    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=config_name)(guarded)()
    except KeyboardInterrupt:
        same = "the same command without force=true" if "force=true" in sys.argv else "the same command"
        print(f"stopped; {same} goes on from what is finished.", file=sys.stderr)
        codes.append(130)
    except Exception as error:
        failure = failure_of(error, schema)
        if not failure.known and type(error).__module__.partition(".")[0] in LAUNCHERS:
            first = failure.sentence.partition("\\n")[0]
            sentence = f"a job ended without an outcome ({first}); the same command goes on from what is finished."
            failure = Failure(sentence, failure.exit_code)
        if not failure.known:
            raise
        _tell(failure, error)
        codes.append(failure.exit_code)
    finally:
        if Outcomes.last is not None:
            codes.append(Outcomes.last.end())
    return max(codes)


def _tell(failure: Failure, error: Exception) -> None:
    """Print the sentence of a failure; with the traceback where it is no user's mistake."""
    if not failure.known:
        traceback.print_exception(error)
    print(f"error: {failure.sentence}", file=sys.stderr, flush=True)
