"""The head and the augmentation that a trainer brings if nobody chooses another one, from the YAMLs of `conf`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import yaml

from melt_ser.core.package import conf_folder

GROUPS = ("head", "augment")
OVERRIDE = re.compile(r"override /(\w+)@")


@cache
def usual_groups(trainer: str) -> dict[str, str]:
    """Return the head and the augmentation of a trainer by its name; nothing for one that is not in `conf`."""
    path = conf_folder() / "trainer" / f"{trainer}.yaml"
    if not path.is_file():
        return {}
    found = {group: name for group, name in _defaults(conf_folder() / "config.yaml") if group in GROUPS}
    chosen = {}
    for group, name in _defaults(path):
        overridden = OVERRIDE.match(group)
        if overridden:
            chosen[overridden[1]] = name
    return found | chosen


def _defaults(path: Path) -> list[tuple[str, str]]:
    """Return the groups in the list of defaults of a YAML, each with the name of its file."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8")).get("defaults", [])
    return [(group, str(name)) for entry in entries if isinstance(entry, dict) for group, name in entry.items()]
