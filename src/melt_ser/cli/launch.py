"""Start a verb with settings that Hydra composes.

A mistake in the command (key, group, value) and every `MeltSerError` end as one line on standard error and an exit
code. Nothing heavy is imported before the settings have been checked.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import hydra
from omegaconf import DictConfig

from melt_ser.cli.compose import SCHEMAS
from melt_ser.cli.failures import Failure, failure_of
from melt_ser.cli.help import is_asked, print_help
from melt_ser.cli.overrides import for_hydra
from melt_ser.cli.own_checkpoint import settle_job
from melt_ser.cli.signals import queued_again
from melt_ser.cli.sweep import Ended, Outcomes, one_gpu, outcome, sweeping
from melt_ser.cli.verb import exit_code_of, run
from melt_ser.core.console import say_last, terminal
from melt_ser.core.package import conf_folder
from melt_ser.core.processes import several

LAUNCHERS = ("joblib", "submitit", "ray")  # an exception of these modules means that a job died


def launch(config_name: str, task: Callable[[DictConfig], Ended | None]) -> int:
    """Compose the configuration from the command line, run the task, and return the exit code.

    The task may return how it ended, for the summary of a sweep. A failed job of a sweep does not stop the others.
    The exit code of a sweep is the highest of its jobs. With `--help`, print the settings and do not run the task.

    Args:
        config_name: Main YAML of the verb: config, evaluate or prepare.
        task: Function that does the work with the composed configuration.
    """
    return run(functools.partial(_launch, config_name, task))


def _launch(config_name: str, task: Callable[[DictConfig], Ended | None]) -> int:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and one line is printed here instead of a traceback
    if is_asked(sys.argv[1:]):
        return _help(config_name)
    codes = [0]
    schema = SCHEMAS[config_name]
    if not {"--shell-completion", "-sc"} & set(sys.argv):
        sys.argv[1:] = for_hydra(sys.argv[1:], schema)

    @functools.wraps(task)
    def guarded(composed: DictConfig) -> dict[str, Any]:
        try:
            with queued_again(), terminal(), one_gpu():  # a job of a sweep may run in a process of its own
                settle_job(composed)
                return outcome(task(composed) or Ended())
        except Exception as error:  # Hydra would print a line of its own for an exception
            failure = failure_of(error, schema)
            if not failure.known and not sweeping():
                raise
            _tell(failure, error)
            codes.append(failure.exit_code)
            if several():  # the other processes wait for this one; its end makes the launcher end them
                sys.exit(failure.exit_code)
            return outcome(Ended("failed"), failure.exit_code, failure.sentence)

    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=config_name)(guarded)()
    except KeyboardInterrupt as error:
        same = "the same command without force=true" if "force=true" in sys.argv else "the same command"
        say_last(f"stopped; {same} goes on from the finished part.")
        codes.append(exit_code_of(error))
    except Exception as error:
        failure = failure_of(error, schema)
        if not failure.known and type(error).__module__.partition(".")[0] in LAUNCHERS:
            first = failure.sentence.partition("\\n")[0]
            sentence = f"a job ended without an outcome ({first}); the same command goes on from the finished part."
            failure = Failure(sentence, failure.exit_code)
        if not failure.known:
            raise
        _tell(failure, error)
        codes.append(failure.exit_code)
    finally:
        if Outcomes.last is not None:
            codes.append(Outcomes.last.end())
            Outcomes.last = None  # a further command of this process is no part of the sweep
    return max(codes)


def _help(config_name: str) -> int:
    """Print the verb's help and return the exit code."""
    try:
        print_help(config_name, sys.argv[1:])
    except Exception as error:
        failure = failure_of(error, SCHEMAS[config_name])
        _tell(failure, error)
        return failure.exit_code
    return 0


_told: set[str] = set()  # the mistakes of a sweep's jobs; the summary at its end counts them


def _tell(failure: Failure, error: Exception) -> None:
    """Print the sentence of a failure, in a sweep only once, after the traceback if it is a bug."""
    if not failure.known:
        traceback.print_exception(error)
    if sweeping() and failure.sentence in _told:
        return
    _told.add(failure.sentence)
    say_last(f"error: {failure.sentence}")
