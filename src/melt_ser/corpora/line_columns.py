"""Find which columns of a table of lines hold the text, the names, the dialogue and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from melt_ser.core.errors import InputError
from melt_ser.corpora.readers.columns import letters, listed

# The names of columns that may hold each role, without case, spaces and signs; the first one that a table has counts.
NAMES: dict[str, tuple[str, ...]] = {
    "text": ("text", "transcript", "transcription", "sentence"),  # then MELD's `Utterance`
    "utterance": ("utterance",),
    "audio": ("audio",),
    "speaker": ("speaker", "speakerid", "speakername", "character"),
    "dialogue": ("dialogue", "session", "dialogueid", "dialog", "dialogid", "conversation", "conversationid"),
    "number": ("utteranceid",),
    "start": ("start", "starttime"),
    "end": ("end", "endtime"),
    "duration": ("duration",),
    "season": ("season",),
    "episode": ("episode",),
    "split": ("split",),
}
MELD = ("utterance", "speaker", "dialogue_id", "utterance_id")
SHOWN = {"text": "the text", "utterance": "the name", "speaker": "the speaker", "dialogue": "the dialogue"}
ALSO_SHOWN = {"audio": "the audio", "start": "the start"}  # if the table has them


def is_like_meld(columns: Sequence[str]) -> bool:
    """Return whether a table has MELD's columns, with the text in `Utterance`."""
    return set(MELD) <= set(columns) and not set(NAMES["text"]) & {letters(column) for column in columns}


def find_roles(columns: Sequence[str], chosen: Mapping[str, str], path: Path) -> dict[str, str]:
    """Return the column of each role that a table has.

    Args:
        columns: those of the table, in lower case.
        chosen: the column of a role, as the command names it (`--text`).
        path: the table, for the sentences of errors.

    Raises InputError if a chosen column is missing, or if no column holds the text.
    """
    for role, column in chosen.items():
        if column.lower() not in columns:
            raise InputError(f"{path} has no column '{column}' (--{role}); its columns are: {listed(columns)}.")
    roles = {role: column.lower() for role, column in chosen.items()}
    for role, names in NAMES.items():
        free = {letters(column): column for column in reversed(columns) if column not in roles.values()}
        named = [free[name] for name in names if name in free]
        if role not in roles and named:
            roles[role] = named[0]
    if "text" not in roles and "utterance" in roles and "utterance" not in chosen:
        roles["text"] = roles.pop("utterance")
    if "text" not in roles:
        raise InputError(f"{path} has no column with the text; its columns are: {listed(columns)}; name it by --text.")
    return roles


def renamed(columns: Sequence[str], roles: Mapping[str, str], chosen: Mapping[str, str], path: Path) -> list[str]:
    """Return the names that the columns have in a labels file, by which it is read again without the command's options.

    A chosen column gets the name of its role, and a text in `utterance` the name `text`. Raises InputError if another
    column has that name.
    """
    new = {roles[role]: role for role in chosen} | ({"utterance": "text"} if roles["text"] == "utterance" else {})
    for column, role in new.items():
        if role in columns and role != column and role not in new:
            raise InputError(f"{path} has a column '{role}' next to '{column}', which is the {role}; rename one.")
    return [new.get(column, column) for column in columns]


def described(roles: Mapping[str, str]) -> str:
    """Return which columns were taken for what, as the rest of a sentence.

    >>> described({"text": "utterance", "audio": "wav", "dialogue": "scene"})
    "the text from 'utterance', the name from 'wav', the dialogue from 'scene'; no column for the speaker"
    """
    names = [roles[role] for role in ("utterance", "audio", "number") if role in roles]
    named = {**roles, "utterance": names[0]} if names else roles
    also = {role: name for role, name in ALSO_SHOWN.items() if role in named and named[role] != named.get("utterance")}
    found = [f"{name} from '{named[role]}'" for role, name in (SHOWN | also).items() if role in named]
    missing = [name for role, name in SHOWN.items() if role not in named]
    by_row = "; each line is called by the number of its row" if not names else ""
    return ", ".join(found) + (f"; no column for {', '.join(missing)}" if missing else "") + by_row
