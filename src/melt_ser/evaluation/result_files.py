"""Read `result.json`, of this schema version or an older one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct

from melt_ser.core import files
from melt_ser.core.errors import InputError
from melt_ser.evaluation.results import RERUN_HINT

READABLE_VERSIONS = (1, 2)


class _Backbone(Struct):
    name: str
    family: str
    checkpoint: str | None = None


class _Dataset(Struct):
    name: str
    member_settings: dict[str, dict[str, Any]] = {}


class _Labels(Struct):
    classes: dict[str, list[str]] | None = None


class _Eval(Struct):
    roots: dict[str, str] = {}


class _Config(Struct):
    """The part of a configuration that reports rely on."""

    backbone: _Backbone
    dataset: _Dataset
    labels: _Labels
    head: dict[str, Any]
    augment: dict[str, Any]
    trainer: dict[str, Any]
    eval: _Eval


class _Version(Struct):
    schema_version: int


def decode_result(content: bytes, path: Path, kind: Any) -> Any:
    """Return a `Result` or `ResultSummary` (`kind`) from the bytes of `path`; InputError if invalid."""
    version = files.decode(content, path, _Version, RERUN_HINT).schema_version
    if version not in READABLE_VERSIONS:
        raise InputError(
            f"{path} has schema version {version}; this melt_ser reads 1 and 2: install a newer one, or {RERUN_HINT}."
        )
    result = files.decode(content, path, kind, RERUN_HINT)
    files.check(result.config, path, _Config, RERUN_HINT, within="config")
    return result


def load_result(path: Path, kind: Any) -> Any:
    """Read `result.json` as a `Result` or `ResultSummary` (`kind`); InputError if unreadable or invalid."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {RERUN_HINT}.") from None
    return decode_result(content, path, kind)
