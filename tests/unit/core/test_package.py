"""The cache folder, and paths that begin with ~."""

from __future__ import annotations

from pathlib import Path

import pytest

from melt_ser.core.errors import SetupError
from melt_ser.core.package import cache_folder, expanded


@pytest.mark.parametrize(
    ("own", "usual", "folder"),
    [
        ("", "", "/home/ann/.cache/melt_ser"),
        ("", "/scratch", "/scratch/melt_ser"),
        ("", "relative", "/home/ann/.cache/melt_ser"),  # its standard demands an absolute path
        ("/own", "/scratch", "/own"),
        ("~/own", "", "/home/ann/own"),
        ("relative", "", "relative"),
    ],
)
def test_the_cache_folder_is_ones_own_or_the_usual_one(
    own: str, usual: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("MELT_SER_CACHE", own)
    monkeypatch.setenv("XDG_CACHE_HOME", usual)
    assert cache_folder() == Path(folder)


def test_a_user_without_a_home_folder_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(SetupError, match=r"^~/x: there is no home folder for ~; set HOME, or MELT_SER_CACHE for "):
        expanded("~/x")
    with pytest.raises(SetupError, match=r"^~no-such-user/x: there is no home folder for ~no-such-user; give the whol"):
        expanded("~no-such-user/x")
    assert expanded("a/~b") == Path("a/~b")
