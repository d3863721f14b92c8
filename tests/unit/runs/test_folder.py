"""The files of a run folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from melt_ser.cli.compose import load_config
from melt_ser.core.errors import InputError, SetupError
from melt_ser.runs.folder import previous_folder, read_result, read_settings, run_folder


@pytest.mark.parametrize("content", ["trainer: [", "- a list", ""])
def test_damaged_settings_are_refused_with_their_file(content: str, tmp_path: Path) -> None:
    assert read_settings(tmp_path) == {}  # not written yet
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(InputError, match=r"config\.yaml cannot be read .*; delete it, and it is written again"):
        read_settings(tmp_path)


def test_a_run_may_be_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    assert previous_folder(Path(".")) == tmp_path / "run.previous"
    with pytest.raises(SetupError, match=r"There is no finished run in \.: it has no result\.json\."):
        read_result(Path("."))


def test_the_output_may_lie_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    folder = run_folder(load_config("out='~/runs'"))
    assert folder.parents[2] == Path("/home/ada/runs")
    assert load_config("out='~/runs'").out == "/home/ada/runs"  # Hydra makes the folder of a sweep in it
    assert folder.name == run_folder(load_config()).name
