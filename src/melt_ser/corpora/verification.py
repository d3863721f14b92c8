"""Verification of a release's audio: every clip decoded once, in parallel, and never again while its file is the same.

What was measured is kept under the cache folder by root, so that corpora that share their audio (MELD, MELT) share it
too, in whole Parquet files of `CHUNK` clips each: whoever kills a verification loses at most the last of them. A
measurement holds for a file's size and time of change and for a segment. What could not be decoded (unreadable, or too
long to start with) is tried again each time, since the cause may lie outside the file: permissions, a missing decoder.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from xxhash import xxh3_64_hexdigest

from melt_ser.audio.verify import verify_clip
from melt_ser.core import files
from melt_ser.core.errors import OutputError
from melt_ser.core.locks import exclusive_lock
from melt_ser.core.paths import cache_folder
from melt_ser.corpora.rules import RULES_VERSION

CHUNK = 500  # clips: a second or a few of work
KEY = {"audio": "str", "start": "float64", "end": "float64", "size": "int64", "modified": "int64"}
MEASURES = {
    "duration": "float64",  # seconds
    "sample_rate": "int64",  # Hz
    "peak": "float64",
    "clipped": "float64",
    "content_hash": "str",
}

Progress = Callable[[Iterator[object], int], Iterator[object]]


def verify(
    root: Path,
    table: pd.DataFrame,
    maximum_seconds: float = math.inf,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, bool]:
    """The measures of every row of a table and, in `reason`, why one could not be decoded (None where it could).

    Only what is not known yet is decoded, everything with `force`. The second value says whether what was measured
    could be kept for the next time.
    """
    measurements = Measurements(root)
    keys = pd.concat([table[["audio", "start", "end"]], _stamps(root, table["audio"])], axis=1)
    clips = measurements.of(keys, force)
    if clips["content_hash"].isna().any():
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OutputError):  # a cache that cannot be written has nothing to wait for
                stack.enter_context(exclusive_lock(measurements.folder, waits=True))
            clips = measurements.of(keys, force)  # another process may have done it meanwhile
            unknown = clips.index[clips["content_hash"].isna()]
            if len(unknown):
                outcomes = _decode(root, keys.loc[unknown], maximum_seconds, measurements)
                found = pd.DataFrame(list(progress(outcomes, len(unknown)) if progress else outcomes), index=unknown)
                clips.loc[unknown, [*MEASURES, "reason"]] = found[[*MEASURES, "reason"]]
                measurements.merge()
    return clips.astype(MEASURES)[[*MEASURES, "reason"]], measurements.kept


class Measurements:
    """What is known of the clips under one root: a row a clip, the columns `KEY` and `MEASURES`."""

    def __init__(self, root: Path) -> None:
        self.folder = cache_folder() / "audio" / files.sha256(f"{RULES_VERSION}\n{root.resolve()}")[:20]
        self.kept = True  # whether everything could be written

    @staticmethod
    def empty() -> pd.DataFrame:
        return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in {**KEY, **MEASURES}.items()})

    def of(self, keys: pd.DataFrame, force: bool = False) -> pd.DataFrame:
        """What is known of clips, in their order; of one that is not, or of any with `force`, no `content_hash`."""
        known = self.empty() if force else self.read()
        same = known[list(KEY)].equals(keys)  # as a rule, and a join of a million rows takes half a second
        clips = known if same else keys.merge(known, how="left", on=list(KEY))
        return clips.assign(reason=pd.Series([None] * len(clips), dtype=object))

    def read(self) -> pd.DataFrame:
        """Every clip once, as it was measured last; a damaged file is as good as absent."""
        parts = [part for path in self._files() if (part := _read_part(path)) is not None]
        if len(parts) < 2:
            return parts[0] if parts else self.empty()
        return pd.concat(parts, ignore_index=True).drop_duplicates(list(KEY), keep="last")

    def add(self, clips: pd.DataFrame) -> None:
        """Keep a chunk under its checksum; a full or read-only cache costs time the next time, not this run."""
        content = clips[[*KEY, *MEASURES]].astype({**KEY, **MEASURES}).to_parquet(index=False)
        path = self.folder / f"{time.time_ns()}-{xxh3_64_hexdigest(content)}.parquet"
        try:
            with files.replacing_file(path) as temporary:
                temporary.write_bytes(content)
        except OutputError:
            self.kept = False

    def merge(self) -> None:
        """One file in the place of many, for a quick next read."""
        chunks = self._files()
        if len(chunks) > 1 and self.kept:
            self.add(self.read())
            for path in chunks if self.kept else []:
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """Oldest first; hidden files are those that are being written."""
        return sorted(path for path in self.folder.glob("*.parquet") if not path.name.startswith("."))


def _read_part(path: Path) -> pd.DataFrame | None:
    try:
        content = path.read_bytes()
    except OSError:  # merged by another process meanwhile
        return None
    if path.stem.split("-")[-1] != xxh3_64_hexdigest(content):
        return None
    return pd.read_parquet(io.BytesIO(content)).astype({**KEY, **MEASURES})


def _stamps(root: Path, audio: pd.Series) -> pd.DataFrame:
    """Size (bytes) and time of change (ns) of each row's file; -1 where there is none."""

    def stamp(name: str) -> tuple[int, int]:
        try:
            status = os.stat(f"{root}/{name}")
        except (OSError, ValueError):  # ValueError: a null character
            return -1, -1
        return status.st_size, status.st_mtime_ns

    rows, names = pd.factorize(audio)
    stamps = np.array([stamp(name) for name in names], dtype=np.int64)
    return pd.DataFrame(stamps[rows], columns=["size", "modified"], index=audio.index)


def _decode(
    root: Path, keys: pd.DataFrame, maximum_seconds: float, measurements: Measurements
) -> Iterator[dict[str, object]]:
    """Verify rows in parallel, in order, and keep each chunk that is done."""

    def one(row: tuple[str, float, float]) -> dict[str, object]:
        audio, *segment = row
        start, end = (None if math.isnan(second) else second for second in segment)
        return vars(verify_clip(root, audio, start, end, maximum_seconds))

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # the decoders release the interpreter's lock
        for first in range(0, len(keys), CHUNK):
            chunk = keys.iloc[first : first + CHUNK]
            outcomes = []
            for outcome in pool.map(one, chunk[["audio", "start", "end"]].itertuples(index=False, name=None)):
                outcomes.append(outcome)
                yield outcome
            done = pd.concat([chunk, pd.DataFrame(outcomes, index=chunk.index)], axis=1)
            measurements.add(done[done["reason"].isna()])
