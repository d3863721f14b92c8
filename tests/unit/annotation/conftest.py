"""A journal for the tests of annotation, and the key of the test server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation_server import KEY
from melt_ser.annotation.journal import Journal, open_journal


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path / "journal.sqlite") as opened:
        yield opened
