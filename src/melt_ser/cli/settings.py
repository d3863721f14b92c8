"""Settings from Python: the keys and values of the command line, and the same sentences for a mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import PurePath
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from melt_ser.cli.compose import SCHEMAS, compose
from melt_ser.cli.failures import failure_of
from melt_ser.core.errors import MeltSerError, SetupError


def compose_settings(settings: Mapping[str, Any], config_name: str = "config") -> DictConfig:
    """Compose a verb's configuration from keys such as `backbone` or `trainer.epochs` and their Python values.

    A mapping sets the keys of a group (`{"trainer": {"epochs": 3}}`) or the entries of a key that has some
    (`{"eval.roots": {"emodb": "/data/emodb"}}`); these may have any letters. Raises SetupError with the sentence that
    the command line has for the same mistake.
    """
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and "." not in key:
            flat |= {f"{key}.{name}": item for name, item in value.items()}
        else:
            flat[key] = value
    # Choosing a group's YAML comes first, so that the order of a mapping does not matter.
    texts = [f"{key}={_text(value)}" for key, value in sorted(flat.items(), key=lambda item: "." in item[0])]
    with sentences(config_name):
        composed = compose(texts, config_name)
        for key, value in flat.items():
            if isinstance(value, Mapping):
                entries = {name: _plain(item) for name, item in value.items()}
                name = key.lstrip("+")
                is_null = OmegaConf.select(composed, name) is None
                OmegaConf.update(composed, name, entries, merge=not is_null, force_add=True)
    return composed


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


def _text(value: Any) -> str:
    """Write a value in the grammar of Hydra's command line."""
    value = _plain(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    if isinstance(value, Mapping):
        return "{}"  # its entries are merged afterwards: the grammar knows only simple names
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return str(value)


def _plain(value: Any) -> Any:
    """Return paths as text, choices as their value, tuples as lists and numbers of numpy as Python's."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value
