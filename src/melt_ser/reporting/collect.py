"""Find the runs below folders and read their results for reports; 10,000 take seconds.

A finished run has a `result.json`, a failed one a `failed.json` with its reason, an unfinished one only its
`inputs.json`. A failure with exit code 2 before the start was a mistake of the command, such as a mistyped setting or a
corpus that is not there: the attempt is refused, and reports only count it. Folders inside a run folder are not
searched, and links to folders are not followed. A copy of a run has the same settings, seed and data; it counts once,
because a mean over copies would not be a mean over seeds.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import yaml

from melt_ser.cli.failures import FAILED
from melt_ser.core.console import Progress
from melt_ser.core.errors import MeltSerError, SetupError
from melt_ser.core.files import read_typed
from melt_ser.core.package import conf_folder
from melt_ser.core.vocabulary import WITHOUT_WEIGHTS
from melt_ser.evaluation.result_files import load_result
from melt_ser.evaluation.results import EvaluationSummary, Failure, Result, ResultSummary
from melt_ser.runs.folder import INPUTS_FILE, PREVIOUS, RESULT_FILE, previous_folder, read_result
from melt_ser.runs.identity import without_infrastructure


@dataclass
class Run:
    """A finished run: its folder, and its result without the details that only the page of a single run shows."""

    folder: Path
    result: ResultSummary

    @property
    def evals(self) -> list[EvaluationSummary]:
        """Return all rows of the result."""
        return self.result.evals

    @property
    def backbone(self) -> str:
        """Return the name of the backbone."""
        name: str = self.result.config["backbone"]["name"]
        return name

    @property
    def weights(self) -> str:
        """Return the weights at the start, such as "facebook/wav2vec2-base (self-supervised)" or "random weights".

        Older results do not say what a checkpoint was trained on; it is known of the checkpoints in conf/backbone.
        """
        backbone = self.result.config["backbone"]
        checkpoint = backbone.get("checkpoint")
        if backbone["family"] in WITHOUT_WEIGHTS:
            return "none: measured features"
        if checkpoint is None:
            return "random weights"
        if backbone.get("init") == "random":
            return f"random weights in the architecture of {checkpoint}"
        return f"{checkpoint} ({backbone.get('pretraining') or _shipped_pretraining().get(checkpoint, 'not stated')})"

    @cached_property
    def system(self) -> str:
        """Return the data and all settings except seed and fold, as a text that only the runs of one system share."""
        settings = without_infrastructure(self.result.config)
        settings.pop("seed", None)
        settings["dataset"].pop("fold", None)
        settings["dataset"]["digest"] = self.result.train.digest[:6]  # other data may have the same name
        return json.dumps(settings, sort_keys=True)

    @property
    def command(self) -> str:
        """Return the command of the run; a run from a notebook or a test has only the verb.

        That of a published classifier is the last one that scored it.
        """
        verb = "evaluate" if self.result.is_published else "train"
        return f"python -m melt_ser.{verb} {self.result.run.command or ''}".rstrip()

    def whole_evals(self) -> list[EvaluationSummary]:
        """Return all rows, except the single folds of a run with several folds."""
        return self.result.whole_evals()

    def details(self) -> Result:
        """Read the whole result; InputError if it is no longer sound."""
        return read_result(self.folder)


@cache
def _shipped_pretraining() -> dict[str, str]:
    """Return the last training of each checkpoint in conf/backbone."""
    shipped = [yaml.safe_load(path.read_text("utf-8")) for path in Path(conf_folder() / "backbone").glob("*.yaml")]
    return {backbone["checkpoint"]: backbone["pretraining"] for backbone in shipped}


@dataclass
class Note:
    """A run folder that is not reported, and the reason."""

    folder: Path
    reason: str


@dataclass
class CollectedRuns:
    """The runs below the searched folders, and the folders that cannot be reported."""

    runs: list[Run] = field(default_factory=list)
    unfinished: list[Note] = field(default_factory=list)
    failed: list[Note] = field(default_factory=list)
    refused: list[Note] = field(default_factory=list)
    unreadable: list[Note] = field(default_factory=list)
    copies: list[Note] = field(default_factory=list)


def collect(roots: list[Path]) -> CollectedRuns:
    """Return every run below the folders, in the order of their paths; a folder that is given twice counts once.

    Raises SetupError if one of the folders is missing.
    """
    missing = [root for root in roots if not root.is_dir()]
    if missing:
        fault = f"{missing[0]} is no folder" if missing[0].exists() else f"There is no folder {missing[0]}"
        raise SetupError(f"{fault}; give folders of runs, such as the out=<folder> of train.")
    collected = CollectedRuns()
    seen: set[str] = set()
    first: dict[tuple[str, str], Path] = {}
    with _no_garbage_collection(), Progress("reading runs", text="{:,}".format) as shown:
        for root in roots:
            for folder, names in _run_folders(root, collected.unreadable):
                real = os.path.realpath(folder)
                if real not in seen:
                    seen.add(real)
                    _sort_in(Path(folder), names, collected, first)
                    shown.advance()
    return collected


def _run_folders(root: Path, unreadable: list[Note]) -> Iterator[tuple[str, set[str]]]:
    """Yield run folders with the names of their files."""
    waiting = [str(root)]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                inside = {entry.name: entry for entry in entries}
        except OSError as error:
            unreadable.append(Note(Path(folder), f"the folder cannot be read: {error.strerror}"))
            continue
        if inside.keys() & {RESULT_FILE, FAILED, INPUTS_FILE}:
            yield folder, set(inside)
            continue
        further = [name for name in inside if not name.startswith(".") and not name.endswith(PREVIOUS)]
        waiting += [
            inside[name].path for name in sorted(further, reverse=True) if inside[name].is_dir(follow_symlinks=False)
        ]


def _sort_in(folder: Path, names: set[str], collected: CollectedRuns, first: dict[tuple[str, str], Path]) -> None:
    """Add a run folder to a list of `collected`; `first` has the first folder of each run, by (run id, digest)."""
    try:
        if RESULT_FILE in names:
            run = Run(folder, load_result(folder / RESULT_FILE, ResultSummary))
            before = first.setdefault((run.result.run.id, run.result.train.digest), folder)
            if before is folder:
                collected.runs.append(run)
            else:
                collected.copies.append(Note(folder, f"the same run as {before}, which is counted"))
        elif FAILED in names:
            failure: Failure = read_typed(folder / FAILED, Failure, "the same command tries again")
            refused = failure.exit_code == SetupError.exit_code and INPUTS_FILE not in names
            (collected.refused if refused else collected.failed).append(Note(folder, failure.reason))
        else:
            previous = previous_folder(folder)
            earlier = f"; the run before it is in {previous}" if previous.is_dir() else ""
            collected.unfinished.append(Note(folder, f"still running or stopped; the same command goes on{earlier}"))
    except MeltSerError as error:
        collected.unreadable.append(Note(folder, str(error)))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Switch the garbage collector off: JSON has no cycles, and searching a million objects for them is slow."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
