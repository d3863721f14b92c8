"""The reading list of docs/architecture.md is true: a real run passes through these files, in this order of calls."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import melt_ser.runs.run
from checkout import CHECKOUT
from melt_ser.corpora import load
from melt_ser.train import main as train
from small_runs import corpus, typed

PACKAGE = CHECKOUT / "src" / "melt_ser"


def reading_list() -> list[str]:
    text = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return re.findall(r"^\d+\. `([\w/]+\.py)`", text, re.MULTILINE)


def own_files_of_the_stack() -> list[str]:
    """Return the project's files in the current stack, from the outermost call inwards."""
    paths = [Path(frame.filename) for frame in traceback.extract_stack()]
    return [path.relative_to(PACKAGE).as_posix() for path in paths if PACKAGE in path.parents]


@pytest.mark.slow
def test_a_run_is_understood_from_the_files_of_the_reading_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = reading_list()
    assert 10 <= len(listed) <= 15 and all((PACKAGE / name).is_file() for name in listed)
    stacks: dict[str, list[str]] = {}

    def noting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **named: Any) -> Any:
            stacks.setdefault(name, own_files_of_the_stack())
            return function(*arguments, **named)

        return noted

    monkeypatch.setattr(load, "verify", noting("corpus", load.verify))
    monkeypatch.setattr(torch.optim.AdamW, "step", noting("optimiser", torch.optim.AdamW.step))
    monkeypatch.setattr(melt_ser.runs.run, "write_result", noting("result", melt_ser.runs.run.write_result))
    executed: set[str] = set()

    def profile(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            executed.add(Path(frame.f_code.co_filename).relative_to(PACKAGE).as_posix())

    monkeypatch.setattr("sys.argv", ["train", *typed(tmp_path / "runs", corpus(tmp_path / "corpus"))])
    sys.setprofile(profile)
    try:
        assert train() == 0
    finally:
        sys.setprofile(None)
    frame_of_every_verb = {"cli/verb.py", "cli/sweep.py", "cli/gpus.py", "core/console.py"}
    assert set(stacks) == {"corpus", "optimiser", "result"}
    for name, files in stacks.items():
        assert set(files) - frame_of_every_verb <= set(listed), name
        places = [listed.index(file) for file in dict.fromkeys(files) if file in listed]
        assert places == sorted(places), f"{name}: the list is not in the order of the calls"
    assert set(listed) - {"config.py"} <= executed  # config.py holds declarations alone
