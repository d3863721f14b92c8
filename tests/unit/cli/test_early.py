"""Ctrl-C while a verb is imported: one line and exit code 130; a program that uses the library sees nothing of this."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from heeding import heeding

STOPPING = """
import os, signal, sys

class Stopping:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Stopping())
"""


def run_with_ctrl_c(module: str, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with Ctrl-C at the moment in which it begins to import a module."""
    (folder / "sitecustomize.py").write_text(STOPPING.format(module=module))
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, cwd=folder, preexec_fn=heeding
    )


@pytest.mark.parametrize(
    ("module", "words"),
    [
        *(("omegaconf", ["-m", f"melt_ser.{verb}"]) for verb in ("train", "evaluate", "prepare")),
        *(("pandas", ["-m", f"melt_ser.{verb}"]) for verb in ("predict", "report")),
        *(("melt_ser.cli.verb", ["-m", f"melt_ser.{verb}"]) for verb in ("annotate", "agreement", "listen", "info")),
        ("hydra", ["-m", "melt_ser", "train"]),
        ("melt_ser.cli.completion", ["-mmelt_ser"]),
        ("logging", ["-m", "melt_ser.acoustics"]),
    ],
)
def test_ctrl_c_while_a_verb_is_imported_ends_it_with_one_line(module: str, words: list[str], tmp_path: Path) -> None:
    done = run_with_ctrl_c(module, words, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped.\n")


def test_the_command_melt_ser_does_so_too(tmp_path: Path) -> None:
    program = tmp_path / "melt-ser"
    program.write_text("import sys\nfrom melt_ser.__main__ import main\nsys.exit(main())\n")
    done = run_with_ctrl_c("hydra", [str(program), "prepare"], tmp_path)
    assert (done.returncode, done.stderr) == (130, "stopped.\n")


def test_ctrl_c_in_a_program_that_imports_the_library_stays_its_own(tmp_path: Path) -> None:
    words = ["-c", "import melt_ser, signal; print(signal.getsignal(2) is signal.default_int_handler)"]
    assert run_with_ctrl_c("none", words, tmp_path).stdout == "True\n"
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "__init__.py").write_text(words[1])
    (tmp_path / "tool" / "__main__.py").write_text("")
    assert run_with_ctrl_c("none", ["-m", "tool", "melt_ser.train"], tmp_path).stdout == "True\n"
