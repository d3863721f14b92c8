"""Verbs as people type them: a run by its place, a table by its name, completion, and names that do not fit."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from melt_ser.cli.overrides import for_hydra, with_run
from melt_ser.config import Config
from melt_ser.evaluate import main as evaluate
from melt_ser.prepare import main as prepare
from melt_ser.train import main as train
from small_runs import SMALL, corpus, typed


def start(monkeypatch: pytest.MonkeyPatch, main: object, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["melt_ser", *words])
    code: int = main()  # type: ignore[operator]
    return code


def bash(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in bash with `melt-ser` on the path."""
    program = folder / "melt-ser"
    program.write_text(f'#!/bin/bash\nexec {sys.executable} -m melt_ser "$@"\n')
    program.chmod(0o755)
    path = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=path)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["runs/one", "dataset=emodb"], ["run=runs/one", "dataset=emodb"]),
        (["dataset=emodb", "runs/one"], ["dataset=emodb", "run=runs/one"]),
        (["run=runs/one", "dataset=emodb"], ["run=runs/one", "dataset=emodb"]),
        (["--config-dir", "conf", "runs/it's"], ["--config-dir", "conf", 'run="runs/it\'s"']),
    ],
)
def test_evaluate_takes_the_run_by_its_place(words: list[str], expected: list[str]) -> None:
    assert with_run(words) == expected


def test_evaluate_without_a_corpus_scores_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(monkeypatch, evaluate, "run=runs/one") == 2
    assert "error: evaluate needs a test corpus: add dataset=<name>." in capsys.readouterr().err


def test_evaluate_refuses_a_device_before_it_looks_for_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(monkeypatch, evaluate, "run=runs/none", "dataset=demo", "device=gpu") == 2
    assert "error: device is auto, cpu, cuda or cuda:<number>, not 'gpu'." in capsys.readouterr().err


def test_a_table_without_a_corpus_is_ones_own() -> None:
    assert for_hydra(["dataset.table=mine.csv"], Config) == ["dataset.table=mine.csv", "dataset=csv"]
    assert for_hydra(["dataset.table=t.csv", "dataset=hub"], Config)[-1] == "dataset=hub"


@pytest.mark.parametrize("place", ["absolute", "relative"])
def test_a_table_needs_no_root(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    root = corpus(tmp_path / "c")
    table = root / "table.csv" if place == "absolute" else Path("c/table.csv")
    assert start(monkeypatch, prepare, f"dataset.table={table}") == 0
    printed = capsys.readouterr().out
    assert "24" in printed and "demo" not in printed


def test_a_table_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert start(monkeypatch, prepare, "dataset.table=min.csv") == 2
    assert "error: There is no table min.csv; set dataset.table to its path" in capsys.readouterr().err


def test_a_single_fold_says_what_it_is_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = typed(tmp_path / "runs", corpus(tmp_path / "c"), "dataset.folds=leave_one_out", "trainer=frozen")
    assert start(monkeypatch, train, *words) == 0
    told = capsys.readouterr().err
    sentence = (
        "note: This is fold 1 of 'csv' alone: it is tested on 6 of 24 utterances, 1 of 4 speakers. "
        "dataset.fold=all trains and scores every fold."
    )
    assert told.count(sentence) == 2
    assert start(monkeypatch, train, *words, "dataset.fold=all") == 0
    assert "of 'csv' alone" not in capsys.readouterr().err


@pytest.mark.parametrize("key", ["dataset.name", "backbone.name"])
@pytest.mark.parametrize("name", ["<b>x", "a/b", "..", "a b"])
def test_a_name_that_fits_no_folder_leaves_none(
    key: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(monkeypatch, train, *SMALL, f"{key}='{name}'", f"out={tmp_path / 'runs'}") == 2
    assert f"error: {key} '{name}' cannot name files and folders; use up to 100" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_the_same_mistake_in_nine_jobs_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--multirun", "dataset=emodb", f"dataset.root={tmp_path / 'nowhere'}", "seed=0,1,2,3,4,5,6,7,8"]
    assert start(monkeypatch, train, *words, f"out={tmp_path / 'runs'}") == 2
    told = capsys.readouterr().err
    assert told.count("error: Corpus 'emodb' is not at") == 1
    assert "failed: seed=0 and 8 more: Corpus 'emodb' is not at" in told
    assert start(monkeypatch, train, "seed=b") == 2  # a later command of the process is no part of the sweep
    assert "sweep" not in capsys.readouterr().err


def test_a_sweep_whose_values_do_not_compose_runs_no_job_and_says_so(tmp_path: Path) -> None:
    words = ["--multirun", "seed=0,b", f"out={tmp_path / 'runs'}"]
    done = subprocess.run([sys.executable, "-m", "melt_ser.train", *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: seed: Value 'b' of type 'str' could not be converted to Integer.",
        "sweep: no job was run",
    ]


def test_the_version_is_told() -> None:
    done = subprocess.run([sys.executable, "-m", "melt_ser", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "melt_ser 0.1.0\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ev"], ["evaluate"]),
        (["train", "backbone=hubert_t"], ["backbone=hubert_tiny", "backbone=hubert_tiny_random"]),
        (["prepare", "dataset.tab"], ["dataset.table="]),
    ],
)
def test_bash_completes_verbs_and_settings(words: list[str], expected: list[str], tmp_path: Path) -> None:
    line = " ".join(["melt-ser", *words])
    script = f"""
    eval "$(melt-ser --completion bash)"
    COMP_WORDS=({line}); COMP_CWORD={len(words)}; COMP_LINE="{line}"; COMP_POINT={len(line)}
    _melt_ser && echo "${{COMPREPLY[@]}}"
    """
    done = bash(script, tmp_path)
    assert done.stdout.split() == expected, done.stderr


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_verbs(tmp_path: Path) -> None:
    done = bash("""fish -c 'melt-ser --completion fish | source; complete -C "melt-ser ev"'""", tmp_path)
    assert done.stdout.startswith("evaluate\t"), done.stderr


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_verbs_and_settings(tmp_path: Path) -> None:
    bash("true", tmp_path)  # writes the program
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover
        os.environ |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TERM": "dumb"}
        os.execvp("zsh", ["zsh", "-f", "-i"])
    try:
        lines = ("autoload -Uz compinit; compinit -u", 'eval "$(melt-ser --completion zsh)"', "echo 're''ady'")
        type_in(terminal, "".join(f"{line}\n" for line in lines), "ready\r\n")
        type_in(terminal, "melt-ser ev\t", "melt-ser evaluate")
        type_in(terminal, "\x15melt-ser train backbone=hubert_t\t", "hubert_tiny")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def type_in(terminal: int, text: str, expected: str) -> None:
    """Type text into a terminal and wait for the answer."""
    os.write(terminal, text.encode())
    seen = ""
    while expected not in seen:
        assert select.select([terminal], [], [], 60)[0], seen
        seen += os.read(terminal, 65536).decode(errors="replace")


def test_completion_for_another_shell_is_refused(tmp_path: Path) -> None:
    done = bash("melt-ser --completion fsh", tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: --completion needs the name of a shell, not 'fsh'; did you mean 'fish'?\n"
    assert "complete -c melt-ser" in bash("melt-ser --completion fish", tmp_path).stdout
