"""The Optuna study of a search: its storage, its trials, and how workers share them.

Every worker that trains a trial holds a lock file of it, and the system releases the lock when the worker ends, even if
it is killed. So a trial that counts as running while its lock is free was stopped: it is closed as failed, and a new
one with the same settings comes first. That one finds the checkpoint of the stopped one and goes on from it.

The sampler is made anew for each trial, from the seed and the number of trials before. So a search that is stopped and
continued draws the same settings as one that was not, if a single worker does both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from melt_ser.core import files
from melt_ser.core.errors import InputError, SetupError, first_line
from melt_ser.evaluation.dev_metric import METRIC_LABELS, score_text
from melt_ser.tuning.space import Space
from melt_ser.tuning.trial import STEPS_OF_A_FOLD, Outcome, Pruned

REASON, SETTINGS = "reason", "settings"  # user attributes of a trial
PATIENT_TRIALS = 5  # finished trials before the first is pruned
optuna.logging.set_verbosity(optuna.logging.WARNING)


class Begun:
    """A trial under way: its number, the value of each searched setting, and its reports."""

    def __init__(self, trial: optuna.Trial, settings: dict[str, str], lock: FileLock, prune_after: int | None) -> None:
        self._trial, self._lock, self._prune_after = trial, lock, prune_after
        self.number, self.settings = trial.number, settings
        self._last = 0

    def report(self, step: int, value: float) -> None:
        """Report the dev score up to a step; raise Pruned if the trial is not worth going on."""
        if step <= self._last:
            return
        self._last = step
        self._trial.report(value, step)
        is_early = self._prune_after is None or step % STEPS_OF_A_FOLD <= self._prune_after
        if not is_early and self._trial.should_prune():
            raise Pruned

    def note(self, **values: Any) -> None:
        """Note the facts of this trial that the report of the search shows."""
        for name, value in values.items():
            self._trial.set_user_attr(name, value)


class Study:
    """A search in a storage that several workers may share; they all see the folder of the study too."""

    def __init__(
        self,
        folder: Path,
        url: str,
        space: Space,
        inputs: Mapping[str, Any],
        seed: int,
        prune_after: int | None,
        metric: str = "ua",
    ) -> None:
        """Open the study, or begin it.

        Args:
            folder: the folder of the study; its name is that of the study.
            url: the storage, as Optuna names it.
            space: the searched settings.
            inputs: the things that decide the study: settings, space, corpus, weights.
            seed: seed of the sampler.
            prune_after: epochs of each fold in which no trial is pruned; None: none is pruned at all.
            metric: the score on dev that chooses, of `dev_metric`.

        Raises SetupError if the storage cannot be opened, InputError if the study was begun with other inputs.
        """
        self.folder, self.space, self.seed, self.prune_after = folder, space, seed, prune_after
        self.metric = metric
        pruner = optuna.pruners.MedianPruner(PATIENT_TRIALS)
        with self.exclusively():
            self.study = _open(url, folder.name, pruner)
            before = self.study.user_attrs.get("inputs")
            if before is None:
                self.study.set_user_attr("inputs", dict(inputs))
            changed = [name for name, value in inputs.items() if before is not None and before.get(name) != value]
        if changed:
            raise InputError(
                f"The study '{folder.name}' was begun with another {' and '.join(changed)}; choose another --study."
            )

    @property
    def trials(self) -> list[FrozenTrial]:
        """Return the trials that were begun, in their order."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state is not TrialState.WAITING]

    def score(self, value: float) -> str:
        """Return a score with its name: dev UA 71.2 %."""
        return f"dev {METRIC_LABELS[self.metric]} {score_text(self.metric, value)}"

    def count(self) -> int:
        """Return the number of trials that are finished, pruned, failed for a reason of their own, or under way."""
        return sum(not was_stopped(trial) for trial in self.trials)

    def has_score(self) -> bool:
        """Return whether a trial of any worker has been finished or pruned."""
        return any(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in self.trials)

    def begin(self, most: int | None) -> Begun | None:
        """Begin the next trial; return None if the study has `most` trials, or every combination of the space."""
        with self.exclusively():
            self._close_stopped()
            number, size = self.count(), self.space.size
            if size is not None and (most is None or size <= most):
                if not self._enqueue_untried():
                    return None
            elif most is not None and number >= most:
                return None
            self.study.sampler = optuna.samplers.TPESampler(seed=_seed_of(self.seed, number))
            trial = self.study.ask()
            lock = self._lock_of(trial.number)
            lock.acquire()
            settings = self.space.suggest(trial)
            trial.set_user_attr(SETTINGS, settings)
        return Begun(trial, settings, lock, self.prune_after)

    def end(self, begun: Begun, outcome: Outcome | None, reason: str | None = None) -> None:
        """Close a trial: with its outcome, as pruned (neither), or as failed, with the reason.

        No worker begins a trial meanwhile: between its look at the states and at the locks, this trial would end, and
        the worker would take it for a stopped one.
        """
        if reason is not None:
            begun.note(reason=reason)
        with self.exclusively():
            if reason is not None:
                self.study.tell(begun.number, state=TrialState.FAIL)
            elif outcome is None:
                self.study.tell(begun.number, state=TrialState.PRUNED)
            else:
                self.study.tell(begun.number, outcome.value)
            begun._lock.release()
        with contextlib.suppress(OSError):
            Path(begun._lock.lock_file).unlink()

    def _close_stopped(self) -> None:
        """Close the trials of workers that have ended, and let the next trials go on from there."""
        for trial in self.trials:
            if trial.state is not TrialState.RUNNING:
                continue
            lock = self._lock_of(trial.number)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            lock.release()
            self.study.tell(trial.number, state=TrialState.FAIL)
            self.study.enqueue_trial(trial.params)

    def _enqueue_untried(self) -> bool:
        """Let the next trial have a combination that no trial has had; return False if there is none."""
        if any(trial.state is TrialState.WAITING for trial in self.study.get_trials(deepcopy=False)):
            return True  # a stopped trial goes on first
        tried = [trial.user_attrs.get(SETTINGS) for trial in self.trials if not was_stopped(trial)]
        combinations = self.space.combinations()
        for place in np.random.default_rng(self.seed).permutation(len(combinations)):
            if self.space.texts(combinations[place]) not in tried:
                self.study.enqueue_trial(combinations[place])
                return True
        return False

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Hold the study while the block runs, so that no other worker begins or ends a trial."""
        path = self.folder / ".study.lock"
        with files.telling_failed_writes(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _lock_of(self, number: int) -> FileLock:
        return FileLock(self.folder / f".trial{number}.lock")


def was_stopped(trial: FrozenTrial) -> bool:
    """Return whether a trial was closed because its worker had ended; another trial has gone on from there."""
    return trial.state is TrialState.FAIL and REASON not in trial.user_attrs


def storage_url(storage: str | None, folder: Path) -> str:
    """Return the URL of a storage: of a URL itself, of a SQLite file, or by default of study.db in the folder."""
    if storage is not None and "://" in storage:
        return storage
    return f"sqlite:///{(Path(storage).expanduser() if storage else folder / 'study.db').absolute()}"


def _open(url: str, name: str, pruner: optuna.pruners.BasePruner) -> optuna.Study:
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite:") else {}
    try:
        storage = optuna.storages.RDBStorage(url, engine_kwargs=options)
        return optuna.create_study(
            storage=storage, study_name=name, direction="maximize", pruner=pruner, load_if_exists=True
        )
    except Exception as error:  # of SQLAlchemy, of its drivers, or of a package that is missing
        from sqlalchemy.engine import make_url

        with contextlib.suppress(Exception):
            url = make_url(url).render_as_string(hide_password=True)
        raise SetupError(f"--storage {url} cannot be opened ({first_line(error)}); correct it.") from None


def _seed_of(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
