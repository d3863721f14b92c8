"""The samples of a tar file in WebDataset's layout: members whose names have the same key belong together.

The key ends at the first dot of the file's name: `anna/7.flac` and `anna/7.json` are the sample `anna/7`. A JSON object
has the data of a sample; `anna/7.cls` and `anna/7.txt` are its label and its text.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from melt_ser.audio import AUDIO_SUFFIXES
from melt_ser.core.errors import InputError, first_line

BLOCK = 512  # bytes, of a tar file; a block of zeros ends it
LARGEST_DATA = 2**20  # bytes of a JSON or text member
TEXTS = {".cls": "label", ".txt": "text"}  # what a member holds beside the audio and the JSON, by its ending


@dataclass
class Sample:
    """A sample of a shard: a recording (`member`, "" without one) at `first`, and its data as text."""

    key: str
    member: str = ""
    first: int = 0
    size: int = 0
    data: dict[str, str] = field(default_factory=dict)


def scan(path: Path) -> list[Sample]:
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
    shown = member.name.encode("utf-8", errors="backslashreplace").decode()
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
    return {str(key).lower(): as_text(entry) for key, entry in value.items()}


def as_text(value: Any) -> str:
    """Return a value as text that UTF-8 can encode; an unknown one (None) is ""."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", errors="backslashreplace").decode()


def _check_end(path: Path, file: IO[bytes], position: int) -> None:
    """Raise InputError if no block of zeros stands behind the last member."""
    file.seek(position)
    block = file.read(BLOCK)
    if len(block) < BLOCK:
        raise InputError(f"{path}: is cut off (behind byte {position:,}); write or download it again.")
    if any(block):
        raise InputError(f"{path}: is damaged at byte {position:,}; write or download it again.")
