"""Choose the YAML of a published classifier: with `run=hub:<owner>/<name>` it is `classifier=<owner>--<name>`.

The YAML has the label map of one checkpoint, so nobody has to name it; `classifier=<name>` chooses another one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from melt_ser.cli.overrides import is_setting_of
from melt_ser.core.package import conf_folder

HUB = "hub:"  # in front of the hub id in run=
GROUP = "classifier"


def with_classifier(words: Sequence[str]) -> list[str]:
    """Return the words of `evaluate` with the YAML of the classifier that `run=` names, unless they choose one."""
    runs = [word.partition("=")[2].strip("'\"") for word in words if is_setting_of(word, "run")]
    if not runs or not runs[-1].startswith(HUB) or any(is_setting_of(word, GROUP) for word in words):
        return list(words)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path)
    own = parser.parse_known_args(list(words))[0].config_dir
    name = yaml_name(runs[-1])
    places = [conf_folder(), *([own] if own is not None else [])]
    is_known = any((place / GROUP / f"{name}.yaml").is_file() for place in places)
    return [*words, *([f"{GROUP}={name}"] if is_known else [])]


def yaml_name(run: str) -> str:
    """Return the name of the YAML, and of the folder of results, for a classifier of the hub.

    >>> yaml_name("hub:superb/hubert-base-superb-er")
    'superb--hubert-base-superb-er'
    """
    return run.removeprefix(HUB).replace("/", "--")
