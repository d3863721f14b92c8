"""Write files of labels, and compare them as `agreement` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from melt_ser.agreement import main


def write(path: Path, text: str) -> Path:
    """Write a file of labels; return its path."""
    path.write_text(text, encoding="utf-8")
    return path


def compare(path: Path, *more: str | Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what `agreement` prints about files of labels, as JSON."""
    assert main([str(path), *map(str, more), "--format", "json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result
