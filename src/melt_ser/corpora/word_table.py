"""The table of words beside a corpus (`dataset.words`): those that a recogniser has heard, or any others.

utterance     as in the corpus
words         what is said; "" if nothing was heard
recogniser    the checkpoint that heard them, with its commit; missing or "" in a table from elsewhere
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from melt_ser.core import files
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.sentences import script, words
from melt_ser.corpora.table import Release

WORDS_ARE = "the words are those of "
FIX = "give a table with the columns utterance and words, as prepare asr=true writes it"


def write_words(path: Path, utterances: Sequence[str], heard: Sequence[str], recogniser: str) -> None:
    """Write a table of words. Raises OutputError if the file cannot be written."""
    files.write_csv(path, pd.DataFrame({"utterance": utterances, "words": heard, "recogniser": recogniser}))


def with_words(release: Release, path: Path) -> Release:
    """Return a release with the words of a table in place of its column `text`, and with a note that says so.

    An utterance that the table lacks has no words, and is counted. Raises SetupError if there is no such file,
    InputError if it is not sound or names no utterance of the release.
    """
    if not path.is_file():
        raise SetupError(f"There is no table of words {path} (dataset.words); make it with prepare asr=true.")
    table = files.read_csv(path, {"utterance": str, "words": str}, FIX, {"recogniser": str})
    repeated = table["utterance"][table["utterance"].duplicated()]
    if len(repeated):
        raise InputError(f"{path} has the utterance '{repeated.iloc[0]}' more than once; keep one row of each.")
    names = release.table["utterance"]
    known = names.isin(table["utterance"])
    if not known.any():
        raise InputError(
            f"{path} names no utterance of the corpus: its first is '{next(iter(table['utterance']), '')}', that of "
            f"the corpus '{next(iter(names))}'; give the table of this corpus."
        )
    heard = dict(zip(table["utterance"], table["words"], strict=True))
    text = names.map(lambda name: heard.get(name, "")).astype("str")
    note = f"{WORDS_ARE}{path.name}{_made_by(table)}"
    if not known.all():
        note += f"; {int((~known).sum())} of {len(names)} utterances are not in it"
    if wordless := int((text.map(words) == "").sum()):
        note += f"; {wordless} of {len(names)} utterances have none"
    if read := script(release.table):
        note += f"; the speakers read {len(read)} sentences, so what the words tell beyond these are the errors in them"
    return replace(release, table=release.table.assign(text=text), notes=[*release.notes, note])


def word_notes(notes: Sequence[str]) -> list[str]:
    """Return those notes of a corpus that say whose words it has."""
    return [note for note in notes if note.startswith(WORDS_ARE)]


def _made_by(table: pd.DataFrame) -> str:
    by = sorted(set(table["recogniser"]) - {""}) if "recogniser" in table else []
    return f", which are recognised by {' and '.join(by)}, not transcribed by people" if by else ""
