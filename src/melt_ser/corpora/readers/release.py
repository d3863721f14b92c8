"""What every reader needs: finding the folders, annotation files and audio files of a release."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from melt_ser.audio import AUDIO_SUFFIXES
from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError

# Best first: where a clip lies there in several formats, the reader takes the first of these.


def not_found(path: Path, config: DatasetConfig) -> SetupError:
    """The one sentence for a release, or a part of it, that is not where it was looked for."""
    return SetupError(
        f"Corpus '{config.name}' is not at {path}: set dataset.root=<folder of the release>"
        f"{f' ({config.access})' if config.access else ''}."
    )


def folders(root: Path, config: DatasetConfig, depth: int = 3) -> list[Path]:
    """`root` and its visible folders down to `depth` levels, shallowest first; SetupError without `root`."""
    if not root.is_dir():
        raise not_found(root, config)
    found = [root]
    level = [root]
    for _ in range(depth):
        level = [folder for parent in level for folder in _subfolders(parent)]
        found += level
    return found


def _subfolders(parent: Path) -> list[Path]:
    with os.scandir(parent) as entries:  # tells folders from files without a look at each of 10,000 clips
        return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def annotation_file(name: str, searched: Iterable[Path], root: Path, config: DatasetConfig) -> Path:
    """The annotation file `name` in the shallowest of the folders; InputError if two there differ."""
    found = [folder / name for folder in searched if (folder / name).is_file()]
    if not found:
        raise not_found(root / name, config)
    depth = len(found[0].parts)
    for other in found[1:]:
        if len(other.parts) == depth and other.read_bytes() != found[0].read_bytes():
            raise InputError(f"{found[0]} and {other} differ: keep the one that belongs to the release.")
    return found[0]


def audio_files(folder: Path, nested: bool = False) -> list[Path]:
    """The visible audio files of a folder (with its subfolders if nested), sorted by path.

    Hidden files (macOS leaves `._name.wav` twins in archives, which are no audio) are passed over.
    """
    return [path for path in visible_files(folder, nested) if path.suffix.lower() in AUDIO_SUFFIXES]


def visible_files(folder: Path, nested: bool = True) -> list[Path]:
    """The files of a folder (with its subfolders if nested) that are not hidden, nor in a hidden folder, by path.

    A folder that is called like an audio file is listed as well, so that it is told. A link to a folder is followed,
    and each folder read once: where two ways lead to it, by the one without links. A link out of the root is followed
    too, so that what lies there is counted, and refused by verification ("outside the root").
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    waiting, linked = [folder], list[Path]()
    while waiting or linked:
        parent = waiting.pop() if waiting else linked.pop()
        status = parent.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(parent) as entries:  # tells folders from files without a look at each of 10,000 clips
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                if entry.name.startswith("."):
                    continue
                path, is_folder = Path(entry.path), _is_folder(entry)
                if not is_folder or path.suffix.lower() in AUDIO_SUFFIXES:
                    found.append(path)
                if is_folder and nested:
                    (linked if entry.is_symlink() else waiting).append(path)
    return sorted(found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def preference(path: Path) -> int:
    """The rank of a file's format among `AUDIO_SUFFIXES`; smaller is preferred."""
    return AUDIO_SUFFIXES.index(path.suffix.lower())
