"""The feature cache: the output of a model's frozen stage, computed once for a corpus.

Every fold, epoch and later run reads it. Features are stored as float16 if it can hold them; the few pooled features
are stored as float32. They are computed in float32, even if training has another precision.

The key of a cached corpus covers the weights and settings of the frozen stage, the audio of the clips, their crops and
padding, and `VERSION`. It covers neither names nor labels, so recordings with labels of several sources are computed
once.

All processes of a run write together: each computes its shard of the clips, and the main one puts the folder in its
place. If a write fails in one process, all raise the error, so that none waits for another.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from xxhash import xxh3_128

from melt_ser.config import CacheConfig
from melt_ser.core import files
from melt_ser.core.console import progress, say
from melt_ser.core.errors import OutputError
from melt_ser.core.locks import exclusive_lock
from melt_ser.core.memory import memory_advice
from melt_ser.data.audio_cache import distinct_clips
from melt_ser.data.batches import Shard, SortedBatches
from melt_ser.data.cache_budget import size_text, subfolder, why_not_cached
from melt_ser.data.datasets import ClipDataset
from melt_ser.data.feature_store import FeatureDataset, FeatureStore, crops_of, feature_names, write_description
from melt_ser.data.loading import AheadLoader
from melt_ser.data.stage import Stage
from melt_ser.evaluation.inference import exact_products
from melt_ser.models.backbone import Backbone
from melt_ser.models.classifier import SpeechClassifier

VERSION = 2  # increase it if a code change gives a clip other features
BATCH_SECONDS = 60.0  # seconds of audio, padding included, in one batch
# Settings of a transformers model with one of these words in their name do not change the frames of a frozen stage.
WITHOUT_EFFECT = (
    *("drop", "mask_", "spec_augment", "label", "classifier", "weighted_layer_sum", "dtype"),
    *("name_or_path", "architectures", "version"),
)
DIGESTS: WeakKeyDictionary[Backbone, dict[tuple[Any, ...], str]] = WeakKeyDictionary()  # folds may share a backbone
Result = TypeVar("Result")
Place = tuple[str, int, int, int]  # of a clip's features: its name, part, first frame, number of frames


class FeatureCache:
    """Replace utterances by the cached features of a model's frozen stage; compute those that are missing."""

    def __init__(
        self,
        config: CacheConfig,
        model: SpeechClassifier,
        stage: Stage,
        accelerator: Accelerator,
        failed_folders: set[Path],
    ) -> None:
        """Prepare the cache.

        Args:
            config: the folder of the cache and its size limit.
            model: the model to compute features with, on the accelerator's device.
            stage: the frozen stage of the model.
            accelerator: the process and device that compute.
            failed_folders: cache folders that could not be written earlier in this run. They are not tried again;
                a new failure is added.
        """
        self.config, self.model, self.stage, self.accelerator = config, model, stage, accelerator
        self.folder = subfolder(config, "features")
        self.used = config.features and stage is not Stage.nothing
        self.failed_folders = failed_folders
        self.model_digest = _digest_once(model, stage) if self.used else ""

    def features_of(
        self,
        utterances: ClipDataset,
        table: pd.DataFrame,
        whole: pd.DataFrame,
        read: Callable[[pd.DataFrame], ClipDataset],
    ) -> ClipDataset:
        """Return utterances as cached features, or unchanged if the cache is off or cannot hold them.

        Args:
            utterances: the rows of `table`, decoded, cropped and padded; of crops there may be a few of each clip.
            table: a part of a corpus table.
            whole: the table of clips to compute features for together; it includes the rows of `table`.
            read: returns the utterances of a table, cropped and padded as `utterances` are.
        """
        if not self.used:
            return utterances
        distinct = crops_of(distinct_clips(whole), utterances.crop)
        names = feature_names(distinct)
        folder = self.folder / self._key(names, utterances)
        if not self._is_cached(folder) and folder not in self.failed_folders:
            self._try_to_fill(folder, read(distinct), names)
        return FeatureDataset(utterances, table, FeatureStore(folder)) if self._is_cached(folder) else utterances

    def _is_cached(self, folder: Path) -> bool:
        """Say whether the features are in `folder` for every process; all processes get the same answer."""
        return all(gather_object([FeatureStore.is_in(folder)]))

    def _key(self, names: list[str], clips: ClipDataset) -> str:
        parts: tuple[Any, ...] = (VERSION, self.model_digest, names, clips.pad_samples, clips.do_normalize)
        if clips.pad_samples:
            parts += ("padded after normalisation",)
        if clips.crop is not None:
            parts += (clips.crop.seconds, clips.crop.places)
        return f"{self.stage.value}-{files.sha256(json.dumps(parts))[:20]}"

    def _try_to_fill(self, folder: Path, clips: ClipDataset, names: list[str]) -> None:
        """Compute and write features, unless another job has just done so; print the reason if this fails."""
        try:
            with contextlib.ExitStack() as stack:
                on_all_processes(lambda: stack.enter_context(exclusive_lock(folder, waits=True)))
                reason = None if self._is_cached(folder) else self._fill(folder, clips, names)
        except OutputError as error:
            reason = f"{self.folder} cannot be written ({error.reason}); set cache.folder"
        if reason is not None:
            self.failed_folders.add(folder)
            say(f"note: features of the frozen part ({self.stage.value}) are computed anew every epoch: {reason}.")

    def _fill(self, folder: Path, clips: ClipDataset, names: list[str]) -> str | None:
        """Compute and write features; return the reason if they do not fit. Raises OutputError if a write fails."""
        for dtype in map(np.dtype, [np.float32] if self.stage is Stage.pooled else [np.float16, np.float32]):
            size = self._count_frames(clips) * math.prod(self.model.frame_shape(self.stage)) * dtype.itemsize
            main = self.accelerator.is_main_process
            reason: str | None = gather_object([why_not_cached(folder, size, self.config) if main else None])[0]
            if reason is not None:
                return reason
            say(
                f"note: features of the frozen part ({self.stage.value}) are computed once and cached in {folder} "
                f"({size_text(size)})."
            )
            with contextlib.suppress(OverflowError):  # float16 overflows; then float32 is tried
                self._write(folder, clips, names, dtype)
                return None
        raise RuntimeError("Features in float32 cannot overflow.")

    def _count_frames(self, clips: ClipDataset) -> int:
        """Return the number of frames of all clips together."""
        if self.stage is Stage.pooled:
            return len(clips)
        return int(self.model.frames_of(self.stage, clips.lengths).sum())

    def _write(self, folder: Path, clips: ClipDataset, names: list[str], dtype: np.dtype) -> None:
        """Compute the features of clips and write them to `folder`, whole or not at all; the caller holds its lock.

        names: the name of each clip, see `feature_names`; dtype: the type to store.

        Raises, in every process, OverflowError if `dtype` cannot hold a feature, and OutputError if a write fails.
        """
        building = folder.with_name(f".{folder.name}")
        main = self.accelerator.is_main_process
        try:
            on_all_processes(lambda: _make_empty(building, folder) if main else None)
            places = on_all_processes(lambda: self._write_part(building, clips, names, dtype))
            rows = pd.DataFrame(list(itertools.chain(*places)), columns=["clip", "part", "first", "count"])
            if len(rows) < len(clips):
                raise OverflowError
            on_all_processes(lambda: self._finish(building, folder, dtype, rows) if main else None)
        finally:
            if main:
                shutil.rmtree(building, ignore_errors=True)

    def _write_part(self, building: Path, clips: ClipDataset, names: list[str], dtype: np.dtype) -> list[Place]:
        """Write this process's part of the features; stop before a clip that `dtype` cannot hold."""
        part, first, places = self.accelerator.process_index, 0, list[Place]()
        path = building / f"features{part}.bin"
        with files.telling_failed_writes(path), path.open("wb") as file:
            for row, features in self._compute(clips):
                with np.errstate(over="ignore"):
                    stored = features.astype(dtype)
                if not np.isfinite(stored).all():
                    break
                file.write(stored.tobytes())
                places.append((names[row], part, first, len(stored)))
                first += len(stored)
        return places

    def _finish(self, building: Path, folder: Path, dtype: np.dtype, rows: pd.DataFrame) -> None:
        """Describe the written parts and rename the folder to its final name."""
        with files.telling_failed_writes(folder):
            write_description(building, self.stage, self.model.frame_shape(self.stage), dtype, rows)
            building.replace(folder)

    @torch.no_grad()
    def _compute(self, clips: ClipDataset) -> Iterator[tuple[int, np.ndarray]]:
        """Yield this process's clips as (row, features in float32), longest first."""
        model, device = self.model, self.accelerator.device
        shard = Shard(self.accelerator.process_index, self.accelerator.num_processes)
        batches = SortedBatches(clips.seconds, len(clips), shard, BATCH_SECONDS)
        # A loader draws a random number. Its own generator keeps the filling of the cache from changing the training.
        loader = AheadLoader(clips, batches, device.type == "cuda", generator=torch.Generator())
        training = model.training
        model.eval()
        with exact_products(), memory_advice("set cache.features=false"):
            for batch in progress(loader, len(batches), "features of the frozen part"):
                batch = batch.to(device)
                features, counts = model.compute_stage(self.stage, batch.inputs, batch.lengths)
                own_features = features.contiguous().cpu()
                for row, own, count in zip(batch.rows.tolist(), own_features, counts.tolist(), strict=True):
                    yield row, own[:count].numpy()
        model.train(training)


