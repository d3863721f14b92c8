"""Choose the prompt of a job, and say what it cannot know about the lines before anything is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from melt_ser.annotation.journal import open_journal
from melt_ser.annotation.labels_file import replaced_columns
from melt_ser.annotation.prompts import Prompt, check_columns, load_prompt
from melt_ser.corpora.lines import Line

MELDS_NAME = re.compile(r"(?:(?:train|dev|test)_)?dia\d+_utt\d+")


def usual_prompt(corpus: str | None, lines: Sequence[Line], journal: Path) -> Prompt:
    """Return the prompt of a command without --prompt: `melt` for MELD's lines, otherwise `dialogue`.

    A job whose `journal` began with `melt` keeps it, so that nothing is paid twice. `corpus` says where the lines are
    from (--corpus).
    """
    is_melt = all(MELDS_NAME.fullmatch(line.utterance) for line in lines) or _has_answers(journal, "melt")
    return load_prompt("melt" if is_melt else "dialogue", corpus)


def notes_on(prompt: Prompt, lines: Sequence[Line]) -> list[str]:
    """Return what the user should know of a prompt on these lines. Raises SetupError if it shows a column they lack."""
    check_columns(prompt, lines)
    notes = []
    if (prompt.history or prompt.following) and not any(line.dialogue for line in lines):
        notes.append(
            "note: no column says which lines are one dialogue (--dialogue COLUMN), so each line is asked about alone"
        )
    replaced = replaced_columns(lines, prompt.fields)
    if replaced:
        notes.append(f"note: the labels file has the model's {', '.join(replaced)} instead of the table's own columns")
    return notes


def _has_answers(path: Path, prompt: str) -> bool:
    """Return whether a journal has answers to a prompt; False if there is no journal yet."""
    if not path.is_file():
        return False
    with open_journal(path) as journal:
        query = "SELECT 1 FROM answers WHERE prompt = ? LIMIT 1"
        return journal.connection.execute(query, (prompt,)).fetchone() is not None
