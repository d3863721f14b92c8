"""Find the recordings that a command names: files, folders, and patterns for both."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from melt_ser.audio import AUDIO_SUFFIXES
from melt_ser.core.console import say
from melt_ser.core.counting import counted


def audio_files(paths: Iterable[Path]) -> list[Path]:
    """Return the named files, and from each folder the files with an audio suffix, broken links included.

    A path with *, ? or [ that does not exist is a pattern for files and folders; `**` matches any folders. A folder
    without audio and a pattern without a match are returned unchanged. A file that is named more than once is returned
    once.
    """
    found = [file for path in paths for match in _matches(path) for file in _audio_in(match)]
    files = list(dict.fromkeys(found))
    if len(files) < len(found):
        repeated = counted(len(found) - len(files), "path is repeated", "paths are repeated")
        say(f"note: {repeated}; each file is labelled once.")
    return files


def _matches(path: Path) -> list[Path]:
    """Return the paths that match a pattern, or the path itself if it is no pattern or has no match."""
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return [path]
    return [Path(match) for match in sorted(glob.glob(str(path), recursive=True))] or [path]


def _audio_in(path: Path) -> list[Path]:
    """Return the audio files of a folder; return a file, or a folder without audio, unchanged."""
    if not os.path.isdir(path):  # unlike pathlib's, this is false for a name that is too long
        return [path]
    files = sorted(_files_below(path))
    audio = [file for file in files if file.suffix.lower() in AUDIO_SUFFIXES and not file.name.startswith(".")]
    if audio and len(audio) < len(files):
        say(f"note: {counted(len(files) - len(audio), 'file')} ignored in {path} (hidden, or not named as audio).")
    return audio or [path]


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders. Links to folders are followed; each folder is read once."""
    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort(key=lambda name: (os.path.islink(os.path.join(parent, name)), name))
        yield from (Path(parent) / name for name in names)
