"""What a run works on: corpora read and split, classes chosen, targets known, before any model is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import pandas as pd

from melt_ser.cli.compose import load_dataset
from melt_ser.config import Config, DatasetConfig
from melt_ser.core.console import say, verification_bar
from melt_ser.core.errors import InputError, MeltSerError, SetupError
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.fold_split import FoldSplit
from melt_ser.corpora.labels import LabelSpace
from melt_ser.corpora.load import corpus_root, load_corpus
from melt_ser.corpora.splits import make_fold_splits
from melt_ser.evaluation.evaluation_sets import EvaluationSet, make_evaluation_set, other_corpora
from melt_ser.runs.folder import run_folder

Read = TypeVar("Read")


@dataclass
class RunPlan:
    """The input of a run."""

    config: Config
    folder: Path
    corpus: Corpus
    space: LabelSpace
    classes: list[str]
    parts: list[FoldSplit]
    others: list[Corpus]  # further corpora to score
    scores_itself: bool  # whether the training corpus is among eval.corpora
    unscored: dict[str, str]  # those of eval.corpora that cannot be read, and why
    failed_folders: set[Path] = field(default_factory=set)  # of the feature cache; no fold tries these again

    @property
    def one_model(self) -> bool:
        return len(self.parts) == 1

    @cached_property
    def utterances(self) -> pd.DataFrame:
        """Those of all parts of all folds, each once."""
        tables = [table for fold in self.parts for table in (fold.train, fold.dev, fold.test)]
        return pd.concat(tables).drop_duplicates("utterance", ignore_index=True)

    def fold_folder(self, parts: FoldSplit) -> Path:
        """Where a fold's model and metrics lie."""
        return self.folder if self.one_model else self.folder / "folds" / str(parts.fold)


def make_plan(config: Config) -> RunPlan:
    """Read and split the corpora; every name and folder is checked before anything slow."""
    scores_itself = config.eval.corpora is None or config.dataset.name in config.eval.corpora
    other_configs = other_corpora(config, load_dataset)
    at_hand, missing = _readable(other_configs, corpus_root, needed=not scores_itself)
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
    parts = make_fold_splits(usable, config.dataset)
    if config.dataset.members and scores_itself and parts[0].test.empty:
        raise SetupError("No member of the union has a test part; name what to test on: 'eval.corpora=[<corpus>]'.")
    verified = partial(load_corpus, progress=verification_bar)
    others, unsound = _readable(
        [other for other in other_configs if other.name in at_hand], verified, needed=not scores_itself
    )
    unscored = {**missing, **unsound}
    for name, reason in unscored.items():
        say(f"note: '{name}' cannot be scored: {reason}")
    study = RunPlan(
        config, run_folder(config), corpus, space, classes, parts, list(others.values()), scores_itself, unscored
    )
    for fold in parts:
        evaluation_sets(study, fold)  # an overlap or an empty test part is told before the training, not after
    return study


def _readable(
    corpora: list[DatasetConfig], read: Callable[[DatasetConfig], Read], needed: bool
) -> tuple[dict[str, Read], dict[str, str]]:
    """What was read of test corpora, by name, and why others cannot be read; where one is `needed`, raises for none."""
    found: dict[str, Read] = {}
    errors: dict[str, MeltSerError] = {}
    for corpus in corpora:
        try:
            found[corpus.name] = read(corpus)
        except MeltSerError as error:
            errors[corpus.name] = error
    if needed and errors and not found:
        raise next(iter(errors.values()))
    return found, {name: str(error) for name, error in errors.items()}


def label_space(config: Config, corpus: Corpus) -> LabelSpace:
    """The label space of the run; `native` is what the training corpus has."""
    if config.labels.classes is None:
        return LabelSpace.native(corpus.table["emotion"])
    return LabelSpace(config.labels.name, config.labels.classes)


def evaluation_sets(study: RunPlan, parts: FoldSplit) -> list[EvaluationSet]:
    """What one fold's model is scored on; refuses recordings that it was trained on."""
    settings = study.config.eval
    trained = pd.concat([parts.train, parts.dev])
    targets = []
    if study.scores_itself:
        targets.append(make_evaluation_set(study.corpus, study.space, study.classes, settings, trained, parts.test))
    targets += [make_evaluation_set(other, study.space, study.classes, settings, trained) for other in study.others]
    return targets
