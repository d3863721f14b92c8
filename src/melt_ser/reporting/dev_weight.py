"""The weight of text beside speech, chosen on the dev part of each fold: the one with the best UA there.

The test part is not looked at. Both runs must have the same dev part; a run of the words lacks the utterances without
words. With `trainer.refit` the answers are those of the models before the refit, which learned from train alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.evaluation.metrics import Floats, class_indices, mean_recall

HALF = 0.5
WEIGHTS = np.round(np.arange(0, 1.01, 0.05), 2)  # of text


@dataclass
class DevWeights:
    """The weights of pairs of runs, each chosen once.

    classes: those that both choose their answers among.
    read: `read_dev_table`, or one that keeps what it has read.
    """

    classes: tuple[str, ...]
    read: Callable[[Path, str, tuple[str, ...]], pd.DataFrame]
    chosen: dict[tuple[Path, Path, str], float] = field(default_factory=dict)

    def of_rows(self, heard: Path, read: Path, folds: pd.Series) -> pd.Series:
        """Return the weight of text for each answer of two runs, by the fold of its model.

        heard, read: the folders of the runs. folds: of the models, "" for the release's own split.

        Raises InputError if a run has no answers for dev, or if the two do not have the same dev part.
        """
        return folds.map({fold: self._of_fold(heard, read, str(fold)) for fold in folds.unique()})

    def _of_fold(self, heard: Path, read: Path, fold: str) -> float:
        key = (heard, read, fold)
        if key not in self.chosen:
            of_speech, of_text = (self.read(folder, fold, self.classes) for folder in (heard, read))
            self.chosen[key] = best_weight(of_speech, of_text, self.classes)
        return self.chosen[key]


def best_weight(heard: pd.DataFrame, read: pd.DataFrame, classes: Sequence[str]) -> float:
    """Return the weight of text, one of WEIGHTS, with the best UA on dev; of equally good ones the nearest to 0.5.

    heard, read: utterance, reference and a probability for each class. Rows of other classes do not count.

    Raises InputError if the two are not of the same utterances and labels.
    """
    heard, read = heard.set_index("utterance"), read.set_index("utterance")
    common = heard.index.intersection(read.index)
    if len(common) < min(len(heard), len(read)):
        raise InputError("their dev parts are not the same utterances")
    heard, read = heard.loc[common], read.loc[common]
    if (heard["reference"] != read["reference"]).any():
        raise InputError("their dev parts have other labels")
    known = heard["reference"].isin(classes)
    if not known.any():
        raise InputError("their dev parts have none of the classes of the test")
    of_speech, of_text = (part.loc[known, list(classes)].to_numpy() for part in (heard, read))
    uas = _uas(of_speech, of_text, heard["reference"][known], classes)
    best = WEIGHTS[uas >= uas.max() - 1e-12]
    return float(best[np.abs(best - HALF).argmin()])


def _uas(heard: Floats, read: Floats, references: pd.Series, classes: Sequence[str]) -> Floats:
    """Return the UA of each of WEIGHTS, (weights,), from probabilities, (utterances, classes)."""
    right = np.eye(len(classes), dtype=np.int64)[class_indices(references, classes, "dev")]
    hits = [right[((1 - weight) * heard + weight * read).argmax(axis=1) == right.argmax(axis=1)] for weight in WEIGHTS]
    return mean_recall(np.stack([of_weight.sum(axis=0) for of_weight in hits]), right.sum(axis=0))
