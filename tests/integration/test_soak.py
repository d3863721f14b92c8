"""The soak test of spoilt inputs, in short."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from checkout import CHECKOUT

SCRIPT = CHECKOUT / "scripts" / "soak_bad_input.py"


@pytest.mark.slow
def test_a_round_of_spoilt_inputs_is_accepted_or_refused() -> None:
    """Try 48 inputs, so that the long version of the script is known to work."""
    command = [sys.executable, str(SCRIPT), "--count", "48", "--seed", "0", "--processes", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    summary = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert summary["tried"] == summary["refused"] + summary["accepted"] == 48
    assert len(summary["by_kind"]) == 23


@pytest.mark.slow
def test_an_input_that_hangs_ends_its_child_by_the_time_of_the_processor(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = [{str(SCRIPT.parent)!r}, {str(CHECKOUT / 'tests' / 'helpers')!r}]\n"
        "import fuzz_targets, soak_bad_input as soak\n"
        "from pathlib import Path\n"
        "def spoil(seed, folder):\n"
        "    while seed == 1: pass\n"
        "    return True\n"
        "fuzz_targets.spoil, soak.SECONDS_EACH = spoil, 0.5\n"
        f"soak.read_all(range(3), Path({str(tmp_path / 'log')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode < 0 and "in spoil" in done.stderr
    notes = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(note["seed"], "outcome" in note) for note in notes] == [(0, False), (0, True), (1, False)]
