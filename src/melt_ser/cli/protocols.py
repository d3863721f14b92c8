"""Named protocols: `dataset.protocol=<name>` stands for the `group` and `folds` that the corpus's YAML declares.

A key that a YAML or the command sets wins over the protocol's, and the same split always ends with the same name.
"""

from __future__ import annotations

from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from melt_ser.config import ProtocolConfig
from melt_ser.core.errors import SetupError, did_you_mean

SPLIT_KEYS = ("group", "folds")


def open_schema(schema: type[Any]) -> DictConfig:
    """A verb's schema with the corpus's split left open, so that a protocol can fill what nobody sets."""
    structured: DictConfig = OmegaConf.structured(schema)
    for key in SPLIT_KEYS:
        structured.dataset[key] = MISSING
    return structured


def choose_protocol(dataset: DictConfig) -> None:
    """Fill `group` and `folds` from the protocol where they are open, and name the protocol that results.

    Raises SetupError where the corpus declares no protocol of that name.
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
