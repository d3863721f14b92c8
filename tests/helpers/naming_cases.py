"""Cases for corpora with labels in file names: true names of each (`naming_cases_english`, `naming_cases_other`).

Each corpus has a whole tree (every speaker with every label), the columns of single names, the names of the same clips
in other copies, and files that are not used, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from corpus_trees import placeholder

Says = dict[str, str]


@dataclass(frozen=True)
class NamedCorpus:
    tree: list[str]  # the paths of a small release: all speakers, all labels
    says: dict[str, Says]  # columns of the row, by path
    variants: dict[str, str]  # the path of `says` with the same row, by the path in another copy
    unused: dict[str, str]  # a part of the reason, by path
    files: dict[str, bytes] = field(default_factory=dict)  # other files of the root


def plant(root: Path, paths: Iterable[str], files: dict[str, bytes]) -> None:
    """Write empty audio files, and the release's other files with their content."""
    for path in paths:
        placeholder(root / path)
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
