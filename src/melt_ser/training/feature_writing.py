"""The computing and writing of kept features, by all processes of a run together.

They are computed in float32 whatever the precision of the training. Every process writes its share of the clips, the
main one puts the folder in its place; a write that fails in one of them is raised in all, so that none waits for
another.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch.utils.data import DataLoader

from melt_ser.core import files
from melt_ser.core.console import progress
from melt_ser.core.errors import OutputError
from melt_ser.core.memory import memory_advice
from melt_ser.data.batches import Shard, SortedBatches
from melt_ser.data.datasets import WaveformDataset
from melt_ser.data.feature_store import write_description
from melt_ser.data.stage import Stage
from melt_ser.evaluation.inference import exact_products
from melt_ser.models.classifier import SpeechClassifier

BATCH_SECONDS = 60.0  # of audio with padding that is computed at once
Places = list[tuple[str, int, int, int]]  # of clips: name, part, first, count


def on_all_processes(step: Callable[[], object], here: bool = True) -> None:
    """Do a step, in this process if it is for it (`here`); raises OutputError in every process where one raises it."""
    failure = None
    try:
        if here:
            step()
    except OutputError as error:
        failure = (error.path, error.reason)
    for failed in filter(None, gather_object([failure])):
        raise OutputError(*failed)


def write_features(
    folder: Path,
    model: SpeechClassifier,
    prefix: Stage,
    clips: WaveformDataset,
    names: list[str],
    dtype: np.dtype,
    accelerator: Accelerator,
) -> None:
    """Compute the features of clips and keep them in `folder`, whole or not at all.

    names: of each clip. Raises, in every process, OverflowError for what `dtype` does not hold, and OutputError.
    """
    building = folder.with_name(f".{folder.name}")  # under the lock of `folder`, so nobody else's
    part, places = accelerator.process_index, Places()

    def begin() -> None:
        for leftover in (building, folder):  # of a kill, or of a deletion that was cut short
            shutil.rmtree(leftover, ignore_errors=True)
        with files.telling_failed_writes(building):
            building.mkdir()

    def write_share() -> None:
        path, first = building / f"features{part}.bin", 0
        with files.telling_failed_writes(path), path.open("wb") as file:
            for row, features in _computed(model, prefix, clips, accelerator):
                with np.errstate(over="ignore"):
                    stored = features.astype(dtype)
                if not np.isfinite(stored).all():
                    return
                file.write(stored.tobytes())
                places.append((names[row], part, first, len(stored)))
                first += len(stored)

    def finish() -> None:
        rows = pd.DataFrame(all_places, columns=["clip", "part", "first", "count"])
        with files.telling_failed_writes(folder):
            write_description(building, prefix, model.frame_shape(prefix), dtype, rows)
            building.replace(folder)

    try:
        on_all_processes(begin, here=accelerator.is_main_process)
        on_all_processes(write_share)
        all_places = list(itertools.chain(*gather_object([places])))
        if len(all_places) < len(clips):
            raise OverflowError
        on_all_processes(finish, here=accelerator.is_main_process)
    finally:
        if accelerator.is_main_process:
            shutil.rmtree(building, ignore_errors=True)


@torch.no_grad()
def _computed(
    model: SpeechClassifier, prefix: Stage, clips: WaveformDataset, accelerator: Accelerator
) -> Iterator[tuple[int, np.ndarray]]:
    """This process's clips as (row, features), longest first; float32."""
    share = Shard(accelerator.process_index, accelerator.num_processes)
    batches = SortedBatches(clips.seconds, len(clips), share, BATCH_SECONDS)
    generator = torch.Generator()  # a loader draws a number, and what is there already must not change the training
    loader = DataLoader(clips, batch_sampler=batches, collate_fn=clips.collate, generator=generator)
    training = model.training
    model.eval()
    with exact_products(), memory_advice("set cache.features=false"):
        for batch in progress(loader, len(batches), "features of the frozen part"):
            batch = batch.to(accelerator.device)
            features, counts = model.compute_stage(prefix, batch.inputs, batch.lengths)
            for row, own, count in zip(batch.rows.tolist(), features.contiguous().cpu(), counts.tolist(), strict=True):
                yield row, own[:count].numpy()
    model.train(training)
