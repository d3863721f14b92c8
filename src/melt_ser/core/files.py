"""Files are written whole or not at all: to a temporary neighbour that is then renamed."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from melt_ser.core.errors import InputError, OutputError

NESTED = (dict, list, tuple)  # shapes that have parts
# The messages of safetensors and torch, which raise no OSError, if a write fails.
FAILED_WRITE = re.compile(r"I/O error: (.+?) \(os error \d+\)|inline_container|file write failed")


@contextmanager
def telling_failed_writes(path: Path) -> Iterator[None]:
    """Raise OutputError, one sentence, if writing `path` fails."""
    try:
        yield
    except OutputError as error:  # a file within the folder `path`
        raise OutputError(path, error.reason) from error
    except OSError as error:
        raise OutputError(path, error.strerror or str(error)) from error
    except Exception as error:
        failed = FAILED_WRITE.search(str(error))
        if not failed:
            raise
        raise OutputError(path, failed.group(1) or "the disk may be full") from error


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename it onto `path` if the block succeeds.

    Raises OutputError if the file cannot be written; an older `path` is then as it was.
    """
    with telling_failed_writes(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)  # mkstemp gives 0600, which locks out the user's group
            _to_disk(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`, and put it in the place of `path` if the block succeeds.

    Raises OutputError if the folder cannot be written; an older `path` is then as it was.
    """
    with telling_failed_writes(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        old = temporary.with_name(temporary.name + ".old")
        try:
            yield temporary
            temporary.chmod(0o755)
            for file in temporary.rglob("*"):
                _to_disk(file)
            if path.exists():  # a folder cannot be renamed onto one that has files, so the old one moves aside first
                os.replace(path, old)
            os.replace(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            _put_back(old, path)


def _put_back(old: Path, path: Path) -> None:
    """End the replacement of a folder: put the old one back if the new one did not take its place."""
    if old.is_dir() and not path.exists():
        os.replace(old, path)
    shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Delete the half-written files of a killed process. No other process may be writing in the folder."""
    for path in sorted(folder.rglob(".*")):
        if path.suffix == ".old":  # the process was killed between the two renames of `replacing_folder`
            _put_back(path, path.with_name(path.name[1:].rsplit(".", 2)[0]))
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk, so that a power cut after the rename does not leave it empty."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with `\\n` line ends; bytes of file names that are not UTF-8 stay as they are."""
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON; raises ValueError for NaN and infinity, which other readers of JSON refuse."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_shaped(path: Path, shape: Any, fix: str) -> Any:
    """Read JSON of our own; InputError, one sentence with the fix, where it is not JSON or not of the shape."""
    try:
        value = read_json(path)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); {fix}.") from None
    wrong = misfit(value, shape)
    if wrong is not None:
        raise InputError(f"{path} has no sound '{wrong}'; {fix}.")
    return value


def misfit(value: Any, shape: Any, name: str = "") -> str | None:
    """The first part of a JSON value that is not of a shape: a type, {key: shape}, [shape of each item] or (shapes).

    >>> misfit({"a": [1, "b"]}, {"a": [int]})
    'a[1]'
    >>> misfit({"a": [1]}, {"a": [int], "b": {"c": str | None}})
    'b'
    """
    items: Iterable[tuple[Any, Any, Any]]
    if isinstance(shape, dict) and isinstance(value, dict):
        items = [(key, value.get(key, ...), part) for key, part in shape.items()]
    elif isinstance(shape, list) and isinstance(value, list):
        items = [(number, item, shape[0]) for number, item in enumerate(value)]
    elif isinstance(shape, tuple) and isinstance(value, list) and len(value) == len(shape):
        items = zip(range(len(shape)), value, shape, strict=True)
    else:
        fits = not isinstance(shape, NESTED) and isinstance(value, shape)
        return None if fits else name or "content"
    for key, item, part in items:
        if not isinstance(part, NESTED) and isinstance(item, part):
            continue  # the common case, and there are hundreds of it in a result
        path = f"{name}[{key}]" if isinstance(value, list) else f"{name}.{key}".lstrip(".")
        wrong = misfit(item, part, path)
        if wrong is not None:
            return wrong
    return None


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as `csv_text` formats it."""
    write_text(path, csv_text(frame))


def csv_text(frame: pd.DataFrame) -> str:
    """Return a table as CSV without its index; floats keep nine significant digits, enough for any float32."""
    texts = (cell for column in frame.select_dtypes(exclude="number") for cell in frame[column])
    quoting = csv_quoting(map(str, texts))
    return frame.to_csv(index=False, float_format="%.9g", lineterminator="\n", quoting=quoting)


def csv_quoting(texts: Iterable[str]) -> Literal[0, 2]:
    """Return how to quote a CSV with these texts: all of them if any has a carriage return.

    If lines end with `\\n`, Python's csv module leaves a carriage return unquoted, and readers take it for a line end.
    """
    return csv.QUOTE_NONNUMERIC if any("\r" in text for text in texts) else csv.QUOTE_MINIMAL


def sha256(text: str) -> str:
    """Return the hexadecimal SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()
