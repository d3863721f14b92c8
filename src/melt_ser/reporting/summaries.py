"""What every report reads of a result: decoded straight into a checked value, and the rest of the file passed over.

A result is mostly what only the details of a single run show: confusions, curves, slices. Of 10,000 runs these are
never made into objects.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec

from melt_ser.core.files import misfit
from melt_ser.runs.folder import EVALUATION, INTERVAL, NUMBER, RESULT, SCHEMA_VERSION

GROUPS = ("backbone", "dataset", "labels", "head", "augment", "trainer", "eval")
CONFIG = {**dict.fromkeys(GROUPS, dict), "backbone": {"name": str, "family": str}, "dataset": {"name": str}}
ROW = {**EVALUATION, "digest": str, "weighted_f1": NUMBER, "predictions": str}
SUMMARY = {
    **RESULT,
    "schema_version": int,
    "run": {"id": str, "seed": int, "seconds": NUMBER},
    "config": dict,  # all of it, since it says which runs are of one system
    "evals": [ROW],
}
# What older results lack, or runs that no command started.
OPTIONAL = {
    "run": {"command": str | None, "experiment": str | None},
    "train": {"dropped": dict},
    "evals": [
        {
            "ece": NUMBER | None,
            "calibration": {"ece_with_temperature": NUMBER | None},
            "macro_f1_ci95": INTERVAL,
            "overlap": int,
            "groups": str | None,
        }
    ],
    "unscored": [{"corpus": str, "reason": str}],
}
# What a result has to have for its details too.
READ = {**SUMMARY, "config": CONFIG, "evals": [{**ROW, "confusion": [[int]]}]}


def decode_summary(content: bytes) -> dict[str, Any] | None:
    """SUMMARY and OPTIONAL of a result as JSON; None where it is not sound."""
    try:
        result: dict[str, Any] = _decoder().decode(content)
    except (msgspec.DecodeError, ValueError, RecursionError):  # ValueError: text that is no UTF-8
        return None
    sound = result["schema_version"] == SCHEMA_VERSION and misfit(result["config"], CONFIG) is None
    return result if sound else None


def mistake(content: bytes) -> str:
    """What is wrong with a result of which `decode_summary` makes nothing."""
    try:
        result = json.loads(content)
    except (ValueError, RecursionError) as error:
        return f"cannot be read ({error})"
    version = result.get("schema_version") if isinstance(result, dict) else None
    if version != SCHEMA_VERSION:
        return f"is of schema version {version}, not {SCHEMA_VERSION}"
    try:
        _decoder().decode(content)
    except msgspec.DecodeError as error:
        return f"is not sound ({error})"
    return f"has no sound 'config.{misfit(result['config'], CONFIG)}'"


@cache
def _decoder() -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_type("result", SUMMARY, OPTIONAL))


def _type(name: str, shape: Any, optional: Any = None) -> Any:
    """The type that msgspec decodes a shape as `files.misfit` has them; keys that it does not name are passed over."""
    if isinstance(shape, tuple):
        return Annotated[list[shape[0]], msgspec.Meta(min_length=len(shape), max_length=len(shape))]
    if isinstance(shape, list):
        return list[_type(name, shape[0], optional and optional[0])]  # type: ignore[misc]
    if not isinstance(shape, dict):
        return shape
    optional = optional or {}
    parts = {key: _type(key, part, optional.get(key)) for key, part in shape.items()}
    parts |= {key: NotRequired[_type(key, part)] for key, part in optional.items() if key not in shape}
    return TypedDict(name, parts)  # type: ignore[operator]
