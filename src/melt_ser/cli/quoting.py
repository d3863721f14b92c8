"""Write a setting as one types it: in the grammar of Hydra's command line, and quoted for a shell.

An error that advises a setting gives it in this form: pasted into a shell, it gives exactly the value.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from melt_ser.core.errors import one_line

SURROGATES = range(0xDC80, 0xDD00)  # undecodable bytes of a file name, as Python holds them


def shell_setting(key: str, value: Any) -> str:
    """Return `key=value` for a shell, with quotes only if the shell or Hydra needs them.

    >>> shell_setting("dataset.root", "/data/emodb"), shell_setting("dataset.root", "/data/a=b")
    ('dataset.root=/data/emodb', '\\'dataset.root="/data/a=b"\\'')
    """
    return shell_word(f"{key}={written(value)}")


def unreadable(key: str, value: str) -> str:
    """Return the sentence about a value that Hydra's grammar rejects, with the same value as it can be typed."""
    if value.startswith(("[", "{")):
        try:
            parts = yaml.safe_load(value)  # a list or mapping whose parts need quotes is mostly YAML
        except (yaml.YAMLError, ValueError):
            parts = None
        if not isinstance(parts, list | dict):
            return f"{key}: {value} cannot be read; close each bracket and quote, and quote each part with other signs."
        return f"{key}: parts of the value need quotes: {shell_setting(key, parts)}."
    return f"{key}: the value needs quotes: {shell_setting(key, value)}."


def shell_word(text: str) -> str:
    """Return text as one word of bash, ksh or zsh, on one line.

    >>> shell_word("it's"), shell_word("two\\nlines")
    ('\\'it\\'"\\'"\\'s\\'', "$'two\\\\nlines'")
    """
    if one_line(text) == text:
        return shlex.quote(text)
    return "$'" + "".join(map(_in_dollar_quotes, text)) + "'"


def _in_dollar_quotes(character: str) -> str:
    if ord(character) in SURROGATES:
        return f"\\x{os.fsencode(character)[0]:02x}"
    if ord(character) < 0x80:
        return f"\\{character}" if character in "\\'" else one_line(character)
    return character if one_line(character) == character else f"\\u{ord(character):04x}"


def written(value: Any) -> str:
    """Return a value in the grammar of Hydra's command line; a mapping as JSON (overrides.py reads it)."""
    value = plain_value(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        text = literal(value)
        return text if _is_bare(text) else QuotedString(text, Quote.double).with_quotes()
    if isinstance(value, Mapping):
        return json.dumps(_literals(value), ensure_ascii=False)
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    return str(value)


def literal(text: str) -> str:
    """Return text that OmegaConf does not interpolate."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def plain_value(value: Any) -> Any:
    """Return paths as text, choices as their value, tuples as lists and numbers of numpy as Python's."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    return value.item() if hasattr(value, "item") else value


def _literals(value: Any) -> Any:
    """Return a value for JSON: plain, and with texts that OmegaConf does not interpolate."""
    value = plain_value(value)
    if isinstance(value, Mapping):
        return {str(key): _literals(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literals(item) for item in value]
    return literal(value) if isinstance(value, str) else value


def _is_bare(text: str) -> bool:
    """Return whether Hydra reads text as itself without quotes, also within a list."""
    if not re.fullmatch(r"[\w./@%+-]+", text, re.ASCII):
        return False
    return bool(read_value(text) == text)


def read_value(text: str) -> Any:
    """Return the value that Hydra reads from text, or None; of several values (`a,b`) the sweep."""
    try:
        return OverridesParser.create().parse_override(f"key={text}").value()
    except HydraException:
        return None
