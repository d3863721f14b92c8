"""The samples of a parquet file with the audio inside, as the datasets library writes it: a row each.

The audio is a column of bytes and file names. Columns of classes become the names of the classes.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from pathlib import Path, PureWindowsPath
from typing import Any

import pyarrow
import pyarrow.parquet

from melt_ser.audio import AUDIO_SUFFIXES
from melt_ser.audio.tar_shards import Sample, as_text
from melt_ser.core.errors import InputError, first_line

GROUPS = 4  # row groups in memory; datasets writes 100 rows of audio into each


def scan(path: Path) -> list[Sample]:
    """Return the samples of a parquet file; the column of the audio's bytes is not read.

    Raises InputError if the file is damaged, or has no column or several columns of audio.
    """
    file = _open(path)
    schema = file.schema_arrow
    audio = audio_column(path, schema)
    others = [name for name in schema.names if name != audio]
    try:
        names = file.read([f"{audio}.path"])[audio].combine_chunks().field("path").to_pylist()
        columns = {name.lower(): _texts(schema, name, file.read([name])[name].to_pylist()) for name in others}
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from None
    stems = [PureWindowsPath(name or "").stem for name in names]
    is_name = all(stems) and len(set(stems)) == len(stems)  # otherwise samples are named by their number
    samples = []
    for number, (name, stem) in enumerate(zip(names, stems, strict=True)):
        suffix = PureWindowsPath(name or "").suffix.lower()
        own = stem if is_name else f"{number:07}"
        member = own + (suffix if suffix in AUDIO_SUFFIXES else ".wav")
        data = {column: values[number] for column, values in columns.items()}
        samples.append(Sample(f"{path.stem}/{own}", member, number, 0, data))
    return samples


def audio_column(path: Path, schema: pyarrow.Schema) -> str:
    """Return the column of the audio; raise InputError if there is none, or more than one."""
    found = [
        field.name
        for field in schema
        if pyarrow.types.is_struct(field.type) and {"bytes", "path"} == {child.name for child in field.type}
    ]
    if len(found) != 1:
        has = f"the columns {', '.join(found)} of audio; keep one" if found else "no column of audio (bytes and path)"
        raise InputError(f"{path}: has {has}; write it with the datasets library.")
    return str(found[0])


def content(path: Path, stamp: tuple[int, int, int], row: int) -> bytes:
    """Return the bytes of the recording in a row; raise InputError if there are none."""
    ends = _ends(path, stamp)
    group = bisect_right(ends, row)
    first = ends[group - 1] if group else 0
    found = _group(path, stamp, group)[row - first].as_py()
    if not found:
        raise InputError(f"{path}: row {row} has no bytes of audio; write the file with its audio embedded.")
    return bytes(found)


@lru_cache(maxsize=4096)
def _ends(path: Path, stamp: tuple[int, int, int]) -> list[int]:
    """Return the number of rows up to the end of each row group."""
    metadata = _open(path).metadata
    return list(accumulate(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)))


@lru_cache(maxsize=GROUPS)
def _group(path: Path, stamp: tuple[int, int, int], group: int) -> pyarrow.Array:
    file = _open(path)
    audio = audio_column(path, file.schema_arrow)
    try:
        return file.read_row_group(group, [f"{audio}.bytes"])[audio].combine_chunks().field("bytes")
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _open(path: Path) -> pyarrow.parquet.ParquetFile:
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: is no parquet file, or is damaged ({first_line(error)}); write or download it again.")


def _texts(schema: pyarrow.Schema, name: str, values: list[Any]) -> list[str]:
    """Return a column as text: classes by their names, an unknown class (-1) as ""."""
    import datasets

    feature = datasets.Features.from_arrow_schema(schema).get(name)
    classes = getattr(feature, "names", None)
    if not classes:
        return [as_text(value) for value in values]
    return ["" if value is None or value < 0 else str(classes[value]) for value in values]
