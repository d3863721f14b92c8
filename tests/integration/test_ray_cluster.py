"""A sweep on a Ray cluster of two nodes, which are two raylets of this machine; one job is killed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from small_runs import corpus, typed

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start two nodes of one processor each; return the address of the first."""
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") is None:
        pytest.skip("pip install 'melt-ser[ray]' for this")
    # By default Ray gives its jobs the lowest claim on the processors: they would starve next to other tests.
    for name, value in (("RAY_USAGE_STATS_ENABLED", "0"), ("OMP_NUM_THREADS", "1"), ("RAY_worker_niceness", "0")):
        monkeypatch.setenv(name, value)
    folder = tempfile.mkdtemp(dir="/tmp")  # a socket's path is short
    port = free_port()
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
    start += ["--object-store-memory=100000000"]
    head = [f"--port={port}", f"--ray-client-server-port={free_port()}", f"--temp-dir={folder}", "--head"]
    head += ["--include-dashboard=false"]
    nodes: list[subprocess.Popen[str]] = []
    try:
        for own in (head, [f"--address=127.0.0.1:{port}"]):
            nodes.append(subprocess.Popen([*start, *own], stdout=subprocess.PIPE, text=True))
            said = iter(nodes[-1].stdout or [])
            assert any("Ray runtime started" in line for line in said)
        yield f"127.0.0.1:{port}"
    finally:
        for node in reversed(nodes):
            running = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
            node.send_signal(signal.SIGTERM)
            _, left = psutil.wait_procs(running, timeout=30)
            for process in left:
                process.kill()
            node.wait()
        shutil.rmtree(folder, ignore_errors=True)


def sweep(*overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "melt_ser.train", "--multirun", "hydra/launcher=ray", *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def jobs() -> dict[int, int]:
    """Return the process of each job that runs now, with that of its node."""
    found = {}
    for process in psutil.process_iter(["name", "cmdline", "ppid"]):
        if "ray::_run_job" in " ".join(process.info["cmdline"] or []):
            found[process.pid] = process.info["ppid"]
    return found


def test_jobs_run_on_both_nodes_a_killed_one_is_tried_again_and_the_same_command_runs_what_is_missing(
    address: str, tmp_path: Path
) -> None:
    root, out = corpus(tmp_path / "c"), tmp_path / "runs"
    joins = f"hydra.launcher.ray.init.address={address}"
    settings = typed(out, root, "trainer.epochs=3")
    process = sweep(joins, "seed=0,1,2", *settings)
    while len(set(jobs().values())) < 2 or not list(out.glob("*/*/*/checkpoints")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    os.kill(next(iter(jobs())), signal.SIGKILL)
    said, _ = process.communicate(timeout=900)
    assert "sweep: 3 finished, 0 skipped, 0 failed" in said, said
    assert process.returncode == 0

    process = sweep(joins, "seed=0,1,2,3", *settings)
    said, _ = process.communicate(timeout=900)
    assert "sweep: 1 finished, 3 skipped, 0 failed" in said, said
