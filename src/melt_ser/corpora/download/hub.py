"""Data sets of the Hugging Face hub: `hub_folder` downloads one, `unpack_hub` unpacks parquet files with audio.

Both write into the cache folder, once. A data set is unpacked into the audiofolder layout: for each split a folder with
its clips and a `metadata.csv`. A folder of clips whose folders are the labels (`train/angry/1.wav`) becomes such a
layout too.
"""

from __future__ import annotations

import csv
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

from melt_ser.audio import AUDIO_SUFFIXES
from melt_ser.config import DatasetConfig
from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import InputError, SetupError, first_line
from melt_ser.core.locks import exclusive_lock
from melt_ser.core.package import cache_folder
from melt_ser.core.places import stamp_of

NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS}  # the disk fails, not the network


def hub_folder(repository: str, revision: str | None) -> Path:
    """Return the folder of a data set in the cache; download it if it is not complete.

    A stopped download continues. A complete data set is never downloaded again: without `revision`, the one that was
    newest at the first download stays. Raises SetupError if the data set cannot be downloaded or written.
    """
    name = repository.replace("/", "--")
    folder = cache_folder() / "hub" / f"{name}-{files.sha256(f'{repository}@{revision}')[:12]}"
    if folder.is_dir():
        return folder
    unfinished = folder.with_name(folder.name + ".unfinished")
    with files.telling_failed_writes(unfinished), exclusive_lock(folder, waits=True):
        if not folder.is_dir():  # another process has not just downloaded it
            say(f"downloading the data set {repository} of the Hugging Face hub; its page states the licence")
            _download(repository, revision, unfinished)
            unfinished.rename(folder)
    return folder


def _download(repository: str, revision: str | None, folder: Path) -> None:
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(repository, repo_type="dataset", revision=revision, local_dir=folder)
    except Exception as error:  # many kinds, among them the errors of its HTTP library
        if isinstance(error, OSError) and error.errno in NO_PLACE:
            raise
        raise SetupError(
            f"The data set {repository} cannot be downloaded ({first_line(error)}); get it on a machine with a network "
            f"('hf download --repo-type dataset {repository} --local-dir <folder>') and set dataset.root=<folder>."
        ) from None


def unpack_hub(root: Path, config: DatasetConfig) -> Path:
    """Return the cache folder with the clips of the data set in `root`; write it at the first use and after any change.

    Raises InputError if the datasets library cannot read the data set or the audio column is missing.
    """
    stamps = [
        (path.relative_to(root).as_posix(), *stamp_of(path))
        for path in sorted(root.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    audio_column = config.columns.get("audio") or "audio"
    digest = files.sha256(repr((str(root.resolve()), stamps, audio_column, config.subset)))
    folder = cache_folder() / "hub" / f"{config.name}-{digest[:20]}"
    if folder.is_dir():
        return folder
    with exclusive_lock(folder, waits=True):
        if not folder.is_dir():  # another process has not just written it
            _remove_leftovers(folder)
            with files.replacing_folder(folder) as temporary:
                for split, data in _load_splits(root, config).items():
                    _unpack_split(root, data, audio_column, temporary / split)
    return folder


def _remove_leftovers(folder: Path) -> None:
    """Delete the half-written copies of processes that were killed; the caller holds the lock of `folder`."""
    for path in folder.parent.glob(f".{folder.name}.*"):
        if path.is_dir():  # not the lock
            shutil.rmtree(path, ignore_errors=True)


def _load_splits(root: Path, config: DatasetConfig) -> dict[str, Any]:
    """Return the data set's splits as streams of Arrow tables."""
    import datasets

    try:
        # Streamed, so that the library keeps no second copy of the audio in a cache of its own.
        return dict(datasets.load_dataset(str(root.resolve()), config.subset, streaming=True))
    except Exception as error:  # many kinds
        raise InputError(
            f"{root} is no data set with parquet or a metadata.csv ({first_line(error)}); "
            f"check dataset.root and dataset.subset."
        ) from None


def _unpack_split(root: Path, data: Any, audio_column: str, folder: Path) -> None:
    """Write one split's clips and its metadata.csv; a row without audio has an empty file_name."""
    features = data.features
    if audio_column not in features:
        raise InputError(
            f"{root} has no column '{audio_column}' (dataset.columns.audio); it has {', '.join(features)}."
        )
    others = [name for name in features if name.lower() not in (audio_column.lower(), "file_name")]
    folder.mkdir(parents=True)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", *others])
        for number, row in enumerate(_rows(root, data)):
            audio = row[audio_column] if isinstance(row[audio_column], dict) else {}
            content = audio.get("bytes") or _content_of(root, audio.get("path") or "")
            name = _clip_name(folder, audio["path"] or "", number) if content else ""
            if name:
                (folder / name).write_bytes(content)
            writer.writerow([name, *(_text(row[other], features[other]) for other in others)])


def _rows(root: Path, data: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split; raise InputError if the library cannot read one of its files."""
    try:
        for table in data.with_format("arrow").iter(batch_size=100):  # in this format the library decodes no audio
            yield from table.to_pylist()
    except Exception as error:  # many kinds
        raise InputError(
            f"{root} cannot be read to its end ({first_line(error)}); get the data set again, or read its clips "
            "by a table of your own (dataset=csv)."
        ) from None


def _content_of(root: Path, path: str) -> bytes:
    """Return the bytes of a clip that lies in the data set beside its table; nothing if it does not."""
    file = root / path
    inside = path and "\0" not in path and file.resolve().is_relative_to(root.resolve())
    return file.read_bytes() if inside and file.is_file() else b""


def _text(value: Any, feature: Any) -> str:
    """Return a cell as text: a class label by its name, an unknown value (None, or class label -1) as ""."""
    names = getattr(feature, "names", None)
    if value is None or (names and value < 0):
        return ""
    return str(names[value]) if names else str(value)


def _clip_name(folder: Path, path: str, number: int) -> str:
    """Return the clip's own file name if it is an audio file's and still free, otherwise the row's number."""
    name = PureWindowsPath(path).name  # the part after the last slash of either kind: never a path
    suffix = Path(name).suffix.lower()
    if suffix in AUDIO_SUFFIXES and not name.startswith(".") and not (folder / name).exists():
        return name
    return f"{number:07}{suffix if suffix in AUDIO_SUFFIXES else '.wav'}"
