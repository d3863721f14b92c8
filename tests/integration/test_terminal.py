"""Every verb with odd shells, outputs, signals and machines: a sentence, the right exit code, nothing half done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from checkout import CHECKOUT
from heeding import heeding
from shell_cases import CASES, STOPS, Case, Stop, inputs

HELPERS = CHECKOUT / "tests" / "helpers"
BASH = f"""set -o pipefail
melt() {{ {sys.executable} -m melt_ser "$@"; }}
nobody() {{ {sys.executable} {HELPERS / "nobody.py"} "$@"; }}
"""
SIGNALS = {
    "Ctrl-C": [signal.SIGINT],
    "Ctrl-C three times": [signal.SIGINT] * 3,
    "SIGTERM": [signal.SIGTERM],
    "closed terminal": [signal.SIGHUP],
}
EACH = ("Ctrl-C three times", "SIGTERM")  # the others for one verb, since all have the same frame
STOPPED = [(stop, sent) for stop in STOPS for sent in SIGNALS if sent in EACH or stop.verb == "agreement"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs of every verb, with one finished run."""
    folder = tmp_path_factory.mktemp("terminal") / "inputs"
    folder.mkdir()
    inputs(folder)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of the inputs."""
    return Path(shutil.copytree(made, tmp_path / "place", symlinks=True))


def environment(place: Path) -> dict[str, str]:
    """Return the environment of a user at home, with the package of this checkout."""
    given = {"MELT_SER_CACHE": str(place / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    return {**os.environ, **given}


def check_nothing_is_half_done(place: Path) -> None:
    """Assert that no temporary file is left, and that no finished run is called failed."""
    hidden = [path for path in place.rglob(".*") if path.suffix != ".lock" and path.name != ".cache"]
    assert hidden == []
    assert not [path for path in place.rglob("failed.json") if path.with_name("result.json").exists()]


def test_at_least_54_cases_are_tried() -> None:
    assert len(CASES) + len(STOPPED) >= 54


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {case.shell}")
def test_a_shell_gets_an_exit_code_and_a_sentence(case: Case, place: Path) -> None:
    if "acoustics" in case.shell:
        pytest.importorskip("opensmile", reason="opensmile, of the extra acoustics, is not installed")
    if case.shell.startswith("melt listen score"):
        pytest.importorskip("statsmodels", reason="statsmodels, of the extra listening, is not installed")
    done = subprocess.run(
        ["bash", "-c", BASH + case.shell], cwd=place, env=environment(place), capture_output=True, text=True
    )
    lines = done.stderr.splitlines()
    assert done.returncode in case.codes, done.stderr
    assert "Traceback" not in done.stdout + done.stderr and "Error" not in done.stderr, done.stderr
    if case.says is None:
        assert not any(line.startswith("error:") for line in lines), lines
    else:
        assert lines[-1:] == ([case.says] if case.says else []), lines
    if case.makes is not None:
        assert (place / case.makes).exists()
    check_nothing_is_half_done(place)


@pytest.mark.parametrize(("stop", "sent"), STOPPED, ids=lambda given: given if isinstance(given, str) else given.verb)
def test_a_verb_that_is_stopped_while_it_writes_leaves_nothing_half_done(stop: Stop, sent: str, place: Path) -> None:
    if stop.verb == "acoustics":
        pytest.importorskip("opensmile", reason="opensmile, of the extra acoustics, is not installed")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    mark = place.parent / "paused"
    command = [sys.executable, str(HELPERS / "pausing.py"), str(mark), stop.point, *stop.line.split()]
    verb = subprocess.Popen(
        command, cwd=place, env=environment(place), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heeding,
    )  # fmt: skip
    while not mark.exists():
        assert verb.poll() is None, verb.communicate()
        time.sleep(0.01)
    for number in SIGNALS[sent]:
        verb.send_signal(number)
    said = verb.communicate()[1]
    assert verb.returncode == 128 + SIGNALS[sent][0], said
    assert said.splitlines()[-1] == stop.says and "Traceback" not in said, said
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not list(place.glob(stop.makes))
    check_nothing_is_half_done(place)
