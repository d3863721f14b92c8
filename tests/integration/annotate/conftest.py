"""A table of lines, a server that answers, and its key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation_server import KEY, Behaviour


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "lines.csv"
    rows = [f"u{number},Line {number} is a line.,Ross,scene,{number}\n" for number in range(12)]
    path.write_text("utterance,text,speaker,dialogue,position\n" + "".join(rows))
    return path


@pytest.fixture
def server() -> Iterator[Behaviour]:
    yield Behaviour()
