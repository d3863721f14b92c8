"""Kill a run with SIGKILL at a chosen moment, start it again until it ends, and compare it with an undisturbed run.

    python tests/helpers/crash_tests.py points FOLDER      at every named moment: `make test`
    python tests/helpers/crash_tests.py soak FOLDER [N]    N kills (50) at random times: `make soak`

This is a program of its own because it forks: torch must not compute anything in the parent. It prints a line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # runs agree to the bit only with the same number of threads

import melt_ser.core.files
import melt_ser.runs.evaluations
import melt_ser.runs.fold
import melt_ser.runs.make_result
import melt_ser.runs.run
import melt_ser.training.checkpoints
from melt_ser.data.datasets import WaveformDataset
from small_runs import corpus, outcome, train

SETTINGS = (
    "trainer.epochs=3",
    "trainer.batch_size=4",
    "trainer.gradient_accumulation=2",
    "trainer.batch_seconds=1",
    "trainer.patience=3",
    "augment=light",
    "augment.time_mask_probability=0.2",
    "head=attentive_statistics",
    "dataset.folds=2",
    "dataset.fold=all",
)
Prepare = Callable[[], None]


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(owner: Any, name: str, number: int, after: bool = False) -> Prepare:
    """Kill the process before or after the `number`-th call of a function."""

    def prepare() -> None:
        original, calls = getattr(owner, name), 0

        def counted(*arguments: Any, **keywords: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number and not after:
                kill()
            value = original(*arguments, **keywords)
            if calls == number:
                kill()
            return value

        setattr(owner, name, counted)

    return prepare


def within_a_checkpoint(number: int) -> Prepare:
    """Kill the process when half of the `number`-th file of weights is written."""

    def prepare() -> None:
        original, calls = melt_ser.training.checkpoints.save_file, 0

        def half(weights: Any, path: Path) -> None:
            nonlocal calls
            calls += 1
            original(weights, path)
            if calls == number:
                os.truncate(path, path.stat().st_size // 2)
                kill()

        melt_ser.training.checkpoints.save_file = half

    return prepare


def in_a_child(out: Path, root: Path, prepare: Prepare | None = None, seconds: float | None = None) -> bool:
    """Run in a child that is killed as `prepare` arranges or after `seconds`; return whether it ended by itself."""
    log_file = out.with_suffix(".log")
    child = os.fork()
    if child == 0:
        log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            if prepare is not None:
                prepare()
            train(out, root, *SETTINGS)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    if os.WEXITSTATUS(status) != 0:
        raise RuntimeError(f"The run in {out} failed:\n{log_file.read_text()}")
    return True


def run_folder(out: Path) -> Path:
    return next(out.glob("*/*/*/result.json")).parent


def points(folder: Path, root: Path) -> dict[str, Any]:
    """Kill one run at each named moment, and count those that end differently."""
    moments: dict[str, Prepare] = {
        "a third into the first epoch": at_call(WaveformDataset, "__getitem__", 4),
        "in the middle of a later epoch": at_call(WaveformDataset, "__getitem__", 40),
        "in the second fold": at_call(WaveformDataset, "__getitem__", 70),
        "half of a checkpoint's weights written": within_a_checkpoint(3),
        "half of a checkpoint's best weights written": within_a_checkpoint(4),
        "before a fold's model is renamed": at_call(melt_ser.runs.fold, "save_model", 1),
        "between a fold's model and its mark": at_call(melt_ser.runs.fold, "save_model", 1, after=True),
        "before a finished fold's checkpoints are deleted": at_call(melt_ser.core.files, "write_json", 2, after=True),
    }
    for number in (2, 5, 13):  # every file ends with a rename
        moments[f"before rename {number}"] = at_call(melt_ser.core.files.os, "replace", number)
    for number in (3, 7, 21):
        moments[f"after rename {number}"] = at_call(melt_ser.core.files.os, "replace", number, after=True)
    in_a_child(folder / "never", root)
    expected = outcome(run_folder(folder / "never"))
    killed, different = 0, []
    for number, (moment, prepare) in enumerate(moments.items()):
        out = folder / f"run{number}"
        killed += not in_a_child(out, root, prepare)
        in_a_child(out, root)
        if outcome(run_folder(out)) != expected:
            different.append(moment)
    return {"moments": len(moments), "kills": killed, "different": different, "files": len(expected)}


def soak(folder: Path, root: Path, kills: int) -> dict[str, Any]:
    """Kill runs at random times, at least `kills` times in all; start each again until it ends."""
    generator = random.Random(0)
    started = time.monotonic()
    in_a_child(folder / "never", root)
    whole = time.monotonic() - started
    expected = outcome(run_folder(folder / "never"))
    done, runs, different = 0, 0, []
    while done < kills:
        runs += 1
        out = folder / f"run{runs}"
        while not in_a_child(out, root, seconds=generator.uniform(0.05, whole)):
            done += 1
        if outcome(run_folder(out)) != expected:
            different.append(out.name)
    return {"kills": done, "runs": runs, "different": different, "files": len(expected), "run_seconds": round(whole, 2)}


def main() -> int:
    # Leave out the figures: they follow from the predictions, and take most of the time of so small a run.
    melt_ser.runs.evaluations.confusion_figure = lambda *_: None
    melt_ser.runs.make_result.training_curve_figure = lambda *_: None
    kind, folder = sys.argv[1], Path(sys.argv[2])
    os.environ["MELT_SER_CACHE"] = str(folder / "cache")
    root = corpus(folder / "corpus", speakers=4)
    outcomes = points(folder, root) if kind == "points" else soak(folder, root, int((*sys.argv[3:], "50")[0]))
    print(json.dumps(outcomes))
    return 1 if outcomes["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
