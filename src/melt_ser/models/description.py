"""The description of a saved model, `melt_ser.json`: its format version, family, classes and head."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from melt_ser.config import LAYERS, HeadConfig, LastState, Pooling
from melt_ser.core.errors import SetupError, one_line
from melt_ser.corpora.labels import RESERVED
from melt_ser.models.checkpoint_files import DESCRIPTION
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.outputs import Outputs

FORMAT_VERSION = 5  # the newest; a model is written in the lowest version that can describe it


def describe(classifier: SpeechClassifier) -> dict[str, Any]:
    """Return the content of melt_ser.json.

    Version 2 added the key `last_state`; version 3 the pooling "statistics", state k, all states and `standardise`;
    version 4 `scales` (of attributes) and `independent` (classes); version 5 `text` (vectors of words).
    """
    head = classifier.head_config
    described: dict[str, Any] = {
        "pooling": Pooling(head.pooling).value,
        "layers": head.layers,
        "hidden_sizes": list(head.hidden_sizes),
        "dropout": head.dropout,
    }
    version = 1
    if LastState(head.last_state) is LastState.after_norm:
        described["last_state"] = LastState.after_norm.value
        version = 2
    if head.standardise:
        described["standardise"] = True
    if head.standardise or head.layers not in ("last", "weighted") or Pooling(head.pooling) is Pooling.statistics:
        version = 3
    outputs: dict[str, Any] = {}
    if classifier.outputs.scales:
        outputs["scales"] = {name: list(scale) for name, scale in classifier.outputs.scales.items()}
    if classifier.outputs.independent:
        outputs["independent"] = True
    version = 4 if outputs else version
    if classifier.text is not None:
        outputs["text"] = True
        version = 5
    return {
        "format_version": version,
        "family": classifier.backbone.family,
        "classes": classifier.classes,
        **outputs,
        "head": described,
        **classifier.backbone.options,
    }


def read_description(folder: Path) -> dict[str, Any]:
    """Return the content of a model folder's melt_ser.json; raise SetupError if it is missing, damaged or too new."""
    path = folder / DESCRIPTION
    try:
        description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = int(description["format_version"])
    except FileNotFoundError as error:
        raise SetupError(f"{folder} has no {DESCRIPTION}; give the model folder of a finished run.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{path} cannot be read; save the model again.") from error
    if version > FORMAT_VERSION:
        raise SetupError(f"{folder} has format version {version}, newer than {FORMAT_VERSION}; update melt_ser.")
    return description


def checked(description: dict[str, Any], path: Path) -> tuple[str, HeadConfig, Outputs]:
    """Return family, head and outputs from the description; raise SetupError if `save_model` cannot have written it."""
    try:
        classes, head = description["classes"], description["head"]
        settings = HeadConfig(
            pooling=Pooling(head["pooling"]),
            layers=head["layers"],
            last_state=LastState(head.get("last_state", LastState.before_norm)),
            standardise=bool(head.get("standardise", False)),
            hidden_sizes=[int(size) for size in head["hidden_sizes"]],
            dropout=float(head["dropout"]),
        )
        layers = settings.layers
        is_word = layers in LAYERS and layers != "chosen"  # a finished probe has the number
        sound = is_word or (type(layers) is int and layers >= 0)
        scales = {str(name): (float(low), float(high)) for name, (low, high) in description.get("scales", {}).items()}
        outputs = Outputs(list(classes), scales, description.get("independent") is True)
        sound &= len(outputs) > 0 and all(isinstance(name, str) for name in classes)
        sound &= all(-math.inf < low < high < math.inf for low, high in scales.values())
        sound &= all(0 < size < 2**16 for size in settings.hidden_sizes) and 0 <= settings.dropout < 1
        if sound:
            _check_names(outputs.names, path)
            return str(description["family"]), settings, outputs
    except (ValueError, KeyError, TypeError, OverflowError):
        pass
    raise SetupError(f"{path} does not describe a model of ours; save the model again.")


def _check_names(names: list[str], path: Path) -> None:
    """Raise SetupError if the name of an output is empty, unprintable, used twice, or another column of predictions."""
    for number, name in enumerate(names):
        fault = ""
        if name in names[:number]:
            fault = " twice"
        elif name in RESERVED:
            fault = ", which is also a column of predictions"
        elif name != one_line(name).strip() or not name:
            fault = ", which is no name"
        if fault:
            raise SetupError(
                f"{path} has the output '{one_line(name)}'{fault}; train the model again with other names."
            )
