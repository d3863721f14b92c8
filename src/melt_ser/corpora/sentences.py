"""Sentences that speakers read: do they give the label away, and do two corpora have the same ones?

A sentence is known by its words (the column `text`), without letter case and punctuation. Only sentences that a corpus
repeats are compared: short answers such as "Oh my God!" also occur twice in free speech, and say nothing there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

import pandas as pd

from melt_ser.core.counting import counted

READ = 5  # a sentence with this many utterances in a corpus is one that its speakers read
SCRIPTED = 0.5  # a corpus is scripted if at least this share of its utterances are sentences that are read
TELLING = 0.1  # share of utterances that say such a sentence with a single class, from which it is told
WORDS_ALONE = re.compile(r"The speakers of '(?P<corpus>.+)' read (?P<sentences>\d+ sentences?)[ ,]")  # begins its note
NOT_A_WORD = re.compile(r"[\W_]+")


def words(text: str) -> str:
    """Return the words of a text, by which two spellings of a sentence are the same."""
    return NOT_A_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def read_sentences(table: pd.DataFrame) -> pd.Series:
    """Return the words of each row's sentence, or "" if its corpus does not repeat it."""
    texts = {text: words(text) for text in table["text"].unique()}
    sentences = table["text"].map(texts).astype(object)
    counts = sentences.map(sentences.value_counts())
    return sentences.where(counts >= READ, "")


def script(table: pd.DataFrame) -> list[str]:
    """Return the sentences of a scripted corpus, sorted; those of each member for a union; otherwise nothing."""
    members = [rows for _, rows in table.groupby("corpus")] if "corpus" in table else [table]
    sentences: set[str] = set()
    for rows in members:
        read = read_sentences(rows)
        if (read != "").mean() >= SCRIPTED:
            sentences.update(read)
    return sorted(sentences - {""})


def telling_sentences_note(table: pd.DataFrame, corpus: str) -> list[str]:
    """Return a sentence if many utterances of a corpus say a text that occurs with one class only, otherwise nothing.

    `table` has the column `class`. A corpus with a single class gets no note.
    """
    sentences = read_sentences(table)
    classes_of_sentence = table["class"].groupby(sentences).nunique().drop("", errors="ignore")
    telling = classes_of_sentence.index[classes_of_sentence == 1]
    count = int(sentences.isin(telling).sum())
    if table["class"].nunique() < 2 or count < TELLING * len(table):
        return []
    return [
        f"The words reveal labels of '{corpus}': {len(telling)} of its {len(classes_of_sentence)} sentences occur "
        f"with one class only, in {count} of its {len(table)} utterances. A model can score well by the words alone."
    ]


def words_alone_note(table: pd.DataFrame, corpus: str) -> list[str]:
    """Return a sentence for a model that reads words if a corpus is scripted, otherwise nothing."""
    sentences = script(table)
    if not sentences:
        return []
    count = int(read_sentences(table).isin(sentences).sum())
    where = f"all {count}" if count == len(table) else f"{count} of its {len(table)}"
    return [
        f"The speakers of '{corpus}' read {_sentences(len(sentences))}, in {where} utterances: a score of the words "
        "there is about the choice of sentences, and says nothing about emotion."
    ]


def sentences_read(notes: Collection[str], corpus: str) -> str:
    """Return how many sentences the speakers of a corpus read, "10 sentences", by its `words_alone_note` in `notes`.

    It is "" without such a note.
    """
    found = filter(None, map(WORDS_ALONE.search, notes))
    return next((note["sentences"] for note in found if note["corpus"] == corpus), "")


def shared_sentences_note(table: pd.DataFrame, trained: Collection[str]) -> list[str]:
    """Return a sentence if a scripted corpus has sentences of the `script` of the training data, otherwise nothing."""
    shared = set(script(table)) & set(trained)
    if not shared:
        return []
    count = int(read_sentences(table).isin(shared).sum())
    return [
        f"{count} of the {len(table)} utterances say {_sentences(len(shared))} of the training data (such as "
        f"'{min(shared)}'): their words are not new to the model."
    ]


def shared_script_note(first: pd.DataFrame, second: pd.DataFrame, names: tuple[str, str]) -> list[str]:
    """Return a sentence if two scripted corpora have sentences in common, otherwise nothing."""
    shared = set(script(first)) & set(script(second))
    if not shared:
        return []
    counts = [int(read_sentences(table).isin(shared).sum()) for table in (first, second)]
    return [
        f"'{names[0]}' and '{names[1]}' share {_sentences(len(shared))} (such as '{min(shared)}'), in {counts[0]} and "
        f"{counts[1]} utterances."
    ]


def _sentences(number: int) -> str:
    return counted(number, "sentence")
