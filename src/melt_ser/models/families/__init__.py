"""The model families: a module for each kind, found by `backbone.family`.

wav2vec2.py    wav2vec 2.0, HuBERT, WavLM, data2vec, UniSpeech and UniSpeech-SAT
conformer.py   wav2vec 2.0 with conformer layers
w2v_bert.py    w2v-BERT 2.0
filter_bank.py w2v-BERT's input
whisper.py     the encoder of Whisper
log_mel.py     Whisper's input
text.py        encoders of text (BERT, RoBERTa, XLM-RoBERTa, CamemBERT), which read the words in place of audio
egemaps.py     the classic features eGeMAPS, by openSMILE: no weights, no frames

A family of your own is a module with a function `load_backbone`, with the arguments of the function here, that returns
a `melt_ser.models.backbone.Backbone` (CONTRIBUTING.md has an example). It may be any module that Python can import: a
file in the current folder for `python -m melt_ser.<verb>`, or one on PYTHONPATH.

torch is imported by the family's own module, so that an unknown family is told at once.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from melt_ser.audio.egemaps import import_opensmile
from melt_ser.config import BackboneConfig
from melt_ser.core.errors import SetupError
from melt_ser.core.own_modules import import_own
from melt_ser.models.checkpoint_config import MODEL_TYPES

if TYPE_CHECKING:
    from melt_ser.models.backbone import Backbone

MODULES = dict.fromkeys(MODEL_TYPES, "wav2vec2") | {
    "wav2vec2_conformer": "conformer",
    "w2v_bert": "w2v_bert",
    "whisper": "whisper",
    "text": "text",
    "egemaps": "egemaps",
}


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
    if config.layers is not None:
        if config.layers > backbone.number_of_layers:
            raise SetupError(
                f"backbone.layers={config.layers}, but the backbone has {backbone.number_of_layers} layers."
            )
        backbone.keep_layers(config.layers)
    return backbone


def find_family(name: str, key: str = "backbone.family") -> ModuleType:
    """Return the module of a family; raise SetupError if there is none or it is no family.

    key: the setting or option that names the family, for the error.
    """
    if name in MODULES:
        return importlib.import_module(f"{__name__}.{MODULES[name]}")
    return import_own(key, name, "family", MODULES, "load_backbone", "CONTRIBUTING.md")


def check_family(name: str) -> None:
    """Raise the errors of `find_family` and of a missing library, without the import of a family of melt_ser."""
    if name == "egemaps":
        import_opensmile("backbone.family=egemaps")
    if name not in MODULES:
        find_family(name)


def check_trusted(name: str, folder: Path) -> None:
    """Raise SetupError for the family of a saved model that is neither melt_ser's nor imported.

    The name stands in a file, and the file of a stranger must not name code to run.
    """
    if name not in MODULES and name not in sys.modules:
        raise SetupError(
            f"{folder} was trained with backbone.family={name}, a module that is not melt_ser's; if you trust it, "
            f"name it: predict … --family {name}, evaluate … family={name}, load_model(…, family='{name}') in Python."
        )
