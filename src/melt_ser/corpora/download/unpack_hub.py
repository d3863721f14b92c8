"""Parquet with audio within, unpacked into clips and `metadata.csv` files (the audiofolder layout) in the cache."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

from melt_ser.audio import AUDIO_SUFFIXES
from melt_ser.config import DatasetConfig
from melt_ser.core import files
from melt_ser.core.errors import InputError
from melt_ser.core.paths import cache_folder


def unpacked(root: Path, config: DatasetConfig) -> Path:
    """The folder with a data set's clips, written whole at its first use and again where the data set has changed."""
    stamps = [
        (path.relative_to(root).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    audio_column = config.columns.get("audio") or "audio"
    digest = files.sha256(repr((str(root.resolve()), stamps, audio_column, config.subset)))
    folder = cache_folder() / "hub" / f"{config.name}-{digest[:20]}"
    if not folder.is_dir():
        with files.replacing_folder(folder) as temporary:
            for split, data in _splits(root, config).items():
                _unpack(root, data, audio_column, temporary / split)
    return folder


def _splits(root: Path, config: DatasetConfig) -> dict[str, Any]:
    """The data set's splits as streams of Arrow tables; one sentence where the datasets library cannot read it."""
    import datasets

    try:
        # Streamed, so that the library keeps no second copy of the audio in a cache of its own.
        return dict(datasets.load_dataset(str(root.resolve()), config.subset, streaming=True))
    except Exception as error:  # of many kinds
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise InputError(
            f"{root} is no data set with parquet or a metadata.csv ({reason}); check dataset.root and dataset.subset."
        ) from None


def _unpack(root: Path, data: Any, audio_column: str, folder: Path) -> None:
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
        for number, row in enumerate(_rows(data)):
            audio = row[audio_column] if isinstance(row[audio_column], dict) else {}
            name = _clip_name(folder, audio["path"] or "", number) if audio.get("bytes") else ""
            if name:
                (folder / name).write_bytes(audio["bytes"])
            writer.writerow([name, *(_text(row[other], features[other]) for other in others)])


def _text(value: Any, feature: Any) -> str:
    """A cell as text: a class label by its name, nothing for an unknown value (-1 of a class label)."""
    names = getattr(feature, "names", None)
    if value is None or (names and value < 0):
        return ""
    return str(names[value]) if names else str(value)


def _rows(data: Any) -> Iterator[dict[str, Any]]:
    for table in data.with_format("arrow").iter(batch_size=100):  # Arrow is handed on as it is, nothing decoded
        yield from table.to_pylist()


def _clip_name(folder: Path, path: str, number: int) -> str:
    """The clip's own name where it is an audio file's and not taken, else the row's number; never a path."""
    name = PureWindowsPath(path).name  # splits at both kinds of slashes
    suffix = Path(name).suffix.lower()
    if suffix in AUDIO_SUFFIXES and not name.startswith(".") and not (folder / name).exists():
        return name
    return f"{number:07}{suffix if suffix in AUDIO_SUFFIXES else '.wav'}"
