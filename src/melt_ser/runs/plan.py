"""Plan a run before any model is loaded: read and split corpora, choose classes and evaluation sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import pandas as pd

from melt_ser.audio.augment import Augmentation
from melt_ser.cli.compose import load_dataset
from melt_ser.config import RELEASE_LABELS, ClassLoss, Config, DatasetConfig, Method, Target
from melt_ser.core.console import say, verification_bar
from melt_ser.core.errors import InputError, MeltSerError, SetupError
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.fold_split import FoldSplit
from melt_ser.corpora.labels import LabelSpace
from melt_ser.corpora.load import corpus_root, load_corpus
from melt_ser.corpora.ratings import Scale
from melt_ser.corpora.sentences import script
from melt_ser.corpora.sounds import read_sounds
from melt_ser.corpora.splits import make_fold_splits
from melt_ser.corpora.targets import WITH_ATTRIBUTES, attribute_names, shares_of
from melt_ser.corpora.words import readable_by
from melt_ser.evaluation.dev_metric import dev_metric
from melt_ser.evaluation.evaluation_sets import EvaluationSet, make_evaluation_set, other_corpora
from melt_ser.models.outputs import Outputs
from melt_ser.runs.folder import run_folder
from melt_ser.runs.target_checks import check_attributes, check_target_settings

Read = TypeVar("Read")


@dataclass
class RunPlan:
    """A run before its training: settings, folder, corpora, classes, and the split of each fold."""

    config: Config
    folder: Path
    corpus: Corpus
    space: LabelSpace
    classes: list[str]
    splits: list[FoldSplit]
    others: list[Corpus]  # further corpora to score
    scores_itself: bool  # whether the training corpus is a test corpus too: named in eval.corpora, or the default
    reference: Corpus  # the training corpus with the labels that its test part is scored against
    unscored: dict[str, str]  # corpora of eval.corpora that cannot be read: name, reason
    failed_folders: set[Path] = field(default_factory=set)  # of the feature cache; no fold tries these again

    @property
    def scales(self) -> dict[str, Scale]:
        """Return the scale of each attribute that the model learns."""
        if self.corpus.target not in WITH_ATTRIBUTES:
            return {}
        assert self.corpus.ratings is not None
        return {name: self.corpus.ratings.scales[name] for name in attribute_names(self.corpus.table)}

    @property
    def outputs(self) -> Outputs:
        """Return the outputs of the run's models."""
        independent = bool(self.classes) and self.config.objective.class_loss is ClassLoss.multi_label
        return Outputs(self.classes, self.scales, independent)

    @property
    def dev_metric(self) -> str:
        """Return the name of the score on dev that chooses."""
        return dev_metric(bool(self.classes), bool(self.scales), self.corpus.target is Target.distribution)

    @property
    def one_model(self) -> bool:
        """Return whether the run has a single fold."""
        return len(self.splits) == 1

    @cached_property
    def utterances(self) -> pd.DataFrame:
        """Return the utterances of all folds, each once."""
        tables = [table for split in self.splits for table in (split.train, split.dev, split.test)]
        return pd.concat(tables).drop_duplicates("utterance", ignore_index=True)

    @cached_property
    def augmentation(self) -> Augmentation:
        """Return the augmentation of the training clips; its folders are read when it is first asked for."""
        augment = self.config.augment
        noise = read_sounds("augment.noise_folder", augment.noise_folder) if augment.noise_folder else None
        rooms = read_sounds("augment.room_folder", augment.room_folder) if augment.room_folder else None
        return Augmentation(augment, noise, rooms)

    def refits(self, split: FoldSplit) -> bool:
        """Return whether the scored model of a fold learns from train and dev (`trainer.refit`)."""
        refit = self.config.trainer.refit
        return split.dev_is_cut if refit == "cut_dev" else bool(refit)

    def fold_folder(self, split: FoldSplit) -> Path:
        """Return the folder of a fold's model and metrics."""
        return self.folder if self.one_model else self.folder / "folds" / str(split.fold)


