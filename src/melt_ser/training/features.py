"""Features of a frozen prefix, computed once for a corpus and kept for every fold, epoch and later run.

They are stored as float16 where that holds them; the few pooled ones as float32. Their key covers the weights and
settings of the prefix, the audio of the clips, how they are padded, and `VERSION`; neither names nor labels, so that
recordings under several label sources are computed once.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from xxhash import xxh3_128

from melt_ser.audio import SAMPLE_RATE
from melt_ser.config import CacheConfig
from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import OutputError
from melt_ser.core.locks import exclusive_lock
from melt_ser.data.audio_cache import clip_names, distinct_clips
from melt_ser.data.cache_budget import GIB, kept_folder, why_not_cached
from melt_ser.data.datasets import ClipDataset, WaveformDataset
from melt_ser.data.feature_store import FeatureDataset, FeatureStore
from melt_ser.data.stage import Stage
from melt_ser.models.backbone import Backbone
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.training.feature_writing import on_all_processes, write_features

VERSION = 2  # to be raised whenever the same clip would get other features
# Parts of the names of settings of a transformers model that change no frame of a frozen prefix.
WITHOUT_EFFECT = (
    *("drop", "mask_", "spec_augment", "label", "classifier", "weighted_layer_sum", "dtype"),
    *("name_or_path", "architectures", "version"),
)
DIGESTS: WeakKeyDictionary[Backbone, dict[tuple[Any, ...], str]] = WeakKeyDictionary()  # folds may share a backbone


class KeptFeatures:
    """Gives utterances as the kept features of a model's frozen prefix; computes what is missing."""

    def __init__(
        self,
        config: CacheConfig,
        model: SpeechClassifier,
        prefix: Stage,
        accelerator: Accelerator,
        not_kept: set[Path],
    ) -> None:
        """not_kept: what could not be kept earlier in this run, nor is to be tried again; added to."""
        self.config, self.model, self.prefix, self.accelerator = config, model, prefix, accelerator
        self.folder = kept_folder(config, "features")
        self.used = config.features and prefix is not Stage.nothing
        self.not_kept = not_kept
        self.model_digest = _digest_once(model, prefix) if self.used else ""

    def of(
        self,
        utterances: WaveformDataset,
        table: pd.DataFrame,
        whole: pd.DataFrame,
        read: Callable[[pd.DataFrame], WaveformDataset],
    ) -> ClipDataset:
        """The utterances of `table` as features, or as they are where features are not to be kept or do not fit.

        whole: all whose features are computed together, those of `table` among them; read: gives the rows of a table.
        """
        if not self.used:
            return utterances
        distinct = distinct_clips(whole)
        names, clips = clip_names(distinct).to_pylist(), read(distinct)
        folder = self.folder / self._key(names, clips)
        if not self._is_there(folder) and folder not in self.not_kept:
            self._try_to_keep(folder, clips, names)
        return FeatureDataset(utterances, table, FeatureStore(folder)) if self._is_there(folder) else utterances

    def _is_there(self, folder: Path) -> bool:
        """The same answer in every process."""
        return all(gather_object([FeatureStore.is_in(folder)]))

    def _key(self, names: list[str], clips: WaveformDataset) -> str:
        parts = (VERSION, self.model_digest, names, clips.pad_samples, clips.do_normalize)
        return f"{self.prefix.value}-{files.sha256(json.dumps(parts))[:20]}"

    def _try_to_keep(self, folder: Path, clips: WaveformDataset, names: list[str]) -> None:
        """Compute and keep, unless another job does so meanwhile; or say why not."""
        try:
            with contextlib.ExitStack() as stack:
                on_all_processes(lambda: stack.enter_context(exclusive_lock(folder, waits=True)))
                reason = None if self._is_there(folder) else self._compute(folder, clips, names)
        except OutputError as error:
            reason = f"{self.folder} cannot be written ({error.reason}); set cache.folder"
        if reason is not None:
            self.not_kept.add(folder)
            say(f"note: features of the frozen part ({self.prefix.value}) are computed anew every epoch: {reason}.")

    def _compute(self, folder: Path, clips: WaveformDataset, names: list[str]) -> str | None:
        """Compute and keep; why they do not fit, or None. Raises OutputError where they cannot be written."""
        for dtype in map(np.dtype, [np.float32] if self.prefix is Stage.pooled else [np.float16, np.float32]):
            size = self._frames(clips) * math.prod(self.model.frame_shape(self.prefix)) * dtype.itemsize
            main = self.accelerator.is_main_process
            reason: str | None = gather_object([why_not_cached(folder, size, self.config) if main else None])[0]
            if reason is not None:
                return reason
            say(
                f"note: features of the frozen part ({self.prefix.value}) are computed once and kept in {folder} "
                f"({size / GIB:.2f} GiB)."
            )
            with contextlib.suppress(OverflowError):  # of float16
                write_features(folder, self.model, self.prefix, clips, names, dtype, self.accelerator)
                return None
        raise RuntimeError("Features in float32 cannot overflow.")

    def _frames(self, clips: WaveformDataset) -> int:
        """How many frames the clips have, all together."""
        if self.prefix is Stage.pooled:
            return len(clips)
        return int(self.model.backbone.frames_of(torch.tensor(clips.seconds * SAMPLE_RATE).round().long()).sum())


def _digest_once(model: SpeechClassifier, prefix: Stage) -> str:
    """`digest_of`, which takes as long as 30 steps of a head: what is frozen does not change while its model lives."""
    known = DIGESTS.setdefault(model.backbone, {})
    key = (prefix, model.backbone.freezing, model.frame_shape(prefix))
    if key not in known:
        known[key] = digest_of(model, prefix)
    return known[key]


def digest_of(model: SpeechClassifier, prefix: Stage) -> str:
    """A digest of the weights and settings of a prefix."""
    settings = model.backbone.model.config.to_dict()
    relevant = {key: value for key, value in settings.items() if not any(word in key for word in WITHOUT_EFFECT)}
    total = xxh3_128(
        json.dumps([prefix.value, model.frame_shape(prefix), relevant], sort_keys=True, default=str).encode()
    )
    for module in model.stage_modules(prefix):
        for name, tensor in module.state_dict().items():
            total.update(f"{name} {tuple(tensor.shape)}".encode())
            total.update(tensor.detach().cpu().contiguous().numpy())
    return total.hexdigest()
