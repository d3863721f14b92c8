"""Collect the outcomes of a sweep's jobs and print a summary at the end.

Each job writes its outcome into a file, in a folder next to the results that all machines of the sweep see. Hydra has
no other way for jobs to report back, and a job that died reports nothing. Hydra passes this callback to every job.
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from melt_ser.core.errors import one_line
from melt_ser.core.processes import is_main_process

REASONS = 3  # that the last lines of a sweep name


class Outcomes(Callback):
    """Collects what the jobs of a sweep return: {state: finished, skipped or failed; exit_code; reason; job}."""

    last: Outcomes | None = None  # of this process: the sweep that it started

    def __init__(self) -> None:
        self.folder: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Create the folder of outcomes. Hydra calls this in the process that the user started."""
        Outcomes.last = self
        place = Path(str(config.hydra.sweep.dir)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="outcomes-", dir=place))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Write the outcome of a job. Hydra calls this in the job's process."""
        if self.folder is not None and is_main_process() and isinstance(job_return._return_value, dict):
            from melt_ser.core import files  # with pandas, which a mistyped command does without

            files.write_json(self.folder / f"{config.hydra.job.num}.json", job_return._return_value)

    def end(self) -> int:
        """Print the summary in the process that the user started, and return the highest exit code of the jobs."""
        if self.folder is None:
            return 0
        from melt_ser.core import files
        from melt_ser.core.console import say

        paths = sorted(self.folder.glob("[0-9]*.json"), key=lambda path: int(path.stem))
        outcomes = [files.read_json(path) for path in paths]
        shutil.rmtree(self.folder, ignore_errors=True)
        states = Counter(outcome["state"] for outcome in outcomes)
        failed = [outcome for outcome in outcomes if outcome["state"] == "failed"]
        say(f"sweep: {states['finished']} finished, {states['skipped']} skipped, {states['failed']} failed")
        common = set.intersection(*(set(outcome["job"]) for outcome in outcomes)) if len(outcomes) > 1 else set()
        jobs: dict[str, list[str]] = {outcome["reason"]: [] for outcome in failed}  # those of a reason together
        for outcome in failed:
            jobs[outcome["reason"]].append(" ".join(part for part in outcome["job"] if part not in common))
        for reason, alike in list(jobs.items())[:REASONS]:
            say(f"failed: {alike[0]}{f' and {len(alike) - 1} more' if len(alike) > 1 else ''}: {reason}")
        if len(jobs) > REASONS:
            say(f"failed: for {len(jobs) - REASONS} more reasons; failed.json in each run folder says its own")
        return max((outcome["exit_code"] for outcome in outcomes), default=0)


def sweeping() -> bool:
    """Return whether this process runs a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def overrides() -> list[str]:
    """Return the overrides of the command, with those of the sweep's job; none outside a Hydra run."""
    if not HydraConfig.initialized():
        return []
    return [str(override) for override in HydraConfig.get().overrides.task]


def command() -> str:
    """Return the overrides, quoted for a shell, for the result."""
    return shlex.join(overrides())


def outcome(state: str, exit_code: int = 0, reason: str = "") -> dict[str, Any]:
    """Return the outcome of a job, as `Outcomes` reads it."""
    return {"state": state, "exit_code": exit_code, "reason": one_line(reason), "job": overrides()}
