"""The words of a corpus (the column `text`) as the input of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.core.vocabulary import READ_WORDS
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.sentences import words

NO_WORDS = "no words in the column text"


def readable_by(corpus: Corpus, backbone: Mapping[str, Any]) -> Corpus:
    """Return a corpus as a backbone reads it: the words alone, the words beside the audio, or the audio alone.

    backbone: its settings; those of an older result may lack `text`.

    Raises InputError if the backbone reads words and no row has any.
    """
    if backbone["family"] in READ_WORDS:
        return only_with_words(corpus)
    return corpus if backbone.get("text") is None else with_words_beside(corpus)


def only_with_words(corpus: Corpus) -> Corpus:
    """Return a corpus without the rows that have no words; they are told in its notes and counted as dropped.

    `annotated` stays, so that folds are those of a speech run. Raises InputError if no row has words.
    """
    has_words = _has_words(corpus, "backbone.family=text")
    if has_words.all():
        return corpus
    wordless = corpus.table.loc[~has_words, ["utterance", "audio"]].assign(reason=NO_WORDS)
    return replace(
        corpus,
        table=corpus.table[has_words].reset_index(drop=True),
        dropped=pd.concat([corpus.dropped, wordless], ignore_index=True),
        notes=[*corpus.notes, _note(corpus, has_words)],
    )


def with_words_beside(corpus: Corpus) -> Corpus:
    """Return a corpus with a note on the rows that have no words; beside their audio the model reads an empty text.

    Raises InputError if no row has words.
    """
    has_words = _has_words(corpus, "backbone.text")
    if has_words.all():
        return corpus
    note = f"{_note(corpus, has_words)} Beside their audio the model reads an empty text."
    return replace(corpus, notes=[*corpus.notes, note])


def _note(corpus: Corpus, has_words: pd.Series) -> str:
    return f"{(~has_words).sum()} of {len(has_words)} utterances of '{corpus.name}' have {NO_WORDS}."


def _has_words(corpus: Corpus, reader: str) -> pd.Series:
    """Return whether each row has words; raise InputError if none has. reader: the setting that reads them."""
    has_words: pd.Series = corpus.table["text"].map(words) != ""
    if not has_words.any():
        raise InputError(
            f"No utterance of '{corpus.name}' has words in the column text, which {reader} reads; fill it, give "
            "recognised words with dataset.words (prepare asr=true makes the table), or choose a backbone of speech "
            "alone."
        )
    return has_words
