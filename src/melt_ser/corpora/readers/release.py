"""Shared by all readers: find the folders, annotation files and audio files of a release."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from melt_ser.audio import AUDIO_SUFFIXES
from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError

Row = dict[str, str]  # a row of the corpus table, or some of its columns
MACOS_TWINS = "__MACOSX"  # the folder of an archive in which macOS keeps a `._` twin of each file


class Unused(Exception):
    """Raised for a clip that the reader understands but does not use; the message is the reason."""


def not_found(path: Path, config: DatasetConfig) -> SetupError:
    """Return the error for a release, or a part of it, that is not at `path`."""
    return SetupError(
        f"Corpus '{config.name}' is not at {path}: set dataset.root=<folder of the release>"
        f"{f' ({config.access})' if config.access else ''}."
    )


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is no part of a release: hidden (.DS_Store, ._name.wav), or macOS's twins."""
    return name.startswith(".") or name == MACOS_TWINS


def folders(root: Path, config: DatasetConfig, depth: int = 3) -> list[Path]:
    """Return `root` and its visible folders down to `depth` levels, shallowest first.

    Raises SetupError if `root` does not exist.
    """
    if not root.is_dir():
        raise not_found(root, config)
    result = [root]
    level = [root]
    for _ in range(depth):
        level = [folder for parent in level for folder in _subfolders(parent)]
        result += level
    return result


def _subfolders(parent: Path) -> list[Path]:
    with os.scandir(parent) as entries:  # tells folders from files without a system call for each of 10,000 clips
        return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not is_hidden(entry.name))


def annotation_file(name: str, searched: Iterable[Path], root: Path, config: DatasetConfig) -> Path:
    """Return the annotation file `name` from the shallowest folder that has it; `searched` comes from `folders`.

    Raises SetupError if no folder has it, InputError if two folders of the same depth have different files.
    """
    paths = [folder / name for folder in searched if (folder / name).is_file()]
    if not paths:
        raise not_found(root / name, config)
    depth = len(paths[0].parts)
    for other in paths[1:]:
        if len(other.parts) == depth and other.read_bytes() != paths[0].read_bytes():
            raise InputError(f"{paths[0]} and {other} differ: keep the one that belongs to the release.")
    return paths[0]


def audio_files(folder: Path, nested: bool = False) -> list[Path]:
    """Return the visible audio files of a folder (with its subfolders if nested), sorted by path."""
    return [path for path in visible_files(folder, nested) if path.suffix.lower() in AUDIO_SUFFIXES]


def visible_files(folder: Path, nested: bool = True) -> list[Path]:
    """Return the files of a folder (with its subfolders if nested), without hidden files and folders, sorted by path.

    A folder with the name of an audio file is listed too, so that it is reported. A link to a folder is followed, and
    each folder is read once, if possible by a path without links. A link out of the root is followed too: verification
    counts the files behind it and refuses them ("outside the root").
    """
    result: list[Path] = []
    seen: set[tuple[int, int]] = set()
    waiting, linked = [folder], list[Path]()
    while waiting or linked:
        parent = waiting.pop() if waiting else linked.pop()
        status = parent.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(parent) as entries:  # tells folders from files without a system call for each of 10,000 clips
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                if is_hidden(entry.name):
                    continue
                path, is_folder = Path(entry.path), _is_folder(entry)
                if not is_folder or path.suffix.lower() in AUDIO_SUFFIXES:
                    result.append(path)
                if is_folder and nested:
                    (linked if entry.is_symlink() else waiting).append(path)
    return sorted(result)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def preference(path: Path) -> int:
    """Return the rank of a file's format in `AUDIO_SUFFIXES`; of several files of a clip, the lowest rank is used."""
    return AUDIO_SUFFIXES.index(path.suffix.lower())
