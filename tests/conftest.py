"""What every test shares: no network, a cache of its own, and the real corpora where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything imports huggingface_hub

import pytest
from hypothesis import settings

from browser import BROWSER, chromium
from melt_ser.core.console import terminal

REAL_DATA = "MELT_SER_TEST_DATA"
settings.register_profile("melt_ser", deadline=None)  # a busy machine is no mistake of the code
settings.load_profile("melt_ser")


@pytest.fixture(autouse=True, scope="session")
def cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the fixtures of modules, which begin before `own_cache`, leave the user's cache and corpora alone too."""
    with pytest.MonkeyPatch.context() as patch:
        _leave_the_users_alone(tmp_path_factory, patch)
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verification results of one test session, apart from the user's; again for each test, which may change them."""
    _leave_the_users_alone(tmp_path_factory, monkeypatch)


def _leave_the_users_alone(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("MELT_SER_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    patch.delenv("MELT_SER_DATA", raising=False)


@pytest.fixture
def empty_cache(own_cache: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of this test alone."""
    monkeypatch.setenv("MELT_SER_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True, scope="session")
def listening() -> Iterator[None]:
    """Have the package speak to the terminal, as it does within a verb, so that tests can compare its sentences."""
    with terminal():
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real annotation files and corpora; the project ships none of it."""
    folder = Path(os.environ.get(REAL_DATA) or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"the real corpora are not here: set {REAL_DATA}")
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few finished runs, which tests copy and leave as they are (see report_runs.py)."""
    from report_runs import real_runs

    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELT_SER_CACHE", str(folder / "cache"))
        return real_runs(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The machine's own Chromium, without a head."""
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    pytest.importorskip("playwright", reason="playwright is not installed")
    with chromium() as running:
        yield running
