"""Files are written whole or not at all, and a failing write ends in one sentence that names the file."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from melt_ser.core.errors import OutputError, one_line
from melt_ser.core.files import remove_leftovers, replacing_file, replacing_folder, write_csv, write_json, write_text


@pytest.fixture
def small_files() -> Iterator[None]:
    """Stand in for a full disk without mounting one: no file of this process grows beyond 8 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * 1024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


LARGE = {"weights": torch.zeros(100_000)}
WRITERS = {
    "text": lambda path: write_text(path, "x" * 100_000),
    "json": lambda path: write_json(path, ["x"] * 100_000),
    "csv": lambda path: write_csv(path, pd.DataFrame({"a": ["x"] * 100_000})),
}
FOLDER_WRITERS = {
    "safetensors": lambda folder: save_file(LARGE, folder / "a.safetensors"),
    "torch": lambda folder: torch.save(LARGE, folder / "a.pt"),
    "file": lambda folder: write_text(folder / "a.txt", "x" * 100_000),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_failing_write_leaves_the_old_file_as_it_was(name: str, tmp_path: Path, small_files: None) -> None:
    path = tmp_path / "old"
    path.write_text("old")
    with pytest.raises(
        OutputError, match=r"^cannot write .*old: File too large; free space there or give another folder"
    ):
        WRITERS[name](path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("old", "old")]


def test_a_failing_write_in_the_cache_names_the_variable_that_moves_it(
    tmp_path: Path, small_files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELT_SER_CACHE", str(tmp_path / "cache"))
    with pytest.raises(OutputError, match=r"cache/a: File too large; free space there or set MELT_SER_CACHE\.$"):
        write_text(tmp_path / "cache" / "a", "x" * 100_000)
    monkeypatch.delenv("MELT_SER_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", no_home)
    with pytest.raises(OutputError, match=r"give another folder \(out= or --out\)\.$"):
        write_text(tmp_path / "a", "x" * 100_000)


def no_home(path: Path) -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("name", FOLDER_WRITERS)
def test_a_failing_write_leaves_the_old_folder_as_it_was(name: str, tmp_path: Path, small_files: None) -> None:
    write_text(tmp_path / "model" / "old", "old")
    with (
        pytest.raises(OutputError, match=r"^cannot write .*/model: .*; free space there"),
        replacing_folder(tmp_path / "model") as temporary,
    ):
        FOLDER_WRITERS[name](temporary)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["model", "old"]


def test_of_two_processes_that_write_a_folder_the_later_one_stays(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "report") as later:
        with replacing_folder(tmp_path / "report") as first:
            (first / "page").write_text("first")
        (later / "page").write_text("later")
    assert (tmp_path / "report" / "page").read_text() == "later"
    assert list(tmp_path.iterdir()) == [tmp_path / "report"]


def test_a_write_passes_on_other_errors(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), replacing_file(tmp_path / "a"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_failing_write_names_the_systems_reason(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left on device"), replacing_file(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_one_line_escapes_controls_and_keeps_letters() -> None:
    assert one_line("a\r\nb\x1b[31m\udcfc\u2028") == r"a\r\nb\x1b[31m\udcfc\u2028"
    assert one_line("Grüße 你好 😀 [red]") == "Grüße 你好 😀 [red]"


KILLED = """
import os, signal, sys
from pathlib import Path
from melt_ser.core import files
original, calls = os.replace, []
def replace(*paths):
    original(*paths)
    calls.append(paths)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace
with files.replacing_folder(Path(sys.argv[1])) as temporary:
    (temporary / "file").write_text("new")
"""


@pytest.mark.parametrize(("renames", "content"), [(1, "old"), (2, "new")])
def test_a_folder_survives_a_killed_replacement(renames: int, content: str, tmp_path: Path) -> None:
    """Kill it after each of the two renames: the old folder moves aside, then the new one takes its place."""
    write_text(tmp_path / "model.v1" / "file", "old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "model.v1"), str(renames)])
    assert killed.returncode == -signal.SIGKILL
    remove_leftovers(tmp_path)
    assert (tmp_path / "model.v1" / "file").read_text() == content
    assert [path.name for path in tmp_path.iterdir()] == ["model.v1"]


def test_a_folder_comes_back_if_its_replacement_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "model" / "file", "old")
    original, calls = os.replace, 0

    def replace(*paths: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.EIO, "Input/output error")
        original(*paths)

    with pytest.raises(OutputError, match="Input/output error"), replacing_folder(tmp_path / "model"):
        monkeypatch.setattr("melt_ser.core.files.os.replace", replace)
    assert (tmp_path / "model" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
