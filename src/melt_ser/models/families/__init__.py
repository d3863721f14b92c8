"""The model families: a module for each kind, found by `backbone.family`.

wav2vec2.py    wav2vec 2.0, HuBERT, WavLM and data2vec
whisper.py     the encoder of Whisper
log_mel.py     Whisper's input

A family of your own is a module with a function `load_backbone`, with the arguments of the function here, that returns
a `melt_ser.models.backbone.Backbone` (CONTRIBUTING.md has an example). It may be any module that Python can import: a
file in the current folder for `python -m melt_ser.<verb>`, or one on PYTHONPATH.

torch is imported by the family's own module, so that an unknown family is told at once.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from melt_ser.config import BackboneConfig
from melt_ser.core.own_modules import import_own
from melt_ser.models.checkpoint_config import MODEL_TYPES

if TYPE_CHECKING:
    from melt_ser.models.backbone import Backbone

MODULES = {family: "whisper" if family == "whisper" else "wav2vec2" for family in MODEL_TYPES}


def load_backbone(
    config: BackboneConfig, seed: int, time_mask_probability: float = 0.0, feature_mask_probability: float = 0.0
) -> Backbone:
    """Build the backbone of a configuration, in float32 on the CPU; the global random state stays as it was.

    Args:
        config: the settings of the backbone.
        seed: seeds random weights, if `config.checkpoint` is None.
        time_mask_probability, feature_mask_probability: SpecAugment's shares of masked frames and features.

    Raises SetupError, one sentence with the fix, if the family is unknown, or the checkpoint cannot be found, read or
    built.
    """
    family = find_family(config.family)
    backbone: Backbone = family.load_backbone(config, seed, time_mask_probability, feature_mask_probability)
    return backbone


def find_family(name: str) -> ModuleType:
    """Return the module of a family; raise SetupError if there is none or it is no family."""
    if name in MODULES:
        return importlib.import_module(f"{__name__}.{MODULES[name]}")
    return import_own("backbone.family", name, "family", MODULES, "load_backbone", "CONTRIBUTING.md")


def check_family(name: str) -> None:
    """Raise the errors of `find_family`, without the import of a family of melt_ser."""
    if name not in MODULES:
        find_family(name)
