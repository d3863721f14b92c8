"""The part of a result's configuration that reports rely on; a result whose configuration lacks it cannot be read."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


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


class ReportedConfig(Struct):
    """The configuration of a run, without the keys that no report reads."""

    backbone: _Backbone
    dataset: _Dataset
    labels: _Labels
    head: dict[str, Any]
    augment: dict[str, Any]
    trainer: dict[str, Any]
    eval: _Eval
