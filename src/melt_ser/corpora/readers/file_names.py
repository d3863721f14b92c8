"""Corpora whose labels are in the names of their files or folders: each audio file is a row or a problem.

A reader of such a corpus is its code tables, the pattern of its names, and a function from a match to a row, which
together are its `NAMING`. By that the paths in EmoBox's lists are understood, too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.release import audio_files, not_found, preference, visible_files
from melt_ser.corpora.table import Release, Skipped, make_table

Row = dict[str, str]


class Unused(Exception):
    """Raised for a file whose name is understood and that is not used; the message is the reason."""


@dataclass(frozen=True)
class Naming:
    """How a corpus names its files.

    `pattern` matches a whole stem in the letter case that `spelling` (`str.upper`, `str.lower`) gives it, `scheme` says
    what a name consists of, with an example. `row` makes the columns of a match and of the file's path, or raises
    `Unused`. `expected` is what a missing release is told to have in its root.
    """

    pattern: re.Pattern[str]
    scheme: str
    row: Callable[[re.Match[str], PurePath], Row]
    expected: str = ""
    spelling: Callable[[str], str] = str

    def understand(self, path: PurePath) -> Row | None:
        """What a file's path says, its utterance (the name, where `row` gives none) at least; None: another name."""
        name = self.pattern.fullmatch(self.spelling(path.stem))
        return {"utterance": name[0], **self.row(name, path)} if name else None


def read_names(root: Path, config: DatasetConfig, naming: Naming) -> Release:
    """Every audio file under `root` that is named so; the others are problems.

    Columns that `naming.row` leaves out follow from the match (utterance), the reader (source) and the configuration
    (language). Of several files of one utterance the best format is used.
    """
    files = audio_files(root, nested=True) if root.is_dir() else []
    if not files:
        raise not_found(root / naming.expected, config)
    rows: dict[str, Row] = {}
    problems = []
    for file in sorted(files, key=lambda file: (preference(file), file)):
        path = file.relative_to(root)
        audio = path.as_posix()
        try:
            found = naming.understand(path)
        except Unused as unused:
            problems.append(Skipped(path.stem, audio, str(unused)))
            continue
        if found is None:
            problems.append(Skipped("", audio, f"the name is not {naming.scheme}"))
        elif found["utterance"] in rows:
            used = rows[found["utterance"]]["audio"]
            problems.append(Skipped("", audio, f"a second file of a clip: {used} is used"))
        else:
            source = f"{config.reader}/{found['utterance']}"
            rows[found["utterance"]] = {"source": source, "audio": audio, "language": config.language, **found}
    return Release(make_table(rows[utterance] for utterance in sorted(rows)), problems)


def folder_code(path: PurePath, codes: Mapping[str, str]) -> tuple[str, str] | None:
    """The nearest folder above a file that has a code, and the code; `codes` has lower-case names."""
    for folder in reversed(path.parts[:-1]):
        # macOS takes accents apart: Colère has seven characters there.
        code = codes.get(unicodedata.normalize("NFC", folder).lower())
        if code is not None:
            return folder, code
    return None


def check_folder(path: PurePath, codes: Mapping[str, str], what: str, code: str) -> None:
    """Raise `Unused` where a folder above a file says another code than its name does."""
    found = folder_code(path, codes)
    if found and found[1] != code:
        raise Unused(f"folder and name disagree: the folder says {found[0]}, the {what} of the name {code}")


def fill(release: Release, column: str, values: Mapping[str, str], by: str = "utterance") -> None:
    """Fill a column of a release's table from values by utterance (or speaker); "" where there is none."""
    release.table[column] = release.table[by].map(lambda key: values.get(key, "")).astype(object)


def transcripts(root: Path, suffix: str) -> dict[str, str]:
    """The texts of a release with a UTF-8 file an utterance (`<utterance><suffix>`), by the file's stem."""
    return {
        path.stem: " ".join(path.read_text(encoding="utf-8-sig", errors="replace").split())
        for path in visible_files(root)
        if path.suffix.lower() == suffix
    }
