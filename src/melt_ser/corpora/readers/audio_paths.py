"""Turn the paths of a user's table, as programs and people write them, into paths below the corpus root."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import unquote

from melt_ser.core.errors import InputError

FILE_ADDRESS = re.compile(r"file:(?://(?:localhost)?)?(?=/)", re.IGNORECASE)
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # two letters or more: one letter is a drive
WINDOWS_PLACE = re.compile(r"/?[A-Za-z]:|\\\\")  # a drive, or \\server\share


def spelled_as_in(known: Iterable[str]) -> Callable[[str], str]:
    """Return a function that gives a name as `known` has it, which may write its letters and accents apart or together.

    macOS writes them apart in the names of files, people and other systems together. Other names stay as they are.
    """
    names = list(known)
    spelled = {unicodedata.normalize("NFC", name): name for name in names} | {name: name for name in names}
    return lambda name: spelled.get(name) or spelled.get(unicodedata.normalize("NFC", name), name)


class RootFolder:
    """The corpus root, and the ways in which a table may write a path below it."""

    def __init__(self, root: Path) -> None:
        self.folder = os.path.abspath(root)
        self.prefixes = [os.path.join(folder, "") for folder in (self.folder, os.path.realpath(root))]

    def relative(self, audio: str, place: str) -> str:
        """Return the normal form of a path relative to the root, with forward slashes.

        A path may be relative to the root or absolute, have backslashes, or be a file:// address. Raises InputError,
        beginning with `place`, if it is not below the root.
        """
        path, is_address = FILE_ADDRESS.subn("", audio, count=1)
        path = unquote(path) if is_address else path
        if WINDOWS_PLACE.match(path):
            raise InputError(
                f"{place}: the audio path '{audio}' is a path of Windows; write it relative to dataset.root."
            )
        if ADDRESS.match(path):
            raise InputError(
                f"{place}: the audio path '{audio}' is an address on a network; download the file, and write its path."
            )
        path = path.replace("\\", "/")
        whole = posixpath.normpath(posixpath.join(self.folder, path))
        if whole == self.folder:
            return "."
        below = self._below(whole)
        if below is None and "\0" not in whole:
            folder, name = posixpath.split(whole)
            below = self._below(posixpath.join(os.path.realpath(folder), name))  # a link above the root may hide it
        if below is not None:
            return below
        raise InputError(
            f"{place}: the audio path '{audio}' is not below dataset.root={self.folder}; set dataset.root to a folder "
            f"above all files (dataset.root=/ takes any absolute path)."
        )

    def tidied(self, audio: str) -> str:
        """Return a path in the form of `relative`, or unchanged if it is not below the root."""
        try:
            return self.relative(audio, "")
        except InputError:
            return audio

    def _below(self, path: str) -> str | None:
        prefix = next((prefix for prefix in self.prefixes if path.startswith(prefix)), None)
        return None if prefix is None else path.removeprefix(prefix)
