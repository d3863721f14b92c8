"""Read a corpus as `train` does: utterances with their classes, and the train, dev and test part of each fold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from melt_ser.config import Config
from melt_ser.core.console import verification_bar
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.fold_split import FoldSplit
from melt_ser.corpora.labels import LabelSpace
from melt_ser.corpora.load import load_corpus
from melt_ser.corpora.splits import has_split, make_fold_splits
from melt_ser.runs.plan import label_space


@dataclass(frozen=True)
class LabelledCorpus:
    """A verified corpus with its labels mapped to classes.

    `release` has everything that was read, also the clips without a class (`release.table`) and the refused ones
    (`release.dropped`, with the reason).
    """

    release: Corpus
    space: LabelSpace
    every_fold: bool  # whether `folds` has all folds that can be generated, not only the fold of the settings

    @property
    def name(self) -> str:
        return self.release.name

    @property
    def root(self) -> Path:
        """Return the folder to which the paths in the column `audio` are relative."""
        return self.release.root

    @cached_property
    def table(self) -> pd.DataFrame:
        """Return a row for each utterance with a class: utterance, audio, start, end, label, speaker, …, `class`."""
        usable, _ = self.release.usable(self.space)
        return usable.reset_index(drop=True)

    @property
    def classes(self) -> list[str]:
        """Return the classes that occur, in the order of the label space."""
        present = set(self.table["class"])
        return [name for name in self.space.classes if name in present]

    @cached_property
    def folds(self) -> list[FoldSplit]:
        """Return folds with their tables `train`, `dev` and `test`; the release's own split is a fold without a number.

        Raises SetupError if the settings do not fit the corpus, InputError if a part is empty.
        """
        config, annotated = self.release.config, self.release.annotated
        generated = not config.members and (config.folds is not None or not has_split(annotated, config))
        config = replace(config, fold="all") if generated and self.every_fold else config
        return make_fold_splits(self.table, config, annotated)


def load_labelled(config: Config, every_fold: bool = True) -> LabelledCorpus:
    """Read the corpus of `config.dataset` and map its labels to the classes of `config.labels`.

    Raises SetupError for a missing corpus, InputError for an unusable one. `every_fold`: see `LabelledCorpus`.
    """
    release = load_corpus(config.dataset, progress=verification_bar)
    return LabelledCorpus(release, label_space(config, release), every_fold)
