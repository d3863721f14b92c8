"""A model's weights in two files, as transformers splits large ones: a frozen backbone, and what learned.

So the models of many folds share one file of the backbone, by a hard link: it was a third of the time of training such
heads to write it again, and thirty of a base model took 11 GB.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open

from melt_ser.core.files import write_json
from melt_ser.models.pretrained import SAFE_WEIGHTS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WHOLE, INDEX = SAFE_WEIGHTS
BACKBONE, LEARNED = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def save_in_two(model: PreTrainedModel, folder: Path) -> None:
    """`model.save_pretrained(folder)` in two files."""
    weights, prefix = model.state_dict(), f"{model.base_model_prefix}."
    of_backbone = {name: weight for name, weight in weights.items() if name.startswith(prefix)}
    learned = {name: weight for name, weight in weights.items() if name not in of_backbone}
    model.save_pretrained(folder, state_dict=learned)
    (folder / WHOLE).rename(folder / f".{LEARNED}")  # save_pretrained deletes what was saved before
    model.save_pretrained(folder, state_dict=of_backbone)
    (folder / WHOLE).rename(folder / BACKBONE)
    (folder / f".{LEARNED}").rename(folder / LEARNED)
    places: dict[str, str] = {}
    for file in (BACKBONE, LEARNED):
        with safe_open(folder / file, framework="pt") as stored:
            places |= dict.fromkeys(stored.keys(), file)
    size = sum(weight.nbytes for weight in weights.values())
    write_json(folder / INDEX, {"metadata": {"total_size": size}, "weight_map": places})


def copy_model(source: Path, target: Path) -> None:
    """Copy the files of a model with a frozen backbone into another folder; the backbone's file is shared."""
    for file in source.iterdir():
        if file.name not in (WHOLE, BACKBONE) or not _linked(file, target / file.name):
            shutil.copyfile(file, target / file.name)


def _linked(file: Path, link: Path) -> bool:
    try:
        os.link(file, link)
    except OSError:  # a file system without hard links
        return False
    return True


def file_of_the_head(folder: Path) -> Path:
    """Where a saved classifier's head is; a whole file is read first, as by transformers."""
    whole = folder / WHOLE
    return whole if whole.exists() else folder / LEARNED
