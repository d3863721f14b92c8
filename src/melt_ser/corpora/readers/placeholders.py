"""Words that stand for an unknown speaker, session, recording or gender in a user's table: they count as empty cells.

Otherwise all rows with such a word would be one speaker: kept together in one part, and one unit of the intervals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

OF_NAMES = ("speaker", "session", "source")
# As programs and people write them. Other spellings, such as Nan and Na, are names of people.
WORDS = {
    *("NA", "N/A", "n/a", "<NA>", "nan", "NaN", "None", "none", "null", "NULL"),
    *("unknown", "Unknown", "UNKNOWN", "-", "--", "?"),
}


def without_placeholders(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with empty cells in the place of such words, and a note on each column that had some.

    A word that looks like the other names of its column (NA beside JK and DC) is a name; the note says so.
    """
    table, notes = table.copy(), []
    for column in (*OF_NAMES, "gender"):
        counts = table[column].value_counts()
        words = [word for word in counts.index if word in WORDS]
        others = [name for name in counts.index if name and name not in WORDS]
        names = [word for word in words if column in OF_NAMES and _looks_like(word, others)]
        if unknown := [word for word in words if word not in names]:
            table[column] = table[column].where(~table[column].isin(unknown), "")
            listed = ", ".join(f"'{word}' ({counts[word]} of {len(table)} rows)" for word in unknown)
            fix = "; if it is a name, rename it in the table" if column in OF_NAMES else ""
            notes.append(f"the {column} {listed} counts as not known{fix}")
        notes += [
            f"the {column} '{word}' ({counts[word]} of {len(table)} rows) counts as a name, since it looks like the "
            f"others; if it is none, empty its cells in the table"
            for word in names
        ]
    return table, notes


def _looks_like(word: str, names: Iterable[str]) -> bool:
    """Return whether two or more names have as many capital and small letters as a word, in the same places."""
    shapes = [_shape(name) for name in names]
    return word.isalpha() and len(shapes) > 1 and set(shapes) == {_shape(word)}


def _shape(name: str) -> str:
    """Return a name with every capital letter as A and every small one as a.

    >>> _shape("JK"), _shape("Ann-1")
    ('AA', 'Aaa-1')
    """
    return re.sub("[^\\W\\d_]", lambda letter: "A" if letter[0].isupper() else "a", name)
