"""The inputs of one fold's model: audio or words, or cached features of its frozen stage."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial

import pandas as pd
from accelerate import Accelerator

from melt_ser.audio.augment import Crop
from melt_ser.core.vocabulary import READ_WORDS
from melt_ser.corpora.fold_split import FoldSplit
from melt_ser.data.audio_cache import AudioCache, open_audio_cache
from melt_ser.data.datasets import ClipDataset
from melt_ser.data.stage import Stage
from melt_ser.data.words import named_by_words
from melt_ser.evaluation.evaluation_sets import EvaluationSet
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.runs.plan import RunPlan
from melt_ser.runs.utterances import read_utterances
from melt_ser.training.features import FeatureCache


def open_cache(plan: RunPlan) -> AudioCache | None:
    """Return the cache of the corpus' decoded clips; None if it is off, or if the backbone reads words."""
    if plan.config.backbone.family in READ_WORDS:
        return None
    return open_audio_cache(plan.corpus.name, plan.corpus.table, plan.config.cache)


class FoldInputs:
    """The inputs of one fold's model: audio or words, or cached features of its frozen stage (see data/stage.py).

    Features are computed once for a corpus, for the utterances of all folds. Test utterances are read anew, so that the
    reported answers are those of the saved model. Pooled features are the exception: they are stored in float32 and
    give the same answers.
    """

    def __init__(
        self,
        plan: RunPlan,
        split: FoldSplit,
        model: SpeechClassifier,
        accelerator: Accelerator,
        cache: AudioCache | None = None,
    ) -> None:
        """Prepare the inputs.

        Args:
            plan: the run.
            split: the train, dev and test utterances of the fold.
            model: the fold's model, on the accelerator's device.
            accelerator: the process and device that compute features.
            cache: decoded clips of the training corpus; missing clips are added. None: decode each time.
        """
        self.plan, self.split, self.model, self.accelerator, self.cache = plan, split, model, accelerator, cache
        trainer = plan.config.trainer
        self.reads_words = model.backbone.reads_words
        seconds = None if self.reads_words else trainer.crop_seconds  # words are not cropped
        cut = seconds is not None and bool((plan.utterances["duration"] > seconds).any())
        self.crop = Crop(seconds, trainer.crop_places) if seconds else None
        draws = plan.config.augment.masks_input or plan.config.backbone.layer_drop > 0
        self.stage = model.frozen_stage(crops=cut and trainer.crop_places is None, draws=draws)
        if trainer.crop_places is None and self.stage is not Stage.nothing:
            self.crop = None  # `fit` crops the features of the frozen stage
        self.feature_cache = FeatureCache(plan.config.cache, model, self.stage, accelerator, plan.failed_folders)

    def train(self) -> ClipDataset:
        """Return the utterances to train on, augmented and cropped."""
        config, trainer, augmentation = self.plan.config, self.plan.config.trainer, self.plan.augmentation
        pad_seconds = trainer.crop_seconds if trainer.pad_to_crop else None
        utterances = read_utterances(
            self.model,
            self.split.train,
            self.plan.corpus,
            augment=augmentation,
            crop=self.crop,
            pad_seconds=pad_seconds,
            seed=config.seed,
            cache=self.cache,
        )
        if not augmentation.changes_nothing:
            return utterances
        read = partial(self._read, crop=self.crop, pad_seconds=pad_seconds)
        return self._features_of(utterances, self.split.train, self.plan.utterances, read)

    @cached_property
    def dev(self) -> ClipDataset:
        """Return the dev utterances."""
        return self._cached_features(self.split.dev)

    def test(self, evaluation_set: EvaluationSet) -> ClipDataset:
        """Return the utterances of an evaluation set."""
        table = evaluation_set.table
        if evaluation_set.corpus is self.plan.corpus:
            return self._cached_features(table) if self.stage is Stage.pooled else self._read(table)

        def read(rows: pd.DataFrame) -> ClipDataset:
            return read_utterances(self.model, rows, evaluation_set.corpus)

        utterances = read(table)
        if self.stage is not Stage.pooled:
            return utterances
        return self._features_of(utterances, table, table, read)

    def _cached_features(self, table: pd.DataFrame) -> ClipDataset:
        return self._features_of(self._read(table), table, self.plan.utterances, self._read)

    def _features_of(
        self,
        utterances: ClipDataset,
        table: pd.DataFrame,
        whole: pd.DataFrame,
        read: Callable[[pd.DataFrame], ClipDataset],
    ) -> ClipDataset:
        """Do as `FeatureCache.features_of` does; utterances are the same clip if what the model reads is the same."""
        if self.reads_words:
            table, whole = named_by_words(table), named_by_words(whole)
        return self.feature_cache.features_of(utterances, table, whole, read)

    def _read(self, table: pd.DataFrame, crop: Crop | None = None, pad_seconds: float | None = None) -> ClipDataset:
        """Return rows of the training corpus, without augmentation."""
        return read_utterances(
            self.model, table, self.plan.corpus, crop=crop, pad_seconds=pad_seconds, cache=self.cache
        )
