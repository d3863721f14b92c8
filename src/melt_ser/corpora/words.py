"""The words of a corpus (the column `text`) as the input of a model."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.sentences import words

NO_WORDS = "no words in the column text"


def only_with_words(corpus: Corpus) -> Corpus:
    """Return a corpus without the rows that have no words; they are told in its notes and counted as dropped.

    `annotated` stays, so that folds are those of a speech run. Raises InputError if no row has words.
    """
    has_words = corpus.table["text"].map(words) != ""
    if has_words.all():
        return corpus
    if not has_words.any():
        raise InputError(
            f"No utterance of '{corpus.name}' has words in the column text, which backbone.family=text reads; fill it, "
            "give recognised words with dataset.words (prepare asr=true makes the table), or choose a speech backbone."
        )
    wordless = corpus.table.loc[~has_words, ["utterance", "audio"]].assign(reason=NO_WORDS)
    return replace(
        corpus,
        table=corpus.table[has_words].reset_index(drop=True),
        dropped=pd.concat([corpus.dropped, wordless], ignore_index=True),
        notes=[*corpus.notes, f"{len(wordless)} of {len(has_words)} utterances of '{corpus.name}' have {NO_WORDS}."],
    )