def make_plan(config: Config) -> RunPlan:
    """Read and split the corpora; check names and folders before anything slow.

    Raises SetupError for a missing corpus, and InputError for an unusable corpus.
    """
    scores_itself = config.eval.corpora is None or config.dataset.name in config.eval.corpora
    other_configs = other_corpora(config, load_dataset)
    at_hand, missing = _readable(other_configs, corpus_root, needed=not scores_itself)
    config.dataset.root = config.dataset.root or config.eval.roots.get(
        config.dataset.name
    )  # a sweep over datasets has their roots in eval.roots
    corpus = read_corpus(config, config.dataset)
    space = label_space(config, corpus)
    usable, _ = corpus.usable(space)
    classes = _classes(corpus, space, usable)
    if len(classes) < 2 and corpus.target is not Target.attributes:
        raise InputError(
            f"Corpus '{corpus.name}' has {len(classes)} of the classes of label space '{space.name}' "
            f"({', '.join(space.classes)}); training needs two or more."
        )
    check_target_settings(config, corpus.target)
    reference = read_reference(config, corpus)
    tested = None if reference is corpus else reference.usable(space)[0]
    splits = make_fold_splits(usable, config.dataset, corpus.annotated, tested)
    check_attributes(corpus, classes, [split.train for split in splits])
    for split in splits:
        own = split.train["class"].unique()
        if classes and len(own) == 1 and config.trainer.method is not Method.gradient:
            raise InputError(
                f"The training part of '{corpus.name}' has the class '{own[0]}' alone, and a probe needs two or more; "
                f"choose another split (dataset.split_seed, dataset.folds)."
            )
    if config.dataset.members and scores_itself and splits[0].test.empty:
        raise SetupError("No member of the union has a test part; name a test corpus: 'eval.corpora=[<corpus>]'.")
    verified = partial(read_corpus, config)
    others, unsound = _readable(
        [replace(other, target=corpus.target) for other in other_configs if other.name in at_hand],
        verified,
        needed=not scores_itself,
    )
    unscored = {**missing, **unsound}
    for name, reason in unscored.items():
        say(f"note: '{name}' cannot be scored: {reason}")
    plan = RunPlan(
        *(config, run_folder(config), corpus, space, classes, splits, list(others.values()), scores_itself),
        *(reference, unscored),
    )
    for split in splits:
        evaluation_sets(plan, split)  # an overlap or an empty test part stops the run before the training, not after it
    return plan


def read_reference(config: Config, corpus: Corpus) -> Corpus:
    """Return the training corpus with the labels of `eval.reference`; without that setting, the corpus itself.

    Raises SetupError for a union of corpora, and the errors of `load_corpus`.
    """
    chosen = config.eval.reference
    if chosen is None:
        return corpus
    if config.dataset.members:
        raise SetupError("eval.reference is for one corpus; a union's members may have labels files of their own.")
    file = None if chosen == RELEASE_LABELS else chosen
    return read_corpus(config, replace(config.dataset, label_file=file))


def read_corpus(config: Config, dataset: DatasetConfig) -> Corpus:
    """Return a verified corpus as the backbone reads it. Raises the errors of `load_corpus` and `readable_by`."""
    return readable_by(load_corpus(dataset, progress=verification_bar), vars(config.backbone))


def _readable(
    corpora: list[DatasetConfig], read: Callable[[DatasetConfig], Read], needed: bool
) -> tuple[dict[str, Read], dict[str, str]]:
    """Read test corpora; return them by name, and the reason for each unreadable corpus.

    If a corpus is `needed` and none can be read, raise the first error.
    """
    corpora_read: dict[str, Read] = {}
    errors: dict[str, MeltSerError] = {}
    for corpus in corpora:
        try:
            corpora_read[corpus.name] = read(corpus)
        except MeltSerError as error:
            errors[corpus.name] = error
    if needed and errors and not corpora_read:
        raise next(iter(errors.values()))
    return corpora_read, {name: str(error) for name, error in errors.items()}


def label_space(config: Config, corpus: Corpus) -> LabelSpace:
    """Return the label space of the run; `native` has the emotions of the training corpus."""
    if config.labels.classes is None:
        return LabelSpace.native(corpus.emotions)
    return LabelSpace(config.labels.name, config.labels.classes)


def _classes(corpus: Corpus, space: LabelSpace, usable: pd.DataFrame) -> list[str]:
    """Return the classes to learn, in the order of the space: those of the rows, or those that have a vote."""
    if corpus.target is Target.distribution:
        voted = shares_of(usable, space, list(space.classes)).sum(axis=0) > 0
        return [name for name, has_vote in zip(space.classes, voted, strict=True) if has_vote]
    present = set(usable["class"])
    return [name for name in space.classes if name in present]


def evaluation_sets(plan: RunPlan, split: FoldSplit) -> list[EvaluationSet]:
    """Return the evaluation sets of a fold's model.

    Raises InputError if a set is empty, or has recordings that were trained on and `eval.allow_overlap` is off.
    """
    settings, space, classes = plan.config.eval, plan.space, plan.classes
    trained = pd.concat([split.train, split.dev])
    own = (
        [make_evaluation_set(plan.reference, space, classes, settings, trained, split.test)]
        if plan.scores_itself
        else []
    )
    sentences = script(trained) if plan.others else []
    return own + [
        make_evaluation_set(
            other, space, classes, settings, trained, trained_sentences=sentences, attributes=plan.scales
        )
        for other in plan.others
    ]
