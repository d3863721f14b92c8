"""What a run works on: corpora read and split, classes chosen, targets known, before any model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from melt_ser.config import Config
from melt_ser.console import verification_bar
from melt_ser.corpora.corpus import Corpus, corpus_root, load_corpus
from melt_ser.corpora.splits import Parts, make_parts
from melt_ser.corpora.union import union_parts
from melt_ser.errors import InputError
from melt_ser.evaluation.targets import Target, make_target
from melt_ser.labels import LabelSpace
from melt_ser.launch import load_dataset
from melt_ser.runs import run_folder


@dataclass
class Study:
    """The input of a run."""

    config: Config
    folder: Path
    corpus: Corpus
    space: LabelSpace
    classes: list[str]
    parts: list[Parts]
    others: list[Corpus]  # further corpora to score
    scores_itself: bool  # whether the training corpus is among eval.corpora

    @property
    def one_model(self) -> bool:
        return len(self.parts) == 1

    @cached_property
    def utterances(self) -> pd.DataFrame:
        """Those of all parts of all folds, each once, by name."""
        tables = [table for fold in self.parts for table in (fold.train, fold.dev, fold.test)]
        return pd.concat(tables).drop_duplicates("utterance").sort_values("utterance", ignore_index=True)

    def fold_folder(self, parts: Parts) -> Path:
        """Where a fold's model and metrics lie."""
        return self.folder if self.one_model else self.folder / "folds" / str(parts.fold)


def prepare_study(config: Config) -> Study:
    """Read and split the corpora; every name and folder is checked before anything slow."""
    names = config.eval.corpora if config.eval.corpora is not None else [config.dataset.name]
    other_configs = []
    for name in names:
        if name != config.dataset.name:
            other = load_dataset(name)
            other.root = config.eval.roots.get(name, config.dataset.roots.get(name, other.root))
            corpus_root(other)
            other_configs.append(other)
    config.dataset.root = config.dataset.root or config.eval.roots.get(config.dataset.name)  # where datasets are swept
    corpus = load_corpus(config.dataset, progress=verification_bar)
    space = label_space(config, corpus)
    usable, _ = corpus.usable(space)
    classes = [name for name in space.classes if name in set(usable["class"])]
    if len(classes) < 2:
        raise InputError(
            f"Corpus '{corpus.name}' has {len(classes)} of the classes of label space '{space.name}' "
            f"({', '.join(space.classes)}); training needs two or more."
        )
    parts = [union_parts(usable, config.dataset)] if config.dataset.members else make_parts(usable, config.dataset)
    others = [load_corpus(other, progress=verification_bar) for other in other_configs]
    study = Study(
        config, run_folder(config), corpus, space, classes, parts, others, scores_itself=config.dataset.name in names
    )
    for fold in parts:
        fold_targets(study, fold)  # an overlap or an empty test part is told before the training, not after
    return study


def label_space(config: Config, corpus: Corpus) -> LabelSpace:
    """The label space of the run; `native` is what the training corpus has."""
    if config.labels.classes is None:
        return LabelSpace.native(corpus.table["emotion"])
    return LabelSpace(config.labels.name, config.labels.classes)


def fold_targets(study: Study, parts: Parts) -> list[Target]:
    """What one fold's model is scored on; refuses recordings that it was trained on."""
    settings = study.config.eval
    trained = pd.concat([parts.train, parts.dev])
    targets = []
    if study.scores_itself:
        targets.append(make_target(study.corpus, study.space, study.classes, settings, trained, parts.test))
    targets += [make_target(other, study.space, study.classes, settings, trained) for other in study.others]
    return targets