def on_all_processes(step: Callable[[], Result]) -> list[Result]:
    """Run a step in every process and return the results of all; an OutputError of one is raised in all."""
    result, failure = None, None
    try:
        result = step()
    except OutputError as error:
        failure = (error.path, error.reason, error.fix)
    outcomes = gather_object([(result, failure)])
    for _, failed in outcomes:
        if failed is not None:
            raise OutputError(*failed)
    return [result for result, _ in outcomes]


def _make_empty(building: Path, folder: Path) -> None:
    """Make the folder to write in; delete what a killed run or an interrupted deletion left."""
    for leftover in (building, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    with files.telling_failed_writes(building):
        building.mkdir()


def _digest_once(model: SpeechClassifier, stage: Stage) -> str:
    """Return `digest_of`, computed once: it takes as long as 30 steps of a head, and frozen weights do not change."""
    known = DIGESTS.setdefault(model.backbone, {})
    key = (stage, model.backbone.freezing, model.frame_shape(stage), model.head.normalised)
    if key not in known:
        known[key] = digest_of(model, stage)
    return known[key]


def digest_of(model: SpeechClassifier, stage: Stage) -> str:
    """Return a digest of the weights and settings of a frozen stage."""
    settings = model.backbone.settings
    relevant = {key: value for key, value in settings.items() if not any(word in key for word in WITHOUT_EFFECT)}
    read: list[Any] = [stage.value, model.frame_shape(stage), relevant]
    if model.head.normalised:
        read.append("the last state after the norm")
    total = xxh3_128(json.dumps(read, sort_keys=True, default=str).encode())
    for module in model.stage_modules(stage):
        for name, tensor in module.state_dict().items():
            total.update(f"{name} {tuple(tensor.shape)}".encode())
            total.update(tensor.detach().cpu().contiguous().numpy())
    return total.hexdigest()
