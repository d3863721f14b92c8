"""The samples of a shard: members of a tar file in WebDataset's layout, or rows of a parquet file with audio inside.

In a tar file, members whose names have the same key are one sample. The key ends at the first dot of the file's name:
`anna/7.flac` and `anna/7.json` are the sample `anna/7`. A JSON object has its data; `anna/7.cls` and `anna/7.txt` are
its label and its text. In a parquet file, as the datasets library writes it, each row is a sample. Its audio is a
column of bytes and file names; columns of classes become the names of the classes.

An index of each shard, which is made once without reading any audio, is kept in `shards/` of the cache folder until the
shard changes.
"""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any

import pyarrow

from melt_ser.audio import AUDIO_SUFFIXES
from melt_ser.core import files
from melt_ser.core.errors import InputError, OutputError, encodable, first_line
from melt_ser.core.package import cache_folder
from melt_ser.core.places import Stamp, stamp_of

if TYPE_CHECKING:
    import pyarrow.parquet  # slow to import: only functions that open a file do

VERSION = 1  # of the index
MEMBER, FIRST, SIZE = "member", "first", "size"  # the columns of an index that say where a recording is
KEY, DATA = "key", "data."  # the column of the samples' names, and the beginning of the columns of their data
BLOCK = 512  # bytes, of a tar file; a block of zeros ends it
LARGEST_DATA = 2**20  # bytes of a JSON or text member
TEXTS = {".cls": "label", ".txt": "text"}  # the content of members beside the audio and the JSON, by their ending


def index_of(shard: Path, stamp: Stamp | None = None) -> pyarrow.Table:
    """Return the index of a shard: a row for each sample, in the order of the shard, from the cache if it is there.

    The columns are `member` ("": the sample has no audio), `first` and `size`, `key` (the name of the sample), and
    `data.<name>` for each of its data, as text. Raises InputError if the shard is damaged, or its names are not sound.
    """
    from pyarrow import parquet

    stamp = stamp or stamp_of(shard)
    owner = files.sha256(f"{VERSION}\n{os.path.realpath(shard)}")[:20]
    path = cache_folder() / "shards" / f"{owner}-{files.sha256(repr(stamp))[:20]}.parquet"
    with contextlib.suppress(OSError, pyarrow.ArrowInvalid):
        table: pyarrow.Table = parquet.read_table(path)
        return table
    samples = (_scan_parquet if is_parquet(shard) else _scan_tar)(shard)
    names = dict.fromkeys(name for sample in samples for name in sample.data)
    table = pyarrow.table(
        {
            MEMBER: pyarrow.array([sample.member for sample in samples], pyarrow.large_string()),
            FIRST: pyarrow.array([sample.first for sample in samples], pyarrow.int64()),
            SIZE: pyarrow.array([sample.size for sample in samples], pyarrow.int64()),
            KEY: pyarrow.array([sample.key for sample in samples], pyarrow.large_string()),
            **{
                DATA + name: pyarrow.array([sample.data.get(name, "") for sample in samples], pyarrow.large_string())
                for name in names
            },
        }
    )
    with contextlib.suppress(OutputError), files.replacing_file(path) as temporary:
        parquet.write_table(table, temporary)
    with contextlib.suppress(OSError):
        for older in set(path.parent.glob(f"{owner}-*")) - {path}:  # of the shard before it changed
            older.unlink()
    return table


def is_parquet(shard: Path) -> bool:
    """Return whether a shard is a parquet file; otherwise it is a tar file."""
    return shard.suffix.lower() == ".parquet"


@dataclass
class Sample:
    """A sample of a shard: a recording (`member`, "" without one) at `first`, and its data as text."""

    key: str
    member: str = ""
    first: int = 0
    size: int = 0
    data: dict[str, str] = field(default_factory=dict)


def _scan_tar(path: Path) -> list[Sample]:
    """Return the samples of a tar file; only headers and data are read, no audio.

    Raises InputError if the file is compressed, damaged or cut off, if two members have one name or a sample has two
    recordings, or if a name leads out of the shard.
    """
    samples: dict[str, Sample] = {}
    seen: set[str] = set()
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it would keep them all
                name = _checked_name(path, member)
                if name is None:
                    continue
                if name in seen:
                    raise InputError(f"{path}: has two members '{name}'; keep one of them.")
                seen.add(name)
                _add(path, samples, name, member, tar)
            _check_end(path, file, tar.offset)
    except tarfile.TarError as error:
        raise InputError(
            f"{path}: is no tar file, cut off or damaged ({first_line(error)}); decompress it, or write or download it "
            "again."
        ) from None
    return list(samples.values())


