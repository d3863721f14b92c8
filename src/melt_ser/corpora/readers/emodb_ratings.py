"""What EmoDB's listeners said of each clip: how many recognised its emotion, and how many found it natural.

`erkennung.txt` of the first release has both in per cent, in the columns erkannt and natuerlich, for all 816 clips that
were recorded; Latin-1, with decimal commas. Release 2.0 has the shares in `db.emotion.csv` (emotion.confidence and
emotion.naturalness). Of these only the first is read: the script that wrote the table, as published in audeering/emodb,
sets the naturalness by the position of the rows and not by the clip.
Which other emotion the other listeners chose is not published, so these are attributes, and no votes.
Source: the file itself; update.py of 2.0.0 in audeering/emodb.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.corpora.ratings import Ratings
from melt_ser.corpora.readers.delimited import numbers, read_table

JUDGEMENTS, SECOND = "erkennung.txt", "db.emotion.csv"
SCALE = (0.0, 1.0)


def read_ratings(folders: Sequence[Path], spelling: Callable[[str], str]) -> tuple[Ratings | None, list[str]]:
    """Return the shares of the listeners by the names of the clips, and a note; None if no folder has their table.

    spelling: returns a name in the release's letter case. Raises InputError if a table is not the released one.
    """
    for name, read in ((JUDGEMENTS, _of_the_first_release), (SECOND, _of_the_second)):
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is not None:
            shares = read(path)
            shares.index = shares.index.map(lambda file: spelling(PurePosixPath(file).stem))
            shares = shares[~shares.index.duplicated()]
            known = " and ".join(map(str, shares))
            note = f"{known} are shares of the listeners, of {name}"
            return Ratings(shares, dict.fromkeys(map(str, shares), SCALE)), [note]
    return None, []


def _of_the_first_release(path: Path) -> pd.DataFrame:
    rows = [[cell.strip() for cell in line.split("\t")] for line in path.read_text("latin-1").splitlines() if line]
    if not rows or rows[0][1:] != ["Satz", "erkannt", "natuerlich"] or {len(row) for row in rows} != {4}:
        raise InputError(f"{path} is not the released table of the listeners; copy it again.")
    table = pd.DataFrame(rows[1:], columns=["number", "file", "recognised", "natural"], index=range(1, len(rows)))
    values = {name: numbers(table[name].str.replace(",", "."), path) / 100 for name in ("recognised", "natural")}
    return pd.DataFrame(values).set_axis(table["file"])


def _of_the_second(path: Path) -> pd.DataFrame:
    table = read_table(path, ("file", "emotion.confidence"))
    values = numbers(table["emotion.confidence"].set_axis(range(1, len(table) + 1)), path)
    return pd.DataFrame({"recognised": values}).set_axis(table["file"])
