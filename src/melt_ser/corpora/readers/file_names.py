"""Releases with labels in the names of their files or folders: each audio file becomes a row or is skipped.

A reader of such a release has tables of codes, the pattern of its names, and a function that makes a row from a match.
Together these are its `NAMING`, which also matches the paths in EmoBox's lists.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.release import Row, Unused, audio_files, not_found, preference, visible_files
from melt_ser.corpora.table import Release, Skipped, make_table


@dataclass(frozen=True)
class Naming:
    """The scheme by which a corpus names its files.

    Attributes:
        pattern: matches a whole file name without its suffix, after `spelling`.
        scheme: the parts of a name with an example, for the reason why a file is skipped.
        row: returns columns of the corpus table from a match and the file's path; raises `Unused` for a file to skip.
        expected: a file or folder that every release has, for the error if nothing is at the root.
        spelling: gives a name the letter case of the pattern (`str.upper`, `str.lower`).
    """

    pattern: re.Pattern[str]
    scheme: str
    row: Callable[[re.Match[str], PurePath], Row]
    expected: str = ""
    spelling: Callable[[str], str] = str

    def understand(self, path: PurePath) -> Row | None:
        """Return the columns that a file's path gives, or None if its name does not follow the scheme.

        One of the columns is the utterance: the name itself, unless `row` gives another.
        """
        name = self.pattern.fullmatch(self.spelling(path.stem))
        return {"utterance": name[0], **self.row(name, path)} if name else None


def read_names(root: Path, config: DatasetConfig, naming: Naming) -> Release:
    """Return the audio files under `root` with names that follow the scheme; list the others as skipped.

    Unless `naming.row` gives others, the source is `<reader>/<utterance>` and the language is the configured one. If an
    utterance has several files, the best format is used (`preference`). Raises SetupError if there is no audio file.
    """
    files = audio_files(root, nested=True) if root.is_dir() else []
    if not files:
        raise not_found(root / naming.expected, config)
    rows: dict[str, Row] = {}
    skipped = []
    for file in sorted(files, key=lambda file: (preference(file), file)):
        path = file.relative_to(root)
        audio = path.as_posix()
        try:
            row = naming.understand(path)
        except Unused as unused:
            skipped.append(Skipped(path.stem, audio, str(unused)))
            continue
        if row is None:
            skipped.append(Skipped("", audio, f"the name is not {naming.scheme}"))
        elif row["utterance"] in rows:
            used = rows[row["utterance"]]["audio"]
            skipped.append(Skipped("", audio, f"a second file of a clip: {used} is used"))
        else:
            source = f"{config.reader}/{row['utterance']}"
            rows[row["utterance"]] = {"source": source, "audio": audio, "language": config.language, **row}
    return Release(make_table(rows[utterance] for utterance in sorted(rows)), skipped)


def folder_code(path: PurePath, codes: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the nearest parent folder with a code, and its code; `codes` has lower-case folder names as keys."""
    for folder in reversed(path.parts[:-1]):
        # macOS stores a letter and its accent as two characters: Colère has seven there.
        code = codes.get(unicodedata.normalize("NFC", folder).lower())
        if code is not None:
            return folder, code
    return None


def check_folder(path: PurePath, codes: Mapping[str, str], meaning: str, code: str) -> None:
    """Raise `Unused` if a folder above a file has another code than the file's name.

    Args:
        path: the file.
        codes: the code of each folder, by lower-case name.
        meaning: the part of the name that the code stands for, such as "speaker".
        code: the code in the name.
    """
    folder = folder_code(path, codes)
    if folder and folder[1] != code:
        raise Unused(f"folder and name disagree: the folder says {folder[0]}, the {meaning} of the name {code}")


def fill(release: Release, column: str, values: Mapping[str, str], by: str = "utterance") -> None:
    """Fill a column of a release's table with values by utterance (or speaker), or "" if the value is missing."""
    release.table[column] = release.table[by].map(lambda key: values.get(key, "")).astype(object)


def transcripts(root: Path, suffix: str) -> dict[str, str]:
    """Return the texts of a release that has a UTF-8 file `<utterance><suffix>` for each utterance, by its stem."""
    return {
        path.stem: " ".join(path.read_text(encoding="utf-8-sig", errors="replace").split())
        for path in visible_files(root)
        if path.suffix.lower() == suffix
    }
