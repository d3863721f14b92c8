"""The search: begin a trial, train it, close it, until the study has enough of them or the time is over."""

from __future__ import annotations

import time
from collections.abc import Sequence

from melt_ser.cli.checks import check
from melt_ser.cli.compose import compose, sentences, typed
from melt_ser.config import Config, Target
from melt_ser.core.console import Progress, duration, say, silence
from melt_ser.core.errors import MeltSerError, OutputError, SetupError, one_line
from melt_ser.evaluation.dev_metric import score_text
from melt_ser.runs.target_checks import check_target_settings
from melt_ser.tuning.space import Space
from melt_ser.tuning.study import Begun, Study
from melt_ser.tuning.trial import Pruned, Trainer

HOPELESS = 3  # trials of a worker that fail before any succeeds: it stops, because the next one would fail too


def configured(overrides: Sequence[str], settings: dict[str, str]) -> Config:
    """Return the configuration of a trial; SetupError if its values are wrong or do not fit each other.

    Args:
        overrides: those of the command.
        settings: the texts of the searched settings, by their keys.
    """
    with silence(), sentences():  # composing says the same notes each time
        config = typed(compose([*overrides, *texts_of(settings)]), Config)
    check(config)
    return config


def texts_of(settings: dict[str, str]) -> list[str]:
    """Return settings as one types them."""
    return [f"{key}={value}" for key, value in settings.items()]


def check_space(space: Space, overrides: Sequence[str], target: Target) -> None:
    """Raise SetupError if one of the choices, or an end of a range, does not fit the command or the target."""
    for settings in space.corners():
        try:
            check_target_settings(configured(overrides, settings), target)
        except SetupError as error:
            raise SetupError(f"{space.source}: with {' '.join(texts_of(settings))}: {error}") from None


def search(study: Study, trainer: Trainer, overrides: Sequence[str], trials: int | None, hours: float | None) -> None:
    """Train trials until the study has `trials` of them, of all workers together, or `hours` have passed here.

    The trial under way is finished when the time is over. A trial that fails is noted with its reason. Raises the error
    of the third if the first trials all fail, and OutputError at once.
    """
    end = None if hours is None else time.monotonic() + 3600 * hours
    failures = 0
    with Progress("trials", trials, study.count()) as shown:
        while end is None or time.monotonic() < end:
            begun = study.begin(trials)
            if begun is None:
                break
            error = _train(study, trainer, overrides, begun)
            failures += error is not None
            if error is not None and failures >= HOPELESS and not study.has_score():
                raise error
            shown.advance()


def _train(study: Study, trainer: Trainer, overrides: Sequence[str], begun: Begun) -> MeltSerError | None:
    """Train a trial, close it and say how it ended; return its error if it failed."""
    name = f"trial {begun.number} ({' '.join(texts_of(begun.settings))})"
    try:
        config = configured(overrides, begun.settings)
        outcome = trainer.train(config, begun.report)
    except OutputError:
        raise
    except MeltSerError as error:
        study.end(begun, None, one_line(str(error)))
        say(f"note: {name} failed: {error}")
        return error
    except Pruned:
        study.end(begun, None)
        say(f"{name}: pruned")
        return None
    except Exception as error:  # a bug: the same command goes on with the next trial
        study.end(begun, None, one_line(f"{type(error).__name__}: {error}"))
        raise
    begun.note(best_epochs=outcome.best_epochs, seconds=round(outcome.seconds, 1))
    study.end(begun, outcome)
    best = study.study.best_trial
    say(
        f"{name}: {study.score(outcome.value)} in {duration(outcome.seconds)}"
        f" (best: {score_text(study.metric, best.value or 0.0)}, trial {best.number})"
    )
    return None
