"""Verify a release's audio: decode and measure every clip once, in parallel, and again only if its file changes.

Measurements are cached by corpus root, so that corpora with the same audio (MELD, MELT) share the measurements too. A
verification writes a Parquet file after every `CHUNK` clips, so an interruption loses at most the last chunk; the files
are merged at the end. A measurement is valid while the file keeps its size, its modification time and its change time.
A clip that could not be decoded (unreadable, or longer than allowed) is tried again each time, since the cause may lie
outside the file: permissions, a missing decoder.

Clips that cannot be used are refused by one versioned list of rules (`audio.rules`) over these measurements. The
version and the limits go into every result and every preparation report. A changed limit needs no second decoding.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from xxhash import xxh3_64_hexdigest

from melt_ser.audio.rules import DESTROYED, SILENCE, broken_rules, sentence
from melt_ser.audio.shards import SHARD
from melt_ser.audio.verify import verify_clip
from melt_ser.config import DatasetConfig
from melt_ser.core import files
from melt_ser.core.errors import OutputError
from melt_ser.core.locks import exclusive_lock
from melt_ser.core.package import cache_folder
from melt_ser.core.places import Stamp, stamp_of
from melt_ser.core.processes import cores

RULES_VERSION = 7  # raise it when a rule or the way of measuring changes; clips are then measured again
CLIPPED = 1e-3  # share of samples at full scale from which a clip is listed; it stays in use

CHUNK = 500  # clips: a few seconds of work
KEY = {"audio": "str", "start": "float64", "end": "float64", "size": "int64", "modified": "int64", "changed": "int64"}
MEASURES = {
    "duration": "float64",  # seconds
    "sample_rate": "int64",  # Hz
    "peak": "float64",  # 1.0: full scale
    "clipped": "float64",  # share of samples at full scale
    "content_hash": "str",  # of the decoded samples
    "found": "str",  # how the file differs from what its header states; "": not
}

Progress = Callable[[Iterator[object], int], Iterator[object]]


def verify(
    root: Path,
    table: pd.DataFrame,
    maximum_seconds: float = math.inf,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, bool]:
    """Return the measures of every row of a table, and whether all of them are cached for the next time.

    Args:
        root: the folder that the table's audio paths are relative to.
        table: rows with `audio`, `start` and `end` (seconds; NaN: the file's beginning or end).
        maximum_seconds: longer clips are not decoded.
        force: decode every clip again, even if it is cached.
        progress: wraps the iterator over the clips to decode; its second argument is their number.

    The result has the columns `MEASURES` and `reason` (why a clip could not be decoded, otherwise None).
    """
    measurements = Measurements(root)
    keys = pd.concat([table[["audio", "start", "end"]], _stamps(root, table["audio"])], axis=1)
    clips = measurements.of(keys, force)
    if clips["content_hash"].isna().any():
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OutputError):  # if the cache cannot be written, there is nothing to wait for
                stack.enter_context(exclusive_lock(measurements.folder, waits=True))
            clips = measurements.of(keys, force)  # another process may have measured them meanwhile
            unknown = clips.index[clips["content_hash"].isna()]
            if len(unknown):
                outcomes = _decode(root, keys.loc[unknown], maximum_seconds, measurements)
                measured = pd.DataFrame(list(progress(outcomes, len(unknown)) if progress else outcomes), index=unknown)
                clips.loc[unknown, [*MEASURES, "reason"]] = measured[[*MEASURES, "reason"]]
                measurements.merge()
    return clips.astype(MEASURES)[[*MEASURES, "reason"]], measurements.is_complete


class Measurements:
    """The cached measurements of the clips under one root: one row per clip, with `KEY` and `MEASURES`."""

    def __init__(self, root: Path) -> None:
        self.folder = cache_folder() / "audio" / files.sha256(f"{RULES_VERSION}\n{root.resolve()}")[:20]
        self.is_complete = True  # until a file cannot be written

    @staticmethod
    def empty() -> pd.DataFrame:
        return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in {**KEY, **MEASURES}.items()})

    def of(self, keys: pd.DataFrame, force: bool = False) -> pd.DataFrame:
        """Return the measurements in the order of `keys`; an unknown clip (with `force`: any) has no `content_hash`."""
        known = self.empty() if force else self.read()
        same = known[list(KEY)].equals(keys)  # the usual case; joining a million rows would take half a second
        clips = known if same else keys.merge(known, how="left", on=list(KEY))
        return clips.assign(reason=pd.Series([None] * len(clips), dtype=object))

    def read(self) -> pd.DataFrame:
        """Return the latest measurement of every clip; a damaged file, or one of another version, is ignored."""
        parts = [part for path in self._files() if (part := _read_part(path)) is not None]
        if len(parts) < 2:
            return parts[0] if parts else self.empty()
        return pd.concat(parts, ignore_index=True).drop_duplicates(list(KEY), keep="last")

    def add(self, clips: pd.DataFrame) -> None:
        """Write a chunk under its checksum; on failure raise no error, since the next run measures the clips again."""
        content = clips[[*KEY, *MEASURES]].astype({**KEY, **MEASURES}).to_parquet(index=False)
        path = self.folder / f"{time.time_ns()}-{xxh3_64_hexdigest(content)}.parquet"
        try:
            with files.replacing_file(path) as temporary:
                temporary.write_bytes(content)
        except OutputError:
            self.is_complete = False

    def merge(self) -> None:
        """Replace many files by one, so that the next read is quick."""
        chunks = self._files()
        if len(chunks) > 1 and self.is_complete:
            self.add(self.read())
            for path in chunks if self.is_complete else []:
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """Return the files, the oldest first; hidden files are still being written."""
        return sorted(path for path in self.folder.glob("*.parquet") if not path.name.startswith("."))


def _read_part(path: Path) -> pd.DataFrame | None:
    try:
        content = path.read_bytes()
    except OSError:  # another process has merged it meanwhile
        return None
    if path.stem.split("-")[-1] != xxh3_64_hexdigest(content):
        return None
    part = pd.read_parquet(io.BytesIO(content))
    columns = {**KEY, **MEASURES}
    return part[list(columns)].astype(columns) if columns.keys() <= set(part) else None  # None: of an earlier version


def _stamps(root: Path, audio: pd.Series) -> pd.DataFrame:
    """Return the stamp of each row's file or shard (see `core.places.stamp_of`); -1 if it does not exist."""

    @cache
    def is_shard(name: str) -> bool:
        return os.path.isfile(f"{root}/{name}")

    def file_of(name: str) -> str:
        inside = SHARD.search(name)  # asked for each of a million rows, so the shards alone are looked at
        return name[: inside.end()] if inside and is_shard(name[: inside.end()]) else name

    @cache
    def stamp(name: str) -> Stamp:
        try:
            return stamp_of(f"{root}/{name}")
        except (OSError, ValueError):  # ValueError: a null character
            return -1, -1, -1

    rows, names = pd.factorize(audio)
    stamps = np.array([stamp(file_of(name)) for name in names], dtype=np.int64)
    return pd.DataFrame(stamps[rows], columns=["size", "modified", "changed"], index=audio.index)


def _decode(
    root: Path, keys: pd.DataFrame, maximum_seconds: float, measurements: Measurements
) -> Iterator[dict[str, object]]:
    """Verify rows in parallel, yield their measures in order, and cache each finished chunk."""

    def verify_row(row: tuple[str, float, float]) -> dict[str, object]:
        audio, *segment = row
        start, end = (None if math.isnan(second) else second for second in segment)
        return vars(verify_clip(root, audio, start, end, maximum_seconds))

    with ThreadPoolExecutor(cores()) as pool:  # decoders release the interpreter's lock
        for first in range(0, len(keys), CHUNK):
            chunk = keys.iloc[first : first + CHUNK]
            outcomes = []
            for outcome in pool.map(verify_row, chunk[["audio", "start", "end"]].itertuples(index=False, name=None)):
                outcomes.append(outcome)
                yield outcome
            done = pd.concat([chunk, pd.DataFrame(outcomes, index=chunk.index)], axis=1)
            measurements.add(done[done["reason"].isna()].drop_duplicates(list(KEY)))  # a clip may have several rows


def rules(config: DatasetConfig) -> dict[str, Any]:
    """Return the rules and their version for results and reports, in the order of their use."""
    return {
        "version": RULES_VERSION,
        "outside the root": "the path or its link leaves the corpus folder",
        "unreadable": "missing, empty, cut off, not decodable, or with NaN or infinite samples",
        "integer scale": "samples far beyond full scale, which is 1",
        "channels cancel": "the mean of the channels has next to nothing of their sound",
        "silent": f"no sample above {SILENCE:g} of full scale",
        "clipped": f"at least {100 * DESTROYED:g} % of the samples at full scale",
        "too short": f"under {config.minimum_seconds:g} s (dataset.minimum_seconds)",
        "too long": f"over {config.maximum_seconds:g} s (dataset.maximum_seconds)",
    }


def judge(clips: pd.DataFrame, config: DatasetConfig) -> pd.Series:
    """Return the reason why each clip is refused, or None; the words before the colon name the rule.

    `clips` has the measures of verification, and in `reason` the reason why decoding failed (None: it did not).
    """
    free = clips["reason"].isna().to_numpy()
    reasons = clips["reason"].astype(object).where(~free, None).tolist()
    duration, clipped = clips["duration"].to_numpy(), clips["clipped"].to_numpy()
    for broken, template in broken_rules(clips, config):
        refused = broken.to_numpy()
        for row in np.flatnonzero(refused & free):
            reasons[row] = sentence(template, duration[row], clipped[row])
        free = free & ~refused
    return pd.Series(reasons, index=clips.index, dtype=object)


def header_notes(clips: pd.DataFrame) -> list[str]:
    """Return a note if files are damaged or differ from what their headers state."""
    odd = clips.loc[clips["reason"].isna() & (clips["found"] != ""), ["audio", "found"]].drop_duplicates("audio")
    if odd.empty:
        return []
    first = f"{odd['audio'].iloc[0]} {odd['found'].iloc[0]}"
    return [f"files that are damaged or differ from their headers: {len(odd)}; the first: {first}"]


def is_clipped(clips: pd.DataFrame) -> pd.Series:
    """Return, for each clip, whether enough samples are at full scale to list it."""
    listed: pd.Series = clips["clipped"] >= CLIPPED
    return listed