def _add(path: Path, samples: dict[str, Sample], name: str, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    """Add a member to the sample of its key; a member of another kind adds nothing."""
    folder, _, file_name = name.rpartition("/")
    key = f"{folder}/" * bool(folder) + file_name.partition(".")[0]
    suffix = PurePosixPath(file_name).suffix.lower()
    sample = samples.setdefault(key, Sample(key))
    if suffix in AUDIO_SUFFIXES:
        if sample.member:
            raise InputError(
                f"{path}: has two recordings of the key '{key}', {sample.member} and {name}; a key ends at the first "
                "dot of a name, so rename one."
            )
        sample.member, sample.first, sample.size = name, member.offset_data, member.size
    elif suffix == ".json":
        sample.data.update(_fields(path, name, _text(path, name, member, tar)))
    elif suffix in TEXTS:
        sample.data[TEXTS[suffix]] = _text(path, name, member, tar).strip()


def _checked_name(path: Path, member: tarfile.TarInfo) -> str | None:
    """Return the name of a member; None if it is a folder or a hidden file. Raise InputError if it is not sound."""
    parts = [part for part in member.name.split("/") if part != "."]
    if member.isdir() or not parts or parts[-1].startswith("."):
        return None
    shown = encodable(member.name)
    if ".." in parts or "" in parts or any(sign in member.name for sign in "\\\0"):
        raise InputError(f"{path}: the member '{shown}' has a name that leads out of the shard; rename it.")
    if not member.isreg() or member.issparse():
        raise InputError(f"{path}: the member '{shown}' is a link or the like; write the file itself.")
    if shown != member.name:
        raise InputError(f"{path}: the member '{shown}' has a name that is not UTF-8; rename it.")
    return "/".join(parts)


def _text(path: Path, name: str, member: tarfile.TarInfo, tar: tarfile.TarFile) -> str:
    if member.size > LARGEST_DATA:
        raise InputError(f"{path}: {name} has {member.size:,} bytes, too many for data of a recording; shorten it.")
    file: IO[bytes] | None = tar.extractfile(member)
    assert file is not None  # it is a plain file
    try:
        return file.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: {name} is not UTF-8; write it again.") from None


def _fields(path: Path, name: str, text: str) -> dict[str, str]:
    """Return the entries of a JSON object as text."""
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {name} is no JSON object ({first_line(error)}); write it again.") from None
    return {str(key).lower(): _as_text(entry) for key, entry in value.items()}


def _as_text(value: Any) -> str:
    """Return a value as text that UTF-8 can encode; an unknown one (None) is ""."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return encodable(text)


def _check_end(path: Path, file: IO[bytes], position: int) -> None:
    """Raise InputError if no block of zeros stands behind the last member."""
    file.seek(position)
    block = file.read(BLOCK)
    if len(block) < BLOCK:
        raise InputError(f"{path}: is cut off (behind byte {position:,}); write or download it again.")
    if any(block):
        raise InputError(f"{path}: is damaged at byte {position:,}; write or download it again.")


def _scan_parquet(path: Path) -> list[Sample]:
    """Return the samples of a parquet file; the column of the audio's bytes is not read.

    Raises InputError if the file is damaged, or has no column or several columns of audio.
    """
    file = open_parquet(path)
    schema = file.schema_arrow
    audio = audio_column(path, schema)
    others = [name for name in schema.names if name != audio]
    try:
        names = file.read([f"{audio}.path"])[audio].combine_chunks().field("path").to_pylist()
        columns = {name.lower(): _texts(schema, name, file.read([name])[name].to_pylist()) for name in others}
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(path, error) from None
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


def open_parquet(path: Path) -> pyarrow.parquet.ParquetFile:
    """Open a parquet file; raise InputError if it is damaged."""
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> InputError:
    """Return the error of a parquet file that cannot be read."""
    return InputError(f"{path}: is no parquet file, or is damaged ({first_line(error)}); write or download it again.")


def _texts(schema: pyarrow.Schema, name: str, values: list[Any]) -> list[str]:
    """Return a column as text: classes by their names, an unknown class (-1) as ""."""
    import datasets

    feature = datasets.Features.from_arrow_schema(schema).get(name)
    classes = getattr(feature, "names", None)
    if not classes:
        return [_as_text(value) for value in values]
    return ["" if value is None or value < 0 else str(classes[value]) for value in values]
