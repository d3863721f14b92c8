"""The shared emotion vocabulary, label maps, and label spaces.

A corpus maps each of its raw labels to an emotion of the vocabulary (or to null: not used). A label space then picks
emotions and merges them into classes. With these two steps, a new corpus changes no other corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from melt_ser.core.errors import InputError, SetupError, one_line
from melt_ser.core.vocabulary import EMOTIONS, SYNONYMS, no_emotion

LISTED = 20  # an error names at most this many unknown labels
# A class name is a column of the predictions, next to these columns, and a key in YAML and JSON.
RESERVED = (
    *("utterance", "file", "speaker", "fold", "reference", "prediction", "correct"),
    *("start", "end", "label", "error"),
)


def map_labels(raw: pd.Series, label_map: Mapping[str, str | None], corpus: str) -> pd.Series:
    """Return the emotion of each raw label; None if the map says null.

    Raises InputError, with the counts, if the map lacks a raw label, and SetupError if it has an emotion outside the
    vocabulary.
    """
    for label, emotion in label_map.items():
        if emotion is not None and emotion not in EMOTIONS:
            raise SetupError(no_emotion(f"The label_map of '{corpus}' maps '{label}' to '{emotion}'", emotion))
    counts = raw[~raw.isin(list(label_map))].value_counts()
    if len(counts):
        unknown = ", ".join(f"'{label}' ({count})" for label, count in counts.head(LISTED).items())
        more = f" and {len(counts) - LISTED} more" if len(counts) > LISTED else ""
        from melt_ser.cli.quoting import shell_setting  # loads Hydra, for an error alone

        example = shell_setting(f"dataset.label_map.{counts.index[0]}", None)
        raise InputError(
            f"Corpus '{corpus}' has labels that its label_map does not know: {unknown}{more}; "
            f"map each to an emotion or to null, for example {example}."
        )
    codes, labels = pd.factorize(raw)  # a million rows have few labels
    emotions = np.array([label_map[label] for label in labels], dtype=object)
    return pd.Series(emotions[codes], raw.index, dtype=object)


def common_label_map(raw: pd.Series) -> dict[str, str | None]:
    """Return a map for those raw labels that `SYNONYMS` has, in any letter case."""
    labels = raw.unique()
    return {label: SYNONYMS[label.casefold()] for label in labels if label.casefold() in SYNONYMS}


def unused_entries_note(label_map: Mapping[str, str | None], labels: Iterable[str]) -> list[str]:
    """Return a note on the entries of a user's label map whose label is none of those of the corpus, otherwise nothing.

    They may be misspelt, and a label that is a common word is then mapped without them.
    """
    present = set(labels) - {""}
    unused = sorted(label_map.keys() - present)
    if not unused:
        return []
    rest = sorted(present - label_map.keys())
    more = " and more" if len(rest) > LISTED else ""
    others = f"; labels without an entry: {', '.join(rest[:LISTED])}{more}" if rest else ""
    return [f"entries of dataset.label_map whose label no clip has: {', '.join(unused[:LISTED])}{others}"]


@dataclass(frozen=True)
class LabelSpace:
    """Classes, each a list of emotions: `{"happy": ["happy", "excited"], ...}`.

    Raises SetupError if a class has a reserved name, or an emotion is unknown or in two classes.
    """

    name: str
    classes: dict[str, list[str]]

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for name, emotions in self.classes.items():
            if name in RESERVED or name != one_line(name).strip() or not name:
                raise SetupError(
                    f"Label space '{self.name}' cannot have a class '{one_line(name)}'; choose a name of plain text "
                    f"other than {', '.join(RESERVED)}."
                )
            for emotion in emotions:
                if emotion not in EMOTIONS:
                    claim = f"Label space '{self.name}' puts '{emotion}' into '{name}'"
                    raise SetupError(no_emotion(claim, emotion))
                if emotion in seen:
                    raise SetupError(
                        f"Label space '{self.name}' has '{emotion}' in both '{seen[emotion]}' and '{name}'."
                    )
                seen[emotion] = name

    @staticmethod
    def native(emotions: Iterable[str | None]) -> LabelSpace:
        """Return a label space with one class for each emotion that occurs, in the order of the vocabulary."""
        present = set(emotions)
        return LabelSpace("native", {emotion: [emotion] for emotion in EMOTIONS if emotion in present})

    def classify(self, emotions: pd.Series) -> pd.Series:
        """Return the class of each emotion; None if it has no class."""
        classes = {emotion: name for name, members in self.classes.items() for emotion in members}
        return emotions.map(lambda emotion: classes.get(emotion)).astype(object).where(lambda c: c.notna(), None)

    def present(self, emotions: Iterable[str | None], classes: Sequence[str]) -> list[str]:
        """Return those of `classes` that occur among the emotions, in the order of `classes`."""
        occurring = set(self.classify(pd.Series(list(emotions), dtype=object)))
        return [name for name in classes if name in occurring]
