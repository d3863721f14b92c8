"""The shared emotion vocabulary, total label maps, and label spaces.

Two maps, so that adding a corpus touches no other: a corpus maps each of its raw labels to an
emotion of the vocabulary (or to null: not used); a label space picks and merges emotions into classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from melt_ser.errors import InputError, SetupError, did_you_mean

EMOTIONS: dict[str, str] = {
    "angry": "anger, from cold to hot",
    "happy": "joy, amusement",
    "excited": "excitement, as IEMOCAP keeps it apart from happy",
    "neutral": "no emotion",
    "sad": "sadness",
    "fearful": "fear, anxiety",
    "disgusted": "disgust",
    "surprised": "surprise of either sign",
    "calm": "calm, as RAVDESS keeps it apart from neutral",
    "bored": "boredom",
    "contemptuous": "contempt",
    "frustrated": "frustration",
    "sarcastic": "sarcasm, as EMNS has it",
}

# For corpora of one's own (`dataset=csv`): what people commonly write for each emotion.
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


def map_labels(raw: pd.Series, label_map: Mapping[str, str | None], corpus: str) -> pd.Series:
    """Map raw labels to emotions; None where the map says null.

    The map is total: a raw label it does not know raises InputError with its count, and an emotion
    outside the vocabulary raises SetupError.
    """
    for label, emotion in label_map.items():
        if emotion is not None and emotion not in EMOTIONS:
            raise SetupError(
                f"The label_map of '{corpus}' maps '{label}' to '{emotion}', which is not in the shared vocabulary: "
                f"{did_you_mean(emotion, EMOTIONS)}"
            )
    counts = raw[~raw.isin(list(label_map))].value_counts()
    if len(counts):
        unknown = ", ".join(f"'{label}' ({count})" for label, count in counts.items())
        raise InputError(
            f"Corpus '{corpus}' has labels that its label_map does not know: {unknown}; "
            f"map each to an emotion or to null, for example +dataset.label_map.{counts.index[0]}=null."
        )
    return raw.map(lambda label: label_map[label]).astype(object).where(lambda mapped: mapped.notna(), None)


def common_label_map(raw: pd.Series) -> dict[str, str | None]:
    """The map of a corpus of one's own that gives none: common English words for emotions, any case."""
    labels = raw.unique()
    return {label: SYNONYMS[label.casefold()] for label in labels if label.casefold() in SYNONYMS}


@dataclass(frozen=True)
class LabelSpace:
    """Classes, each a set of emotions: `{"happy": ["happy", "excited"], ...}`."""

    name: str
    classes: dict[str, list[str]]

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for name, emotions in self.classes.items():
            for emotion in emotions:
                if emotion not in EMOTIONS:
                    raise SetupError(
                        f"Label space '{self.name}' puts '{emotion}' into class '{name}': "
                        f"{did_you_mean(emotion, EMOTIONS)}"
                    )
                if emotion in seen:
                    raise SetupError(
                        f"Label space '{self.name}' has '{emotion}' in both '{seen[emotion]}' and '{name}'."
                    )
                seen[emotion] = name

    @staticmethod
    def native(emotions: Iterable[str | None]) -> LabelSpace:
        """One class for each emotion that occurs, in the order of the vocabulary."""
        present = set(emotions)
        return LabelSpace("native", {emotion: [emotion] for emotion in EMOTIONS if emotion in present})

    def classify(self, emotions: pd.Series) -> pd.Series:
        """The class of each emotion; None where the space has none."""
        classes = {emotion: name for name, members in self.classes.items() for emotion in members}
        return emotions.map(lambda emotion: classes.get(emotion)).astype(object).where(lambda c: c.notna(), None)

    def present(self, emotions: Iterable[str | None], classes: Sequence[str]) -> list[str]:
        """Those of `classes` that occur among the emotions, in the order of `classes`."""
        found = set(self.classify(pd.Series(list(emotions), dtype=object)))
        return [name for name in classes if name in found]
