"""Name systems and methods by what differs among all runs of a report.

Runs with the same data and settings, except for seed and fold, are one system. Systems with the same settings, except
for the training corpus, are one method. A table shows the name of a system next to its training corpus; the two
together belong to no other system.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from typing import Any

from melt_ser.core.files import sha256
from melt_ser.reporting.collect import Run
from melt_ser.reporting.usual_groups import usual_groups

Settings = dict[str, str]  # the text of each value by its full key

NAMED_GROUPS = ("trainer", "head", "labels", "augment")  # groups whose chosen file has a name
ALONE = ("trainer", "head", "labels")  # groups whose names say enough without the group: "frozen mlp four"
MOST_SETTINGS = 3  # the most settings that a name lists


def method_of(system: str) -> str:
    """Return a text of `Run.system` without its dataset settings; all systems of one method share this text."""
    settings = json.loads(system)
    del settings["dataset"]
    return json.dumps(settings, sort_keys=True)


def system_names(runs: list[Run]) -> dict[str, str]:
    """Return a name for each text of `Run.system`: the name of its method, and its data if they need one.

    They do if runs on the same training corpus have other dataset settings or another table.
    """
    methods = method_names(runs)
    systems = _first_of_each((run.system, run) for run in runs)
    corpora = {key: run.result.train.corpus for key, run in systems.items()}
    data = {key: dict(_flat(json.loads(key)["dataset"])) for key in systems}
    digests = {key: settings.pop("digest") for key, settings in data.items()}
    told = _differences(data, lambda key, _: corpora[key])
    names = {key: " ".join([methods[method_of(key)], *told[key]]) for key in systems}
    alike = Counter((name, corpora[key]) for key, name in names.items())
    return {
        key: f"{name} digest={digests[key]}" if alike[name, corpora[key]] > 1 else name for key, name in names.items()
    }


def method_names(runs: list[Run]) -> dict[str, str]:
    """Return a name for each text of `method_of`: the backbone, and what differs among all runs.

    The chosen trainer, head, labels and augmentation are named if the runs differ in them (`frozen mlp four`). If the
    trainer is named, the head and the augmentation that it brings say nothing more, so only others are named. A setting
    is named (`epochs=3`) if runs with the same backbone and the same choice in its group differ in it. A published
    classifier has chosen nothing.
    """
    methods = _first_of_each((method_of(key), run) for key, run in _first_of_each((r.system, r) for r in runs).items())
    chosen: dict[str, dict[str, str]] = {
        key: {}
        if run.result.is_published
        else {group: str(run.result.config[group].get("name")) for group in NAMED_GROUPS}
        for key, run in methods.items()
    }
    of_runs = [names for names in chosen.values() if names]
    differing = [group for group in NAMED_GROUPS if len({names[group] for names in of_runs}) > 1]
    shown = {key: _shown(names, differing) for key, names in chosen.items()}
    uses = Counter(name for _, name in {pair for names in shown.values() for pair in names.items()})
    told = _differences(
        {key: dict(_flat(json.loads(key))) for key in methods},
        lambda key, setting: (methods[key].backbone, chosen[key].get(setting.split(".")[0])),
    )
    names = {}
    for key, run in methods.items():
        groups = [
            name if group in ALONE and uses[name] == 1 else f"{group}={name}" for group, name in shown[key].items()
        ]
        names[key] = " ".join([run.backbone, *groups, *told[key]])
    alike = Counter(names.values())
    return {key: f"{name} {_hash(key)}" if alike[name] > 1 else name for key, name in names.items()}


def _shown(names: dict[str, str], differing: list[str]) -> dict[str, str]:
    """Return the groups that a name tells: those in which runs differ, without what a named trainer brings."""
    usual = usual_groups(names["trainer"]) if names and "trainer" in differing else {}
    return {group: name for group, name in names.items() if group in differing and usual.get(group) != name}


def _first_of_each(pairs: Iterable[tuple[str, Run]]) -> dict[str, Run]:
    first: dict[str, Run] = {}
    for key, run in pairs:
        first.setdefault(key, run)
    return first


def _differences(members: dict[str, Settings], kind_of: Any) -> dict[str, list[str]]:
    """Return for each member the settings in which members of its kind differ; `kind_of(key, setting)` is the kind.

    If a member has more than MOST_SETTINGS of them, only those are told that differ from the most frequent value; a
    hash replaces more than MOST_SETTINGS of these.
    """
    values: dict[tuple[str, Hashable], Counter[str]] = defaultdict(Counter)
    names = dict.fromkeys(name for settings in members.values() for name in settings)
    for key, settings in members.items():
        for name in names:
            values[name, kind_of(key, name)][settings.get(name, "")] += 1
    short = Counter(name.rpartition(".")[2] for name in {name for (name, _), found in values.items() if len(found) > 1})
    told = {}
    for key, settings in members.items():
        found = {name: values[name, kind_of(key, name)] for name in names}
        differing = [name for name, counts in found.items() if len(counts) > 1]
        if len(differing) > MOST_SETTINGS:
            usual = {name: min(found[name], key=lambda value: (-found[name][value], value)) for name in differing}
            differing = [name for name in differing if settings.get(name, "") != usual[name]]
        if len(differing) > MOST_SETTINGS:
            told[key] = [_hash(key)]
            continue
        told[key] = [
            f"{_key(name, short)}={_value(settings[name])}"
            for name in differing
            if settings.get(name, "null") != "null"  # a system without the setting is told by the others, which have it
        ]
    return told


def _key(name: str, short: Counter[str]) -> str:
    last = name.rpartition(".")[2]
    return last if short[last] == 1 else name


def _value(text: str) -> str:
    """Return a value without the folders of a path or the owner of a checkpoint."""
    return text.rstrip("/").rpartition("/")[2] or text


def _hash(key: str) -> str:
    return f"#{sha256(key)[:6]}"


def _flat(settings: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(settings, dict) and settings:
        return [pair for key, value in settings.items() for pair in _flat(value, f"{name}.{key}".lstrip("."))]
    return [(name, settings if isinstance(settings, str) else json.dumps(settings))]
