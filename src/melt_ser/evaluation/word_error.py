"""The word error rate of a recogniser: the words that it changed, lost and added, by those that were said (jiwer)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from melt_ser.corpora.sentences import words


@dataclass(frozen=True)
class WordErrors:
    """The errors in some utterances, beside the number of words in their transcripts."""

    utterances: int
    words: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def rate(self) -> float:
        """Return the word error rate, a share; it is above 1 if a recogniser adds many words."""
        return (self.substitutions + self.deletions + self.insertions) / self.words


def can_count() -> bool:
    """Return whether jiwer is installed."""
    return find_spec("jiwer") is not None


def word_errors(transcripts: Sequence[str], heard: Sequence[str]) -> WordErrors | None:
    """Return the errors over all utterances with a transcript; None if there is none.

    Letter case and punctuation do not count. Words are parted by spaces, so the rate of a script without spaces says
    little.
    """
    import jiwer

    pairs = [(words(said), words(found)) for said, found in zip(transcripts, heard, strict=True) if words(said)]
    if not pairs:
        return None
    said, found = map(list, zip(*pairs, strict=True))
    counts = jiwer.process_words(said, found)
    return WordErrors(
        len(pairs),
        counts.hits + counts.substitutions + counts.deletions,
        counts.substitutions,
        counts.deletions,
        counts.insertions,
    )
