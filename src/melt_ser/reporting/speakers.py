"""The speakers of a corpus: utterances, minutes and classes of each, for the report of `prepare`."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

Speaker = dict[str, Any]  # speaker, gender, utterances, minutes, and classes: the utterances of each class
UNKNOWN = "not known"


def speakers_of(table: pd.DataFrame, usable: pd.DataFrame, classes: list[str]) -> list[Speaker]:
    """Return the speakers of a corpus, the one with the most utterances first; an empty list if none is known.

    The utterances of unknown speakers stand together under the name "". `gender` is "" if it is not known, or not the
    same everywhere.

    Args:
        table: the verified utterances.
        usable: those of them that have a class, in the column `class`.
        classes: the classes to count.
    """
    if table["speaker"].eq("").all():
        return []
    counts = usable.groupby(["speaker", "class"]).size()
    speakers = []
    for name, own in table.groupby("speaker"):
        genders = set(own["gender"])
        speakers.append(
            {
                "speaker": name,
                "gender": genders.pop() if len(genders) == 1 else "",
                "utterances": len(own),
                "minutes": round(float(own["duration"].sum()) / 60, 2),
                "classes": {kind: int(counts.get((name, kind), 0)) for kind in classes},
            }
        )
    return sorted(speakers, key=lambda one: (-one["utterances"], one["speaker"]))


def columns_of(speakers: list[Speaker]) -> list[str]:
    """Return the columns of a table of speakers; gender is one of them if it is known of a speaker."""
    gender = ["gender"] if any(one["gender"] for one in speakers) else []
    return ["speaker", *gender, "utterances", "minutes", *speakers[0]["classes"]]


def cells_of(speaker: Speaker, columns: list[str]) -> list[Any]:
    """Return the row of a speaker in a table with these columns."""
    cells = {**speaker["classes"], **speaker, "speaker": speaker["speaker"] or UNKNOWN}
    return [f"{cells[name]:.1f}" if name == "minutes" else cells[name] for name in columns]


def as_frame(speakers: list[Speaker]) -> pd.DataFrame:
    """Return all speakers as the table `speakers.csv`."""
    return pd.DataFrame(
        [{**{key: value for key, value in one.items() if key != "classes"}, **one["classes"]} for one in speakers]
    )


def terminal_table(corpus: str, speakers: list[Speaker], most: int) -> Table:
    """Return a table for the terminal: the first `most` speakers, and the others together in one row."""
    columns = columns_of(speakers)
    table = Table(title=f"{corpus}: utterances by speaker", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, justify="left" if name in ("speaker", "gender") else "right", overflow="fold")
    shown, rest = speakers[:most], speakers[most:]
    together = {
        "speaker": f"{len(rest)} more",
        "gender": "",
        "utterances": sum(one["utterances"] for one in rest),
        "minutes": sum(one["minutes"] for one in rest),
        "classes": {kind: sum(one["classes"][kind] for one in rest) for kind in speakers[0]["classes"]},
    }
    for one in [*shown, *([together] if rest else [])]:
        table.add_row(*map(str, cells_of(one, columns)))
    return table
