"""Why a run failed, left in its folder for whoever reads the runs: `failed.json`, until the run starts again."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from melt_ser.cli.config_errors import explain
from melt_ser.core.errors import MeltSerError, one_line

WORKER_TRACEBACK = re.compile(
    r"Caught \w+ in DataLoader worker.*^melt_ser\.core\.errors\.\w+: ", re.DOTALL | re.MULTILINE
)
FAILED = "failed.json"


class Failure(NamedTuple):
    """A failure as a sentence and the exit code that it means; `known`: whether it is not a mistake of ours."""

    sentence: str
    exit_code: int
    known: bool = True


def failure_of(error: Exception, schema: type[Any]) -> Failure:
    """What an exception of a verb, whose configuration has this schema, says to the user."""
    if isinstance(error, MeltSerError):
        # A decoding process hands over its whole traceback, which ends with the sentence.
        return Failure(one_line(WORKER_TRACEBACK.sub("", str(error)).strip()), error.exit_code)
    sentence = explain(error, schema)
    if sentence is None and isinstance(error, OSError) and error.filename is not None:
        sentence = f"{error.filename}: {error.strerror}; correct the path, or its permissions."
    if sentence is not None:
        return Failure(one_line(sentence), 2)
    return Failure(one_line(f"{type(error).__name__}: {error}"), 1, known=False)


@contextlib.contextmanager
def noting_failure(folder: Path, command: str, schema: type[Any]) -> Iterator[None]:
    """Leave `failed.json` {reason, exit_code, command, run} in a run folder where the block fails.

    Not where another process is at work in the folder, nor where it cannot be written: the failure itself is told.
    """
    try:
        yield
    except Exception as error:
        from melt_ser.core import files
        from melt_ser.core.locks import exclusive_lock
        from melt_ser.core.processes import is_main_process

        failure = failure_of(error, schema)
        note = {"reason": failure.sentence, "exit_code": failure.exit_code, "command": command, "run": folder.name}
        with contextlib.suppress(MeltSerError), exclusive_lock(folder):
            if is_main_process():
                files.write_json(folder / FAILED, note)
        raise
