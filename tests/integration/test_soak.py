"""The soak test of spoilt inputs, in short."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from checkout import CHECKOUT

SCRIPT = CHECKOUT / "scripts" / "soak_bad_input.py"


@pytest.mark.slow
def test_a_round_of_spoilt_inputs_is_accepted_or_refused() -> None:
    """Try 48 inputs, so that the long version of the script is known to work."""
    command = [sys.executable, str(SCRIPT), "--count", "48", "--seed", "0", "--processes", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    summary = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert summary["tried"] == summary["refused"] + summary["accepted"] == 48
    assert len(summary["by_kind"]) == 23
