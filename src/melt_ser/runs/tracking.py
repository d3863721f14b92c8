"""Send a run to experiment trackers (`logger=`): its settings, every epoch, its scores, figures and table.

A tracker holds a copy of the run folder. `tracking.json` in that folder says which copy, and what it already has. So a
resumed run continues its copy and repeats no epoch, and the same command sends what is missing of a finished run.
A tracker that fails costs a note, never the run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from melt_ser.config import Config, FigureFormat, LoggerConfig
from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import SetupError, first_line
from melt_ser.core.processes import is_main_process
from melt_ser.evaluation.results import Result
from melt_ser.runs.folder import read_epochs
from melt_ser.runs.identity import settings_of
from melt_ser.runs.run_figures import draw_figures
from melt_ser.runs.tracked_values import facts_of, finite, flat, scores_of, table_of

if TYPE_CHECKING:
    from melt_ser.runs.trackers import Description, Outcome, Tracker

STATE_FILE = "tracking.json"
PACKAGES = ("tensorboard", "wandb", "mlflow", "trackio")  # as the settings and the extras are called


class Copy(msgspec.Struct):
    """A tracker's copy of a run: its identifier there, and the part of the run that it has."""

    identifier: str
    epochs: dict[str, int] = {}  # by training: the last epoch
    result: str = ""  # the digest of the table of evaluations


def chosen(settings: LoggerConfig) -> list[str]:
    """Return the names of the trackers that the settings switch on."""
    return [name for name in PACKAGES if getattr(settings, name)]


def check_packages(settings: LoggerConfig) -> None:
    """Raise SetupError if the package of a tracker is not installed."""
    for name in chosen(settings):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:  # without origin it is a folder of that name, which wandb makes
            raise SetupError(f"logger={name} needs its package: pip install 'melt-ser[{name}]'.")


@contextmanager
def tracking(config: Config, folder: Path) -> Iterator[Tracking]:
    """Yield the `Tracking` of a run; at the end of the block it is finished, also if the block fails."""
    tracked = Tracking(config, folder)
    try:
        yield tracked
    except BaseException:
        tracked.finish(complete=False)
        raise
    tracked.finish(complete=True)


class Tracking:
    """A run on its way to the trackers of its settings; without any, and in all but the main process, nothing."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.names = chosen(config.logger) if is_main_process() else []
        self.trackers: dict[str, Tracker] = {}
        self.copies: dict[str, Copy] = {}
        self.failed: set[str] = set()

    def start(self) -> None:
        """Begin or continue a copy in each tracker, when the run folder is there."""
        self._read_copies()
        self._start(self.names)

    def epochs(self, training: Path, history: Sequence[Mapping[Any, Any]]) -> None:
        """Send the epochs of a training that the trackers lack.

        Args:
            training: the folder of the training, such as folds/2/refit in the run folder.
            history: a row of metrics for each epoch so far.
        """
        name = training.relative_to(self.folder).as_posix()
        prefix = "" if name == "." else f"{name}/"

        def send(tracker: str) -> None:
            copy = self.copies[tracker]
            for row in history:
                epoch = int(row["epoch"])
                if epoch > copy.epochs.get(name, 0):
                    self.trackers[tracker].send_epoch(finite(row, prefix), epoch, prefix)
                    copy.epochs[name] = epoch

        self._each(send, list(self.trackers))

    def result(self, result: Result) -> None:
        """Send the result of the finished run, and the epochs that the trackers lack, if they lack any of it."""
        if not self.names:
            return
        outcome = self._outcome(result)
        digest = files.sha256(outcome.table.to_csv() + json.dumps([outcome.facts, outcome.warnings]))
        if not self.copies:  # the run was finished before
            self._read_copies()
        has_it = {name for name, copy in self.copies.items() if copy.result == digest}
        lacking = [name for name in self.names if name not in has_it | self.failed]
        if not lacking:
            return
        self._start([name for name in lacking if name not in self.trackers])
        for path in sorted(self.folder.glob("**/metrics.csv")):
            self.epochs(path.parent, read_epochs(path.parent).to_dict("records"))
        with tempfile.TemporaryDirectory() as drawn:
            draw_figures(self.folder, result, FigureFormat.png, into=Path(drawn))
            drawn_outcome = outcome._replace(figures=sorted(Path(drawn).iterdir()))

            def send(tracker: str) -> None:
                self.trackers[tracker].send_result(drawn_outcome)
                self.copies[tracker].result = digest

            self._each(send, [name for name in lacking if name in self.trackers])

    def finish(self, complete: bool) -> None:
        """End the copies. complete: False if the run failed or was stopped."""
        self._each(lambda name: self.trackers.pop(name).finish(complete), list(self.trackers))

    def _read_copies(self) -> None:
        if self.names:
            with contextlib.suppress(OSError, ValueError, msgspec.ValidationError):  # missing or damaged: copies begin
                self.copies = msgspec.convert(files.read_json(self.folder / STATE_FILE), dict[str, Copy])

    def _start(self, names: list[str]) -> None:
        if not names:
            return
        from accelerate.state import is_initialized

        from melt_ser.runs.trackers import TRACKERS
        from melt_ser.training.device import make_accelerator

        if not is_initialized():  # accelerate's trackers need it; the run was finished before
            make_accelerator(self.config.device)

        def start(name: str) -> None:
            before = self.copies.get(name)
            if before is not None:
                try:
                    self.trackers[name] = TRACKERS[name](self._description(), before.identifier)
                except Exception as error:
                    say(f"note: {name} cannot continue its copy of this run ({first_line(error)}); a new one begins.")
            if name not in self.trackers:
                tracker = TRACKERS[name](self._description(), None)
                self.trackers[name], self.copies[name] = tracker, Copy(tracker.identifier)
            say(f"{name}: {self.trackers[name].place}")

        self._each(start, names)

    def _description(self) -> Description:
        from melt_ser.runs.trackers import Description

        settings = flat(settings_of(self.config))
        group = self.config.experiment_name
        return Description(self.config.logger.project, self.folder.name, group, settings, self.folder)

    def _outcome(self, result: Result) -> Outcome:
        """Return what the trackers get of a result, without its figures."""
        from melt_ser.runs.trackers import Outcome

        return Outcome(scores_of(result), table_of(result), facts_of(result), list(dict.fromkeys(result.warnings)))

    def _each(self, act: Callable[[str], None], names: list[str]) -> None:
        """Let trackers act, and note what they have; one that fails is left out from then on."""
        for name in names:
            try:
                with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
                    act(name)
            except Exception as error:
                self.trackers.pop(name, None)
                self.failed.add(name)
                say(
                    f"note: {name} failed ({first_line(error)}); the run goes on without it. When the run is finished, "
                    "the same command sends what is missing."
                )
            files.write_json(self.folder / STATE_FILE, msgspec.to_builtins(self.copies))
