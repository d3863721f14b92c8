"""Sweeps on a real Slurm of one machine: an array of jobs, a time limit, a preemption, a cancelled job."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import melt_ser
from checkout import CHECKOUT
from small_runs import corpus, outcome, train, typed

SCRIPT = CHECKOUT / "scripts" / "slurm_on_one_machine.sh"
LAUNCHER = ("--multirun", "hydra/launcher=submitit_slurm")
LONG = ("trainer.epochs=40", "trainer.patience=null")  # some seconds, with a checkpoint each epoch
NAMING = ("result.json", "model/README.md", "slurm_job.txt")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Start a Slurm with four processors, and stop it after the tests of this module."""
    if shutil.which("slurmctld") is None or os.geteuid() != 0:
        pytest.skip("this needs root, and apt-get install munge slurmctld slurmd slurm-client")
    folder = tmp_path_factory.mktemp("slurm") / "slurm"
    environment = {**os.environ, "FOLDER": str(folder)}
    done = subprocess.run([SCRIPT, "start"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", done.stdout.strip().removeprefix("export SLURM_CONF="))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
        subprocess.run(["scancel", "--user", "root"])
        subprocess.run([SCRIPT, "stop"], env=environment, check=True)
    assert not folder.exists()


def sweep(*overrides: str) -> subprocess.Popen[str]:
    """Start a sweep, with the environment that the jobs get too."""
    command = [sys.executable, "-m", "melt_ser.train", *LAUNCHER, *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def summary(process: subprocess.Popen[str]) -> str:
    """Wait for a sweep; return its summary, the last lines of its output."""
    said, _ = process.communicate(timeout=1800)
    return said[said.index("sweep: ") :]


def logs(out: Path) -> str:
    """Return what the jobs of a sweep wrote on standard error."""
    return "".join(path.read_text() for path in (out / ".sweep" / ".submitit").glob("*/*_log.err"))


def numbers(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files of a run that do not name its command or its job."""
    return {name: digest for name, digest in outcome(folder).items() if name not in NAMING}


def wait_for_epoch(out: Path, process: subprocess.Popen[str]) -> None:
    while not list(out.glob("*/*/*/metrics.csv")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)


def test_an_array_of_twenty_jobs_ends_in_one_report(tmp_path: Path) -> None:
    root, out = corpus(tmp_path / "c"), tmp_path / "runs"
    seeds = f"seed={','.join(map(str, range(20)))}"
    said = summary(sweep(*typed(out, root, seeds, "trainer=frozen", "trainer.epochs=1")))
    assert said.startswith("sweep: 20 finished, 0 skipped, 0 failed")
    assert len(re.findall(r"^  seed=\d+: csv \d", said, re.MULTILINE)) == 20
    arrays = {path.name.partition("_")[0] for path in (out / ".sweep" / ".submitit").glob("[0-9]*_*")}
    assert len(arrays) == 1, "one array"
    assert melt_ser.read_runs(out)["folder"].nunique() == 20  # the table that a report shows


def test_a_job_near_its_time_limit_is_queued_again_and_ends_with_the_same_numbers(tmp_path: Path) -> None:
    """The decoding processes get the signal too."""
    root, out = corpus(tmp_path / "c"), tmp_path / "runs"
    settings = (*LONG, "trainer.workers=1")
    process = sweep("hydra.launcher.timeout_min=9", "hydra.launcher.max_num_timeout=1", *typed(out, root, *settings))
    wait_for_epoch(out, process)
    subprocess.run(["scancel", "--signal=USR2", "--user", "root"], check=True)  # as Slurm does before the limit
    assert summary(process).startswith("sweep: 1 finished, 0 skipped, 0 failed")
    assert "this job is timed-out" in logs(out)
    [result] = out.glob("*/*/*/result.json")
    alone, _ = train(tmp_path / "alone", root, *settings)
    assert numbers(result.parent) == numbers(alone)


def test_a_job_without_a_further_try_says_how_it_goes_on(tmp_path: Path) -> None:
    root, out = corpus(tmp_path / "c"), tmp_path / "runs"
    process = sweep("hydra.launcher.timeout_min=5", *typed(out, root, *LONG))
    wait_for_epoch(out, process)
    subprocess.run(["scancel", "--signal=USR2", "--user", "root"], check=True)
    said = summary(process)
    assert said.startswith("sweep: 0 finished, 0 skipped, 1 failed") and process.returncode == 2
    assert "The job was stopped before its time limit and not queued again" in said
    assert not list(out.glob("*/*/*/failed.json"))  # it is unfinished, and did not fail
    assert "Traceback" not in logs(out)


def test_a_preempted_job_goes_on_even_if_it_was_forced(tmp_path: Path) -> None:
    root, out = corpus(tmp_path / "c"), tmp_path / "runs"
    process = sweep(*typed(out, root, *LONG, "force=true"))
    wait_for_epoch(out, process)
    subprocess.run(["sbatch", "-p", "urgent", "-n", "4", "-o", "/dev/null", "--wrap", "sleep 1"], check=True)
    assert summary(process).startswith("sweep: 1 finished, 0 skipped, 0 failed")
    assert "DUE TO PREEMPTION" in logs(out)
    [result] = out.glob("*/*/*/result.json")
    assert (result.parent / "slurm_job.txt").is_file()
    alone, _ = train(tmp_path / "alone", root, *LONG, "force=true")
    assert numbers(result.parent) == numbers(alone)
