"""The words that a recogniser heard in a corpus: their table, and how far they are from the transcripts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.sentences import words
from melt_ser.corpora.word_table import write_words
from melt_ser.evaluation.word_error import WordErrors, can_count, word_errors

ALL = "all"


def summarise_words(corpus: Corpus, heard: Sequence[str], recogniser: str) -> dict[str, Any]:
    """Return the report of the words, in plain JSON values; the word errors of all utterances and of each emotion.

    heard: the words of each row of `corpus.table`. Without jiwer, a note says how to get it, and no errors are counted.
    """
    if not can_count():
        say("note: the word error rate needs jiwer: pip install 'melt-ser[asr]'; the same command then adds it.")
    return {
        "corpus": corpus.name,
        "digest": corpus.digest,
        "recogniser": recogniser,
        "utterances": len(heard),
        "without_words": sum(not words(text) for text in heard),
        "word_errors": {name: _plain(errors) for name, errors in _errors(corpus, heard)} if can_count() else {},
    }


def _errors(corpus: Corpus, heard: Sequence[str]) -> Iterator[tuple[str, WordErrors]]:
    said, found = corpus.table["text"].to_numpy(), np.array(heard, dtype=object)
    emotions = corpus.table["emotion"]
    for name in (ALL, *sorted(emotions.dropna().unique())):
        rows = np.ones(len(said), bool) if name == ALL else (emotions == name).to_numpy()
        if errors := word_errors(said[rows], found[rows]):
            yield name, errors


def _plain(errors: WordErrors) -> dict[str, Any]:
    return {"rate": round(errors.rate, 4), **dataclasses.asdict(errors)}


def write_recognised(out: Path, corpus: Corpus, heard: Sequence[str], summary: dict[str, Any]) -> Path:
    """Write the table of words and, under the same name, its report as JSON; return the path of the table."""
    checkpoint = summary["recogniser"].rpartition(" (")[0].rpartition("/")[2]
    path = out / f"{corpus.name}_{checkpoint}.csv"
    write_words(path, corpus.table["utterance"].to_list(), heard, summary["recogniser"])
    files.write_json(path.with_suffix(".json"), summary)
    return path


def print_recognised(summary: dict[str, Any], path: Path) -> None:
    """Print the counts, the word error rate, the path of the table, and the setting that reads it."""
    count = summary["utterances"]
    print(f"words by {summary['recogniser']}: {count} utterances, {summary['without_words']} of them without words")
    errors = summary["word_errors"]
    if ALL in errors:
        of_all = errors[ALL]
        print(
            f"word error rate: {100 * of_all['rate']:.1f} % of {of_all['words']:,} words in {of_all['utterances']:,} "
            f"utterances ({of_all['substitutions']} changed, {of_all['deletions']} lost, {of_all['insertions']} added)"
        )
        by_emotion = {name: 100 * of["rate"] for name, of in errors.items() if name != ALL}
        print("by emotion: " + ", ".join(f"{name} {rate:.1f}" for name, rate in by_emotion.items()))
    elif can_count():
        print("word error rate: not known, since the corpus has no transcripts")
    print(f"words: {path}")
    print(f"to read them: dataset.words={path}")
