"""Files are written whole or not at all: to a temporary neighbour that is then renamed.

The other names of a hard-linked file keep its old content, as a backup made of hard links needs it.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd

from melt_ser.core.errors import InputError, OutputError, SetupError
from melt_ser.core.package import CACHE_VARIABLE, cache_folder
from melt_ser.core.places import is_stream, neighbour, status_of, stream_to_open
from melt_ser.core.spreadsheet import guarded, guarded_table, unguarded_table

# Messages of safetensors and torch for a failed write; neither library raises OSError.
FAILED_WRITE = re.compile(r"I/O error: (.+?) \(os error \d+\)|inline_container|file write failed")

LONGEST_SUFFIX = 20  # characters; a longer end of a name, behind its last dot, is no suffix


@contextmanager
def telling_failed_writes(path: Path) -> Iterator[None]:
    """Raise OutputError, one sentence, if writing `path` fails."""
    try:
        yield
    except OutputError as error:  # a file within the folder `path`
        raise OutputError(path, error.reason, error.fix) from error
    except OSError as error:
        raise OutputError(path, error.strerror or str(error), _fix_for(path)) from error
    except Exception as error:
        failed = FAILED_WRITE.search(str(error))
        if not failed:
            raise
        raise OutputError(path, failed.group(1) or "the disk may be full", _fix_for(path)) from error


def _fix_for(path: Path) -> str:
    """Return what helps if `path` cannot be written: a variable moves the cache, an option every other output."""
    with contextlib.suppress(SetupError):  # without a home folder there may be no cache
        if path.is_relative_to(cache_folder()):
            return f"free space there or set {CACHE_VARIABLE}"
    return "free space there or give another folder (out= or --out)"


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and put the file in the place of `path` if the block succeeds.

    Links are followed: the file behind them is replaced. A replaced file keeps its permissions, a new one gets those of
    the umask. A pipe or a character device, such as /dev/stdout, is not replaced; the finished file is written to it.
    Raises OutputError if the file cannot be written; an older `path` then stays unchanged.
    """
    with telling_failed_writes(path):
        older = status_of(path)
        if older is not None and stat.S_ISDIR(older.st_mode):
            raise OutputError(path, "it is a folder", "give the path of a file")
        if older is not None and stat.S_ISBLK(older.st_mode):
            raise OutputError(path, "it is a disk", "name a file")
        if is_stream(path):
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder) / path.name
                with (Path(folder) / path.name).open("rb") as source, open(stream_to_open(path), "wb") as stream:
                    shutil.copyfileobj(source, stream)
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        if older is not None and not os.access(target, os.W_OK):
            raise OutputError(path, "the file is read-only", "make it writable (chmod u+w), or name another file")
        suffix = target.suffix if len(target.suffix) < LONGEST_SUFFIX else ""
        temporary = neighbour(target, ".", f".{secrets.token_hex(4)}{suffix}")
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # the kernel applies the umask
        try:
            mode = temporary.stat().st_mode
            yield temporary
            _give_permissions(temporary, mode, older)
            _to_disk(temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder, and put it in the place of `path` if the block succeeds.

    Links and permissions are as in `replacing_file`; the files within get the permissions of the umask, whichever
    library writes them. Raises OutputError if the folder cannot be written; an older `path` then stays unchanged.
    """
    with telling_failed_writes(path):
        older = status_of(path)
        if older is not None and not stat.S_ISDIR(older.st_mode):
            raise OutputError(path, "a file has this name", "name a folder")
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = neighbour(target, ".", f".{secrets.token_hex(4)}")
        old = temporary.with_name(temporary.name + ".old")
        temporary.mkdir()
        try:
            mode = temporary.stat().st_mode
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file() and not file.is_symlink():
                    file.chmod(mode & 0o666)  # safetensors gives 0600, and the user's group could not read that
                _to_disk(file)
            _give_permissions(temporary, mode, older)
            if target.is_dir():  # a folder cannot be renamed onto one that has files: the old one moves aside first
                os.replace(target, old)
            os.replace(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            _put_back(old, target)


def _give_permissions(temporary: Path, mode: int, older: os.stat_result | None) -> None:
    """Give a new file or folder its permissions: those of the older one in its place, otherwise `mode`."""
    if older is not None:
        with contextlib.suppress(OSError):  # only root may give a file to another user, or to a group of others
            os.chown(temporary, older.st_uid, older.st_gid)
        mode = older.st_mode
    temporary.chmod(stat.S_IMODE(mode))


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
    """Write UTF-8 text with `\\n` line ends; undecodable bytes of file names are kept."""
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON. Raises ValueError for NaN and infinity, because other readers of JSON refuse them."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def decode(content: bytes, path: Path, kind: Any, fix: str) -> Any:
    """Parse JSON, the content of the file `path`, into a value of the type `kind`; skip keys that the type lacks.

    Raises InputError, one sentence with the key and ending with `fix`, if the content is not JSON or not of the type.
    """
    try:
        return _decoder(kind).decode(content)
    except msgspec.ValidationError as error:
        raise InputError(f"{path} has no sound '{_key_of(error)}'; {fix}.") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # ValueError: text that is not UTF-8
        raise InputError(f"{path} is not JSON ({error}); {fix}.") from None


def check(value: Any, path: Path, kind: Any, fix: str, within: str) -> None:
    """Check a decoded part of a JSON file; raise InputError, as `decode` does, if it does not fit a type.

    Args:
        value: the decoded part.
        path: the file.
        kind: the type.
        fix: the end of the error sentence.
        within: the key of the part in the file.
    """
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{path} has no sound '{within}.{_key_of(error)}'; {fix}.") from None


def read_typed(path: Path, kind: Any, fix: str) -> Any:
    """Read a JSON file into a value of the type `kind`; raise InputError as `decode` does, or if it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {fix}.") from None
    return decode(content, path, kind, fix)


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _key_of(error: msgspec.ValidationError) -> str:
    """Return the key that an error of msgspec names, such as evals[0].ua."""
    text = str(error)
    place = re.search(r" - at `\$\.?(.*)`$", text)
    missing = re.search(r"missing required field `(.*?)`", text)
    names = [match.group(1) for match in (place, missing) if match and match.group(1)]
    return ".".join(names) or "content"


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as `csv_text` formats it."""
    write_text(path, csv_text(frame))


def csv_text(frame: pd.DataFrame) -> str:
    """Return a table as CSV without its index; floats keep nine significant digits, enough for any float32.

    Texts are `guarded` from spreadsheets; `read_csv` gives them back as they were.
    """
    frame = guarded_table(frame)
    texts = (cell for column in frame.select_dtypes(exclude="number") for cell in frame[column])
    quoting = csv_quoting(map(str, texts))
    return frame.to_csv(index=False, float_format="%.9g", lineterminator="\n", quoting=quoting)


def read_csv(
    path: Path, columns: Mapping[str, type], fix: str, optional: Mapping[str, type] | None = None
) -> pd.DataFrame:
    """Read a CSV of `write_csv`; InputError, one sentence, if it is damaged or lacks one of the columns.

    columns: the type of each column that has to be there; a float has to be finite.
    optional: the types of columns that may be missing.
    """
    types = {guarded(name): kind for name, kind in {**(optional or {}), **columns}.items()}
    try:
        table = unguarded_table(pd.read_csv(path, dtype=types, keep_default_na=False))
        missing = [name for name in columns if name not in table]
        if missing:
            raise ValueError(f"it has no column '{missing[0]}'")
        for name in (name for name, kind in columns.items() if kind is float):
            if not np.isfinite(table[name]).all():
                raise ValueError(f"the column '{name}' has a value that is not finite")
    except (OSError, ValueError) as error:  # ValueError: pandas cannot parse it
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{path} cannot be read ({reason}); {fix}.") from None
    return table


def csv_quoting(texts: Iterable[str]) -> Literal[0, 2]:
    """Return the quoting of a CSV with these texts: quote every text if one of them has a carriage return.

    If lines end with `\\n`, Python's csv module leaves a carriage return unquoted, and readers take it for a line end.
    """
    return csv.QUOTE_NONNUMERIC if any("\r" in text for text in texts) else csv.QUOTE_MINIMAL


def sha256(text: str) -> str:
    """Return the hexadecimal SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()
