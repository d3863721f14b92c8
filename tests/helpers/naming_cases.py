"""Examples of the true naming of corpora with labels in file names (`naming_cases_english`, `naming_cases_other`).

For each there is a whole tree (every speaker with every label), what single names say, how other copies name the
same clip, and what is not used and why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from corpus_trees import placeholder

Says = dict[str, str]


@dataclass(frozen=True)
class NamedCorpus:
    tree: list[str]  # paths of a release in small: all speakers, all labels
    says: dict[str, Says]  # a path, and columns of its row
    variants: dict[str, str]  # a path as some copies have it, and the path of `says` that it is read as
    unused: dict[str, str]  # a path, and a part of the reason
    files: dict[str, bytes] = field(default_factory=dict)  # what else the root holds


def plant(root: Path, paths: Iterable[str], files: dict[str, bytes]) -> None:
    """Empty audio files, and the release's other files with their content."""
    for path in paths:
        placeholder(root / path)
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
