"""Name systems and methods briefly.

Runs with the same data and settings, except for seed and fold, are one system. Systems with the same settings, except
for the training corpus, are one method.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from melt_ser.core.files import sha256
from melt_ser.reporting.collect import Run

Settings = dict[str, Any]

NAMED_GROUPS = ("labels", "head", "augment", "trainer")  # groups with a name of their own, which shows a difference
MOST_SETTINGS = 3  # the most settings that a name lists


def method_of(system: str) -> str:
    """Return a text of `Run.system` without its dataset settings; all systems of one method share this text."""
    settings = json.loads(system)
    del settings["dataset"]
    return json.dumps(settings, sort_keys=True)


def system_names(runs: list[Run]) -> dict[str, str]:
    """Return a name for each text of `Run.system`: the backbone, and the differences from other systems if needed.

    Only systems with the same backbone and training corpus need differences in their names.
    """
    alike: dict[tuple[str, str], dict[str, Run]] = defaultdict(dict)
    for run in runs:
        alike[run.backbone, run.result.train.corpus].setdefault(run.system, run)
    return {key: name for members in alike.values() for key, name in _names(members).items()}


def method_names(runs: list[Run]) -> dict[str, str]:
    """Return a name for each text of `method_of`, made as in `system_names`, among methods of the same backbone."""
    alike: dict[str, dict[str, Run]] = defaultdict(dict)
    for run in runs:
        alike[run.backbone].setdefault(method_of(run.system), run)
    return {key: name for members in alike.values() for key, name in _names(members).items()}


def _names(members: dict[str, Run]) -> dict[str, str]:
    """Name the backbone, then the groups that differ (`head=mlp`), then the settings that do (`trainer.epochs=3`).

    A hash replaces more than MOST_SETTINGS settings. `members` has a run for each text of settings, with one backbone.
    """
    chosen = {
        key: [str(run.result.config[group].get("name")) for group in NAMED_GROUPS] for key, run in members.items()
    }
    differ = [len(set(column)) > 1 for column in zip(*chosen.values(), strict=True)]
    same_groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for key, group_names in chosen.items():
        same_groups[tuple(group_names)].append(key)
    names = {}
    for named, keys in same_groups.items():
        groups = [
            f"{group}={name}" for group, name, differs in zip(NAMED_GROUPS, named, differ, strict=True) if differs
        ]
        for key, settings in _differences(keys).items():
            names[key] = " ".join([members[key].backbone, *groups, *settings])
    return names


def _differences(keys: list[str]) -> dict[str, list[str]]:
    """Return for each system the settings in which it differs from the others."""
    if len(keys) == 1:
        return {keys[0]: []}
    flat = {key: dict(_flat(json.loads(key))) for key in keys}
    values: dict[str, set[str]] = defaultdict(set)
    for settings in flat.values():
        for name, value in settings.items():
            values[name].add(value)
    differ = [
        name
        for name, texts in values.items()
        if len(texts) > 1 or any(name not in settings for settings in flat.values())
    ]
    chosen = [name for name in differ if name != "dataset.digest"]  # the data are named only if nothing else differs
    if len({tuple(settings.get(name) for name in chosen) for settings in flat.values()}) == len(keys):
        differ = chosen
    if len(differ) > MOST_SETTINGS:
        return {key: [f"#{sha256(key)[:6]}"] for key in keys}
    return {key: [f"{name}={settings[name]}" for name in differ if name in settings] for key, settings in flat.items()}


def _flat(settings: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(settings, dict) and settings:
        return [pair for key, value in settings.items() for pair in _flat(value, f"{name}.{key}".lstrip("."))]
    return [(name, settings if isinstance(settings, str) else json.dumps(settings))]
