"""Choose the utterances to score a model on: those of a corpus that have a class of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from melt_ser.config import RELEASE_LABELS, Config, DatasetConfig, EvalConfig, ScorePrecision, Target
from melt_ser.core.errors import InputError
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.grouping import groups_of
from melt_ser.corpora.labels import LabelSpace
from melt_ser.corpora.ratings import ATTRIBUTE
from melt_ser.corpora.sentences import shared_sentences_note
from melt_ser.corpora.splits import LISTED_FOLDS
from melt_ser.corpora.targets import WITHOUT, shares_of
from melt_ser.corpora.word_table import word_notes

SHARE = "share_"  # begins the columns with the shares of the votes


@dataclass
class EvaluationSet:
    """The utterances of a corpus to score.

    split: train, dev, test, or all for the whole corpus.
    table: the rows of the utterances, with `class` and `trained_on` (whether the model was trained on the utterance).
    corpus_classes: the model's classes that the whole corpus has.
    dropped: the number of utterances that are left out, by reason.
    space: maps the labels of the corpus, and of its raters, to classes.
    notes: sentences about limits of the scores.
    precision: the number format in which the answers are computed.
    """

    corpus: Corpus
    split: str
    table: pd.DataFrame
    corpus_classes: list[str]
    dropped: dict[str, int]
    space: LabelSpace
    notes: list[str] = field(default_factory=list)
    precision: ScorePrecision = ScorePrecision.fp32

    @property
    def name(self) -> str:
        return self.corpus.name

    @property
    def scales(self) -> dict[str, tuple[float, float]]:
        """Return the scale of each attribute of the corpus."""
        return {} if self.corpus.ratings is None else self.corpus.ratings.scales

    @property
    def overlap(self) -> int:
        """Return how many of the set's recordings the model was trained on."""
        return int(self.table["trained_on"].sum())


def other_corpora(config: Config, load_dataset: Callable[[str], DatasetConfig]) -> list[DatasetConfig]:
    """Return the settings of the corpora to test a run on, without its training corpus.

    load_dataset: returns the settings of a corpus by its name.
    """
    roots = {**config.dataset.roots, **config.eval.roots}
    names = [name for name in config.eval.corpora or [] if name != config.dataset.name]
    loaded = [(name, load_dataset(name)) for name in names]
    return [replace(other, root=roots.get(name, other.root)) for name, other in loaded]


def make_evaluation_set(
    corpus: Corpus,
    space: LabelSpace,
    classes: list[str],
    settings: EvalConfig,
    trained: pd.DataFrame,
    test: pd.DataFrame | None = None,
    trained_sentences: Collection[str] = (),
    attributes: Collection[str] = (),
) -> EvaluationSet:
    """Choose the part of a corpus to score.

    Args:
        corpus: the corpus.
        space: maps the labels of the corpus to classes.
        classes: the classes of the model.
        settings: `eval` of the configuration.
        trained: the rows of train and dev. A clip of another corpus counts as trained on if they have its `source` or
            its samples (`content_hash`); its name does not matter.
        test: the fold's own test part, for the model's training corpus. None: `eval.split` is scored, or the whole
            corpus if it lacks that split or is cut into folds.
        trained_sentences: the sentences of a scripted training corpus (corpora/sentences.py).
        attributes: those of the model.

    Raises InputError if nothing is left, if the corpus has none of the model's attributes, or if recordings were
    trained on and `eval.allow_overlap` is off.
    """
    unknown = [name for name in attributes if ATTRIBUTE + name not in corpus.table]
    if attributes and len(unknown) == len(attributes):
        raise InputError(f"'{corpus.name}' has none of the model's attributes ({', '.join(attributes)}).")
    used, _ = corpus.usable(space)
    if classes:
        used = used[used["class"].isin(classes)]
    used, corpus_classes = _with_shares(corpus, used, space, classes)
    split = split_to_score(corpus, settings) if test is None else "test"
    rows = _with_left_out(corpus, used, test) if test is not None else _rows(corpus, split)
    table = used[used["utterance"].isin(rows["utterance"])]
    if table.empty:
        raise InputError(
            f"No utterance of '{corpus.name}' ({split}) has a class of the model ({', '.join(classes)}); "
            f"check eval.split and the label space."
            if classes
            else f"No utterance of '{corpus.name}' ({split}) has an attribute; check eval.split."
        )
    known = table["source"].isin(trained["source"])
    if test is None:  # copies within the training corpus only get a warning (see corpora/fold_split.py)
        known |= table["content_hash"].isin(trained["content_hash"])
    overlap = int(known.sum())
    if overlap and not settings.allow_overlap:
        raise InputError(
            f"{overlap} of the {len(table)} recordings of '{corpus.name}' ({split}) were trained on; score another "
            f"split, or set eval.allow_overlap=true to score them anyway and record their number in the result."
        )
    dropped = _dropped(corpus, rows, table, space, classes)
    of_another = [*shared_sentences_note(table, trained_sentences), *word_notes(corpus.notes)]
    notes = of_another if test is None else _reference_note(corpus, settings)
    if unknown:
        notes = [*notes, f"'{corpus.name}' has no {', '.join(unknown)}, which is therefore not scored."]
    if settings.precision is not ScorePrecision.fp32:
        notes = [*notes, f"Computed in {settings.precision.value} (eval.precision), not in float32: scores may differ."]
    table = table.assign(trained_on=known).reset_index(drop=True)
    return EvaluationSet(corpus, split, table, corpus_classes, dropped, space, notes, settings.precision)


