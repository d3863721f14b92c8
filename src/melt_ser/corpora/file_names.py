"""Corpora whose labels are in the names of their files or folders: each audio file is a row or a problem.

A reader of such a corpus is its code tables, the pattern of its names, and a function from a match to a row.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.release import audio_files, not_found, preference
from melt_ser.corpora.table import Problem, Release, make_table

Row = dict[str, str]

GENDERS = {"F": "female", "M": "male"}


class Unused(Exception):
    """Raised for a file whose name is understood and that is not used; the message is the reason."""


def read_names(
    root: Path,
    config: DatasetConfig,
    pattern: re.Pattern[str],
    scheme: str,
    row: Callable[[re.Match[str], PurePath], Row],
    expected: str = "",
    spelling: Callable[[str], str] = str,
) -> Release:
    """Every audio file under `root` whose whole stem matches `pattern`; the others are problems.

    `row` makes the columns of a match and of the file's path within the root, or raises `Unused`; columns that
    it leaves out follow from the match (utterance), the reader (source) and the configuration (language).
    Of several files of one utterance the best format is used. `spelling` (`str.upper`, `str.lower`) brings a
    stem into the letter case of the pattern, `scheme` says what a name consists of, with an example, and
    `expected` is what a missing release is told to have in its root.
    """
    files = audio_files(root, nested=True) if root.is_dir() else []
    if not files:
        raise not_found(root / expected, config)
    rows: dict[str, Row] = {}
    problems = []
    for file in sorted(files, key=lambda file: (preference(file), file)):
        path = file.relative_to(root)
        audio = path.as_posix()
        name = pattern.fullmatch(spelling(path.stem))
        if not name:
            problems.append(Problem("", audio, f"the name is not {scheme}"))
            continue
        try:
            found = {"utterance": name[0], "language": config.language, **row(name, path)}
        except Unused as unused:
            problems.append(Problem(path.stem, audio, str(unused)))
            continue
        utterance = found["utterance"]
        if utterance in rows:
            problems.append(Problem("", audio, f"the same clip as {rows[utterance]['audio']}, which is used"))
        else:
            rows[utterance] = {"source": f"{config.reader}/{utterance}", "audio": audio, **found}
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
        raise Unused(f"the folder says {found[0]}, the {what} of the name {code}")


def fill(release: Release, column: str, values: Mapping[str, str], by: str = "utterance") -> None:
    """Fill a column of a release's table from values by utterance (or speaker); "" where there is none."""
    release.table[column] = release.table[by].map(lambda key: values.get(key, "")).astype(object)


def transcripts(root: Path, suffix: str) -> dict[str, str]:
    """The texts of a release with a UTF-8 file an utterance (`<utterance><suffix>`), by the file's stem."""
    return {
        path.stem: " ".join(path.read_text(encoding="utf-8-sig", errors="replace").split())
        for path in sorted(root.rglob(f"*{suffix}"))
        if not path.name.startswith(".")
    }
