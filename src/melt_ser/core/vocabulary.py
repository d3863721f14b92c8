"""The words that settings share with corpora and models: emotions, columns of the corpus table, families.

They stand below all rooms that use them, so that a mistyped one is told before anything is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from melt_ser.core.errors import did_you_mean

WITHOUT_WEIGHTS = ("egemaps",)
"""The families of backbones whose features are measured, not learned: they have no checkpoint, and no frames."""

READ_WORDS = ("text",)
"""The families of backbones that read the words of the corpus table (column `text`) in place of audio."""


def reads_words(backbone: Mapping[str, Any]) -> bool:
    """Return whether words are read, in place of audio or beside it; `backbone` has the settings, or those saved."""
    return backbone.get("family") in READ_WORDS or backbone.get("text") is not None


EMOTIONS: dict[str, str] = {
    "angry": "anger, from cold to hot",
    "happy": "joy, amusement",
    "excited": "excitement, which IEMOCAP separates from happy",
    "neutral": "no emotion",
    "sad": "sadness",
    "fearful": "fear, anxiety",
    "disgusted": "disgust",
    "surprised": "surprise, pleasant or unpleasant",
    "calm": "calm, which RAVDESS separates from neutral",
    "bored": "boredom",
    "contemptuous": "contempt",
    "frustrated": "frustration",
    "sarcastic": "sarcasm, as EMNS has it",
    "joyful": "joy, which NNIME separates from happy",
    "amused": "amusement, one of MSP-Podcast's secondary emotions, as are the next ones",
    "annoyed": "annoyance",
    "concerned": "concern",
    "confused": "confusion",
    "depressed": "depression, which MSP-IMPROV and MSP-Podcast separate from sad",
    "disappointed": "disappointment",
}

# Common words and abbreviations for each emotion, for a user's own corpus (such as `dataset=csv`) or label file.
SYNONYMS: dict[str, str] = {
    **{emotion: emotion for emotion in EMOTIONS},
    "anger": "angry",
    "ang": "angry",
    "happiness": "happy",
    "joy": "happy",
    "joyful": "happy",
    "hap": "happy",
    "excitement": "excited",
    "exc": "excited",
    "neu": "neutral",
    "sadness": "sad",
    "fear": "fearful",
    "anxiety": "fearful",
    "disgust": "disgusted",
    "surprise": "surprised",
    "boredom": "bored",
    "contempt": "contemptuous",
    "frustration": "frustrated",
}

COLUMNS = (
    "utterance",  # unique within the corpus
    "source",  # identity of the recording, the same in every corpus that reuses it
    "audio",  # path relative to the corpus root, with forward slashes
    "start",  # seconds; NaN: from the beginning
    "end",  # seconds; NaN: to the end
    "duration",  # seconds, measured
    "split",  # train, dev, test, or "" if the release has no split
    "speaker",
    "session",  # recording session or dialogue
    "gender",  # female, male or ""
    "language",  # ISO 639-1
    "text",
    "intensity",  # as the release writes it: normal, strong, ... or ""
    "label",  # raw, as the release writes it
)
USED_COLUMNS = frozenset(COLUMNS) - {"duration"}  # a table of the user's may have them; durations are measured
ATTRIBUTES = ("arousal", "valence", "dominance")  # that a table of a user's own may have without a setting

GENERAL_READERS = ("csv", "hub", "audformat_database", "shards")  # the package's readers that take any corpus


def unknown_column(name: str) -> str:
    """Return the sentence about a key of `dataset.columns` that is no column of the corpus table."""
    return f"dataset.columns has '{name}', which is no column of ours; {did_you_mean(name, USED_COLUMNS)}"


def no_emotion(claim: str, word: str) -> str:
    """Return an error sentence about a word that is no emotion, with the nearest emotion, or all of them.

    >>> no_emotion("This is 'Joy'", "Joy")
    "This is 'Joy', which is no emotion of the shared vocabulary; did you mean 'happy'?"
    """
    meant = SYNONYMS.get(word.casefold())
    fix = f"did you mean '{meant}'?" if meant else did_you_mean(word, EMOTIONS)
    return f"{claim}, which is no emotion of the shared vocabulary; {fix}"
