"""The architecture of the package: the order of its rooms, its root, and how little a room must import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from checkout import CHECKOUT
from melt_ser.__main__ import VERBS

ROOT = CHECKOUT / "src" / "melt_ser"


def test_architecture_no_room_imports_a_higher_one_and_none_is_in_a_circle() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src")}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_architecture_the_root_has_verbs_and_settings_only() -> None:
    modules = {path.stem for path in ROOT.glob("*.py")}
    assert modules == {"__init__", "__main__", "config", *VERBS}


@pytest.mark.parametrize(("module", "most"), [("data.datasets", 27), ("training.fit", 58)])
def test_architecture_a_module_closes_over_few_files(module: str, most: int) -> None:
    """Modules that an import of `module` may lead to, at any depth, lazy imports included."""
    graph = grimp.build_graph("melt_ser", cache_dir=None)
    closure = {f"melt_ser.{module}", *graph.find_upstream_modules(f"melt_ser.{module}")}
    assert len(closure) <= most, sorted(closure)


def test_architecture_data_imports_no_models() -> None:
    graph = grimp.build_graph("melt_ser", cache_dir=None)
    closure = graph.find_upstream_modules("melt_ser.data", as_package=True)
    assert not [module for module in closure if module.startswith("melt_ser.models")]


def test_architecture_no_file_is_longer_than_300_lines() -> None:
    def lines(path: Path) -> int:
        return len(path.read_text(encoding="utf-8").splitlines())

    files = set(ROOT.rglob("*.py")) - {
        ROOT / "config.py"
    }  # it is data: each setting has two lines, a field and its text
    assert not {path.name: lines(path) for path in files if lines(path) > 300}
