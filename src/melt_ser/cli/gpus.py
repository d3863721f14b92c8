"""Give each job of a sweep one GPU, if jobs run side by side on a machine with several GPUs."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig

from melt_ser.cli.sweep import sweeping

SIDE_BY_SIDE = ("joblib", "submitit_local")  # launchers that give every job all GPUs; slurm and ray give each its own
VISIBLE = "CUDA_VISIBLE_DEVICES"
_own: list[str] = []  # this process's GPU: once CUDA is in use, the process stays with it


@contextmanager
def one_gpu() -> Iterator[None]:
    """Wait for a GPU that no other job of a sweep on this machine holds, and make it the only visible GPU.

    Do nothing outside such a sweep, or if the process sees fewer than two GPUs.
    """
    if not sweeping() or HydraConfig.get().runtime.choices.get("hydra/launcher") not in SIDE_BY_SIDE:
        yield
        return
    wanted = _own or visible_gpus()
    if not _own and len(wanted) < 2:
        yield
        return
    name, lock = _first_free(wanted)
    try:
        _own[:] = [name]
        os.environ[VISIBLE] = name
        yield
    finally:
        lock.release()


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them, without importing torch."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, _ in enumerate(line for line in listed.splitlines() if line.startswith("GPU "))]


def _first_free(names: list[str]) -> tuple[str, FileLock]:
    """Lock the first free GPU and return it with its lock. The system releases the lock if the process dies."""
    folder = Path(tempfile.gettempdir()) / f"melt_ser-gpus-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    while True:
        for name in names:
            lock = FileLock(folder / f"{name.strip()}.lock", thread_local=False)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            return name, lock
        time.sleep(1.0)