def _with_shares(
    corpus: Corpus, used: pd.DataFrame, space: LabelSpace, classes: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows, with a column `share_<class>` of each class if votes are the target, and the corpus' classes."""
    if corpus.target is not Target.distribution:
        present = set(used["class"])
        return used, [name for name in classes if name in present]
    shares = shares_of(used, space, classes)
    voted = shares.sum(axis=0) > 0
    columns = {SHARE + name: shares[:, number] for number, name in enumerate(classes)}
    return used.assign(**columns), [name for name, has_vote in zip(classes, voted, strict=True) if has_vote]


def _reference_note(corpus: Corpus, settings: EvalConfig) -> list[str]:
    """Return a sentence on the labels that a training corpus is scored against, if `eval.reference` names them."""
    chosen = settings.reference
    if chosen is None:
        return []
    labels = "the labels of the release" if chosen == RELEASE_LABELS else Path(chosen).name
    return [f"The test part is scored against {labels} (eval.reference)."]


def split_to_score(corpus: Corpus, settings: EvalConfig) -> str:
    """Return `eval.split`, or all if the corpus lacks that split or is cut into folds."""
    has_split = corpus.config.folds is None and (corpus.table["split"] == settings.split).any()
    return settings.split if has_split else "all"


def _rows(corpus: Corpus, split: str) -> pd.DataFrame:
    return corpus.table if split == "all" else corpus.table[corpus.table["split"] == split]


def _with_left_out(corpus: Corpus, used: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """Return a fold's test part and the unused rows that belong to it, so that these can be counted.

    With a release's own split, a row belongs to the test part if its split is test; otherwise, if its group (such as
    its speaker) is in the test part. For folds of the release, EmoBox's lists and unions this is not known.
    """
    config = corpus.config
    if config.members or config.folds in LISTED_FOLDS:
        return test
    rest = corpus.table[~corpus.table["utterance"].isin(used["utterance"])]
    if config.folds is None and (corpus.table["split"] != "").any():
        return pd.concat([test, rest[rest["split"] == "test"]])
    return pd.concat([test, rest[groups_of(rest, config.group).isin(groups_of(test, config.group))]])


def _dropped(
    corpus: Corpus, rows: pd.DataFrame, table: pd.DataFrame, space: LabelSpace, classes: list[str]
) -> dict[str, int]:
    """Count by reason the rows that are not scored, and the rows and files of the release that the corpus leaves out.

    Args:
        corpus: the corpus.
        rows: all rows of the part to score.
        table: the rows that are scored.
        space: maps labels to classes.
        classes: the classes of the model.
    """
    left_out = corpus.table[corpus.table["utterance"].isin(rows["utterance"])]
    left_out = left_out[~left_out["utterance"].isin(table["utterance"])]
    reasons = Counter[str]()
    if corpus.target in WITHOUT:
        reasons += Counter({WITHOUT[corpus.target]: len(left_out)})
        left_out = left_out.iloc[:0]
    has_class = space.classify(left_out["emotion"]).isin(classes)
    by_other = "dataset.both_labels: the label of the other source is no class of the model"
    reasons += Counter({by_other: int(has_class.sum())})
    for label, emotion in left_out.loc[~has_class, ["label", "emotion"]].itertuples(index=False):
        reasons[f"label '{label}' is {'not used' if emotion is None else f'no class of the model ({emotion})'}"] += 1
    for reason in corpus.dropped["reason"]:
        reasons[f"clip refused: {reason.split(':')[0]}"] += 1
    return dict(reasons)


def are_the_same(evaluation_sets: Sequence[EvaluationSet]) -> bool:
    """Return whether all sets have the same utterances, as when several models are tested on one corpus."""
    first, *others = [evaluation_set.table["utterance"] for evaluation_set in evaluation_sets]
    return all(first.equals(other) for other in others)
