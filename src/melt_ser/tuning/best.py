"""The best settings as a YAML of the group `experiment`, which `train` takes with --config-dir.

It chooses the YAML of each group as the trial did, and sets the keys that differ from those files.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra

from melt_ser.cli.compose import compose, sentences, typed
from melt_ser.cli.overrides import for_hydra
from melt_ser.cli.quoting import written
from melt_ser.config import Config
from melt_ser.core import files
from melt_ser.core.console import say, silence
from melt_ser.core.errors import MeltSerError
from melt_ser.runs.identity import identity, plain
from melt_ser.tuning.search import configured, texts_of

GROUPS = ("backbone", "dataset", "labels", "head", "augment", "objective", "eval", "trainer")
LEFT_OUT = ("out", "force", "logger", "experiment_name")  # of this command, not of the run
FILLED_IN = ("member_settings", "left_out")  # of a union: made from its members


def write_best(folder: Path, overrides: Sequence[str], settings: dict[str, str], told: str) -> str:
    """Write the YAML of the best settings into the study's folder; return the command that runs it.

    If a YAML cannot express the settings (such as a removed entry), return the command with all settings instead.

    Args:
        folder: the folder of the study, whose name the YAML gets.
        overrides: those of the command.
        settings: the texts of the best trial's settings, by their keys.
        told: a sentence about the trial, for a comment.
    """
    config = configured(overrides, settings)
    all_settings = [*overrides, *texts_of(settings)]
    own = _own_folder()
    own_place = [] if own is None else ["--config-dir", own]
    whole_command = shlex.join(["python", "-m", "melt_ser.train", *own_place, *all_settings])
    path = folder / "best" / "experiment" / f"{folder.name}.yaml"
    files.write_text(path, _yaml_of(config, all_settings, f"{told}\nThe same run: {whole_command}"))
    if not _gives_the_same_run(path, config):
        say(f"note: {path} does not give the same run, because a YAML cannot remove a key; use the command.")
        return whole_command
    place = ["--config-dir", str(folder / "best")]
    if own is not None:  # a command takes one --config-dir
        place = [*own_place, f"hydra.searchpath={_search_path(path)}"]
    out = [] if config.out == Config.out else [f"out={written(config.out)}"]
    return shlex.join(["python", "-m", "melt_ser.train", *place, f"experiment={folder.name}", *out])


def _yaml_of(config: Config, overrides: list[str], comment: str) -> str:
    with silence(), sentences():
        composed = hydra.compose("config", overrides=for_hydra(overrides, Config), return_hydra_config=True)
        choices = {group: composed.hydra.runtime.choices.get(group) for group in GROUPS}
        chosen = typed(compose([f"{group}={choice}" for group, choice in choices.items()]), Config)
    content: dict[str, Any] = {"defaults": [{f"override /{group}": choice} for group, choice in choices.items()]}
    usual = plain(chosen)
    for key, value in plain(config).items():
        if key in LEFT_OUT or value == usual[key]:
            continue
        content[key] = _changed(value, usual[key]) if isinstance(value, dict) else value
    lines = "".join(f"# {line}\n" for line in comment.splitlines())
    return f"# @package _global_\n{lines}{yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)}"


def _changed(values: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a group that differ from those of its YAML."""
    return {key: value for key, value in values.items() if key not in FILLED_IN and value != usual.get(key)}


def _gives_the_same_run(path: Path, config: Config) -> bool:
    """Return whether the YAML leads to the run id of a configuration."""
    try:
        with silence(), sentences():
            again = typed(compose([f"experiment={path.stem}", f"hydra.searchpath={_search_path(path)}"]), Config)
    except MeltSerError:
        return False
    return identity(again) == identity(config)


def _search_path(path: Path) -> str:
    """Return the setting of Hydra that finds a YAML of the group `experiment`."""
    return written([f"file://{path.absolute().parents[1]}"])


def _own_folder() -> str | None:
    """Return the folder of --config-dir of the running verb; None without one."""
    if not GlobalHydra.instance().is_initialized():
        return None
    paths = GlobalHydra.instance().config_loader().get_search_path().get_path()
    return next((part.path.removeprefix("file://") for part in paths if part.provider == "command-line"), None)
