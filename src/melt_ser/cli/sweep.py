"""The jobs of a sweep: their outcomes, and a GPU for each if they run side by side.

Jobs can only report through files, since Hydra's launchers return nothing from a job that died. Each job's process
writes its outcome into a folder next to the results, visible to every machine of the sweep, and the process of the
command prints a summary at the end. Hydra passes the callback `Outcomes` to every job.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from melt_ser.cli.overrides import as_typed
from melt_ser.core.errors import one_line
from melt_ser.core.processes import is_main_process

REASONS = 3  # the most reasons for failures in the summary of a sweep
SCORES = 20  # the most jobs whose scores are in it; `report` has those of any number
SIDE_BY_SIDE = ("joblib", "submitit_local")  # launchers that give every job all GPUs; slurm and ray give each its own
VISIBLE = "CUDA_VISIBLE_DEVICES"
_own: list[str] = []  # the GPU of this process; it cannot change once CUDA is in use


class Ended(NamedTuple):
    """The end of a job that did not fail.

    state: finished, or skipped if the run was finished before. ua: the UA on each corpus, a share, for the summary.
    """

    state: str = "finished"
    ua: dict[str, float] = {}  # noqa: RUF012  (nobody changes it)


class Outcomes(Callback):
    """Collect the outcomes of a sweep's jobs: {state: finished, skipped or failed; exit_code; reason; job; ua}."""

    last: Outcomes | None = None  # the outcomes of the sweep that this process started

    def __init__(self) -> None:
        self.folder: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Create the folder for the outcomes; Hydra calls this in the command's process, before it makes a launcher."""
        Outcomes.last = self
        _let_ray_join(config)
        place = Path(str(config.hydra.sweep.dir)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="outcomes-", dir=place))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Write the outcome of a job; Hydra calls this in the job's process."""
        if self.folder is not None and is_main_process() and isinstance(job_return._return_value, dict):
            from melt_ser.core import files  # imports pandas; a mistyped command ends faster without it

            files.write_json(self.folder / f"{config.hydra.job.num}.json", job_return._return_value)

    def end(self) -> int:
        """Print the summary of the sweep and return the highest exit code of its jobs.

        Only the process of the command calls this.
        """
        if self.folder is None:
            return 0
        from melt_ser.core import files
        from melt_ser.core.console import say

        paths = sorted(self.folder.glob("[0-9]*.json"), key=lambda path: int(path.stem))
        outcomes = [files.read_json(path) for path in paths]
        shutil.rmtree(self.folder, ignore_errors=True)
        if not outcomes:  # values that do not compose, or Ctrl-C: the reason stands above
            say("sweep: no job was run")
            return 0
        states = Counter(outcome["state"] for outcome in outcomes)
        failed = [outcome for outcome in outcomes if outcome["state"] == "failed"]
        say(f"sweep: {states['finished']} finished, {states['skipped']} skipped, {states['failed']} failed")
        common = set.intersection(*(set(outcome["job"]) for outcome in outcomes)) if len(outcomes) > 1 else set()
        for outcome in outcomes:  # what all jobs share need not be said
            outcome["job"] = " ".join(part for part in outcome["job"] if part not in common)
        scored = [outcome for outcome in outcomes if outcome["ua"]]
        if 1 < len(scored) <= SCORES:
            say("UA (%):")
            for outcome in scored:
                scores = ", ".join(f"{corpus} {100 * ua:.1f}" for corpus, ua in outcome["ua"].items())
                say(f"  {outcome['job']}: {scores}")
        jobs: dict[str, list[str]] = {outcome["reason"]: [] for outcome in failed}  # failed jobs by reason
        for outcome in failed:
            jobs[outcome["reason"]].append(outcome["job"])
        for reason, alike in list(jobs.items())[:REASONS]:
            say(f"failed: {alike[0]}{f' and {len(alike) - 1} more' if len(alike) > 1 else ''}: {reason}")
        if len(jobs) > REASONS:
            say(f"failed: for {len(jobs) - REASONS} more reasons; failed.json in each run folder says its own")
        return max((outcome["exit_code"] for outcome in outcomes), default=0)


def _let_ray_join(config: DictConfig) -> None:
    """Let the launcher of Ray join a cluster: it would give a size of the object store, and Ray refuses that there."""
    init = OmegaConf.select(config, "hydra.launcher.ray.init")
    if init is not None and (init.get("address") or "RAY_ADDRESS" in os.environ):
        with read_write(config), open_dict(config):
            init.setdefault("object_store_memory", None)


def sweeping() -> bool:
    """Return whether this process runs a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def overrides() -> list[str]:
    """Return the overrides of the command and of the sweep's job; an empty list outside a Hydra run."""
    if not HydraConfig.initialized():
        return []
    return [as_typed(override) for override in HydraConfig.get().overrides.task]


def command() -> str:
    """Return the overrides quoted for a shell; the result records them."""
    return shlex.join(overrides())


def outcome(ended: Ended, exit_code: int = 0, reason: str = "") -> dict[str, Any]:
    """Return the outcome of this job."""
    return ended._asdict() | {"exit_code": exit_code, "reason": one_line(reason), "job": overrides()}


@contextmanager
def one_gpu() -> Iterator[None]:
    """Reserve a GPU for this job while the block runs, and hide the others; wait if all are in use.

    Jobs that run side by side on a machine with several GPUs take turns in this way. Nothing happens outside a sweep of
    such jobs, or if the process sees fewer than two GPUs.
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
    """Return the GPUs that this process may use, named as in CUDA_VISIBLE_DEVICES, without importing torch."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # there is no driver, or no GPU
        return []
    return [str(number) for number, _ in enumerate(line for line in listed.splitlines() if line.startswith("GPU "))]


def _first_free(names: list[str]) -> tuple[str, FileLock]:
    """Return the first GPU with a free lock, and the acquired lock; the system releases it if the process ends."""
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
