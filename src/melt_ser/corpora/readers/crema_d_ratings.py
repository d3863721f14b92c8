"""The votes of CREMA-D's listeners: `processedResults/tabulatedVotes.csv` of the release.

Its first column is 100000 times the kind of the presentation (1: the voice alone) plus the number of the clip; A, D, F,
H, N and S count the votes, and meanEmoResp is the mean rated intensity of the emotion, from 0 to 100.
Source: the README of the release and its tabulateVotesV2.r; public code that reads it.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from melt_ser.audio.contents import LFS_POINTER
from melt_ser.core.errors import InputError
from melt_ser.corpora.ratings import Ratings

TABLE = "processedResults/tabulatedVotes.csv"
CODES = {"A": "ANG", "D": "DIS", "F": "FEA", "H": "HAP", "N": "NEU", "S": "SAD"}
INTENSITY, SCALE = "meanEmoResp", (0.0, 100.0)


def read_votes(folders: list[Path]) -> tuple[Ratings | None, list[str]]:
    """Return the votes of the listeners who heard the voice alone, and notes; None if no folder has the table.

    Raises InputError if the table is not the released one.
    """
    path = next((folder / TABLE for folder in folders if (folder / TABLE).is_file()), None)
    if path is None:
        return None, []
    try:
        table = pd.read_csv(path, index_col=0, encoding="utf-8-sig")
        of_voice = table[table.index // 100_000 == 1].set_index("fileName")
        votes = of_voice[list(CODES)].astype("float64").rename(columns=CODES)
        intensity = pd.DataFrame({"intensity": of_voice[INTENSITY].astype("float64")})
    except (ValueError, KeyError, TypeError) as error:
        hint = "; it is a pointer of git lfs, so fetch it with git lfs pull" if _is_pointer(path) else ""
        raise InputError(f"{path} is not the released table ({error}){hint}; copy it again.") from None
    if of_voice.index.has_duplicates:
        raise InputError(
            f"{path} has the clip '{of_voice.index[of_voice.index.duplicated()][0]}' twice; copy it again."
        )
    notes = [f"votes of the voice alone are those of {TABLE}, {int(votes.to_numpy().sum())} votes"]
    return Ratings(intensity, {"intensity": SCALE}, votes), notes


def _is_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER
