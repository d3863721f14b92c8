"""Features of a frozen prefix, computed once for a corpus and kept for every fold, epoch and later run.

They are computed in float32 whatever the precision of the training, and stored as float16 where that holds them; the
few pooled ones as float32. Their key covers the weights and settings of the prefix, the audio of the clips, how they
are padded, and `VERSION`; neither names nor labels, so that recordings under several label sources are computed once.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch.utils.data import DataLoader
from xxhash import xxh3_128

from melt_ser import files
from melt_ser.audio import SAMPLE_RATE
from melt_ser.config import CacheConfig
from melt_ser.console import say, steps_bar
from melt_ser.data.audio_cache import clip_names, distinct_clips
from melt_ser.data.batches import Share, SortedBatches
from melt_ser.data.features import Features, FeatureStore, write_description
from melt_ser.data.room import GIB, kept_folder, no_room
from melt_ser.data.utterances import Inputs, Utterances
from melt_ser.evaluation.inference import exact_products
from melt_ser.memory import memory_advice
from melt_ser.models.backbone import Backbone
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.prefix import Prefix, compute_prefix, frame_shape, prefix_modules
from melt_ser.runs import sole_writer

VERSION = 2  # to be raised whenever the same clip would get other features
BATCH_SECONDS = 60.0  # of audio with padding that is computed at once
# Parts of the names of settings of a transformers model that change no frame of a frozen prefix.
WITHOUT_EFFECT = (
    *("drop", "mask_", "spec_augment", "label", "classifier", "weighted_layer_sum", "dtype"),
    *("name_or_path", "architectures", "version"),
)
DIGESTS: WeakKeyDictionary[Backbone, dict[tuple[Any, ...], str]] = WeakKeyDictionary()  # folds may share a backbone


class KeptFeatures:
    """Gives utterances as the kept features of a model's frozen prefix; computes what is missing."""

    def __init__(self, config: CacheConfig, model: SpeechClassifier, prefix: Prefix, accelerator: Accelerator) -> None:
        self.config, self.model, self.prefix, self.accelerator = config, model, prefix, accelerator
        self.folder = kept_folder(config, "features")
        self.used = config.features and prefix is not Prefix.nothing
        self.model_digest = _digest_once(model, prefix) if self.used else ""

    def of(
        self,
        utterances: Utterances,
        table: pd.DataFrame,
        whole: pd.DataFrame,
        read: Callable[[pd.DataFrame], Utterances],
    ) -> Inputs:
        """The utterances of `table` as features, or as they are where features are not to be kept or do not fit.

        whole: all whose features are computed together, those of `table` among them; read: gives the rows of a table.
        """
        if not self.used:
            return utterances
        distinct = distinct_clips(whole)
        names, clips = clip_names(distinct).to_pylist(), read(distinct)
        folder = self.folder / self._key(names, clips)
        with sole_writer(folder, waits=True):
            self.accelerator.wait_for_everyone()
            if not FeatureStore.is_in(folder) and not self._make(folder, clips, names):
                return utterances
            self.accelerator.wait_for_everyone()
        return Features(utterances, table, FeatureStore(folder))

    def _key(self, names: list[str], clips: Utterances) -> str:
        parts = (VERSION, self.model_digest, names, clips.pad_samples, clips.do_normalize)
        return f"{self.prefix.value}-{files.sha256(json.dumps(parts))[:20]}"

    def _make(self, folder: Path, clips: Utterances, names: list[str]) -> bool:
        """Compute and keep; false where that does not fit."""
        for dtype in [np.float32] if self.prefix is Prefix.pooled else [np.float16, np.float32]:
            if not self._fits(folder, clips, np.dtype(dtype)):
                return False
            with contextlib.suppress(OverflowError):  # of float16
                self._write(folder, clips, names, np.dtype(dtype))
                return True
        raise RuntimeError("Features in float32 cannot overflow.")

    def _fits(self, folder: Path, clips: Utterances, dtype: np.dtype) -> bool:
        frames = self.model.backbone.frames_of(torch.tensor(clips.seconds * SAMPLE_RATE).round().long())
        number = len(clips) if self.prefix is Prefix.pooled else int(frames.sum())
        size = number * math.prod(frame_shape(self.model, self.prefix)) * dtype.itemsize
        what = f"features of the frozen part ({self.prefix.value})"
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            reason = no_room(folder, size, self.config)
        except OSError as error:
            reason = f"{folder.parent} cannot be written ({error.strerror}); set cache.folder"
        if reason is None:
            say(f"note: {what} are computed once and kept in {folder} ({size / GIB:.2f} GiB).")
        else:
            say(f"note: {what} are computed anew every epoch: {reason}.")
        return reason is None

    def _write(self, folder: Path, clips: Utterances, names: list[str], dtype: np.dtype) -> None:
        """Every process writes its share, the main one puts the folder in its place."""
        accelerator = self.accelerator
        part = accelerator.process_index
        building = folder.with_name(f".{folder.name}")  # under the lock of `folder`, so nobody else's
        if accelerator.is_main_process:
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir(parents=True)
        accelerator.wait_for_everyone()
        index, first, path = [], 0, building / f"features{part}.bin"
        with files.telling_failed_writes(path), path.open("wb") as file:
            for row, features in self._computed(clips):
                with np.errstate(over="ignore"):
                    stored = features.astype(dtype)
                if not np.isfinite(stored).all():
                    break
                file.write(stored.tobytes())
                index.append((names[row], part, first, len(stored)))
                first += len(stored)
        indices = gather_object([index])
        if sum(map(len, indices)) < len(clips):
            raise OverflowError
        if accelerator.is_main_process:
            rows = pd.DataFrame(list(itertools.chain(*indices)), columns=["clip", "part", "first", "count"])
            write_description(building, self.prefix, frame_shape(self.model, self.prefix), dtype, rows)
            with files.telling_failed_writes(folder):
                building.replace(folder)

    @torch.no_grad()
    def _computed(self, clips: Utterances) -> Iterator[tuple[int, np.ndarray]]:
        """This process's clips as (row, features), longest first; float32."""
        accelerator = self.accelerator
        share = Share(accelerator.process_index, accelerator.num_processes)
        batches = SortedBatches(clips.seconds, len(clips), share, BATCH_SECONDS)
        generator = torch.Generator()  # a loader draws a number, and what is there already must not change the training
        loader = DataLoader(clips, batch_sampler=batches, collate_fn=clips.collate, generator=generator)
        training = self.model.training
        self.model.eval()
        with exact_products(), memory_advice("set cache.features=false"):
            for batch in steps_bar(loader, len(batches), "features of the frozen part"):
                batch = batch.to(accelerator.device)
                features, counts = compute_prefix(self.model, self.prefix, batch.inputs, batch.lengths)
                for row, own, count in zip(
                    batch.rows.tolist(), features.contiguous().cpu(), counts.tolist(), strict=True
                ):
                    yield row, own[:count].numpy()
        self.model.train(training)


def _digest_once(model: SpeechClassifier, prefix: Prefix) -> str:
    """`digest_of`, which takes as long as 30 steps of a head: what is frozen does not change while its model lives."""
    known = DIGESTS.setdefault(model.backbone, {})
    key = (prefix, model.backbone.freezing, frame_shape(model, prefix))
    if key not in known:
        known[key] = digest_of(model, prefix)
    return known[key]


def digest_of(model: SpeechClassifier, prefix: Prefix) -> str:
    """A digest of the weights and settings of a prefix."""
    settings = model.backbone.model.config.to_dict()
    relevant = {key: value for key, value in settings.items() if not any(word in key for word in WITHOUT_EFFECT)}
    total = xxh3_128(
        json.dumps([prefix.value, frame_shape(model, prefix), relevant], sort_keys=True, default=str).encode()
    )
    for module in prefix_modules(model.backbone, prefix):
        for name, tensor in module.state_dict().items():
            total.update(f"{name} {tuple(tensor.shape)}".encode())
            total.update(tensor.detach().cpu().contiguous().numpy())
    return total.hexdigest()
