"""Saved models, which plain transformers loads.

A folder holds melt_ser.json (classes, head, format version) beside one of two forms:

    mean pooling, one linear layer   the family's own *ForSequenceClassification with its feature extractor:
                                     pipeline("audio-classification", model=<folder>) gives our answer
    any other head                   the plain backbone, which AutoModel loads, and head.safetensors

The first form's classifier has a projection before the mean, which is saved as the identity; a frozen backbone has a
file of its own there (shards.py). transformers knows nothing of masking.py: give its pipeline one clip at a time, which
is its default.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from melt_ser.audio import SAMPLE_RATE
from melt_ser.config import BackboneConfig, Family, HeadConfig, Layers, Pooling
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.files import replacing_folder, write_json
from melt_ser.core.memory import NO_ROOM_FOR_MODEL, memory_advice
from melt_ser.models.backbone import Backbone, load_backbone
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.shards import copy_model, file_of_the_head, save_in_two
from melt_ser.models.weights import MODEL_TYPES, check_finite, quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FORMAT_VERSION = 1
METADATA = {"format": "pt"}  # as transformers writes it
DESCRIPTION, HEAD_WEIGHTS = "melt_ser.json", "head.safetensors"
FIRST_FORM = {
    "classifier.weight": "output.weight",
    "classifier.bias": "output.bias",
    "layer_weights": "layer_weights",
}
"""Names of the head's weights in transformers' classifier, and in ours."""


def save_model(classifier: SpeechClassifier, folder: Path) -> None:
    """Write the folder, whole or not at all; safetensors only."""
    from transformers import Wav2Vec2FeatureExtractor

    model, head = classifier.backbone.model, classifier.head_config
    family = next(name for name, model_type in MODEL_TYPES.items() if model_type == model.config.model_type)
    description = {
        "format_version": FORMAT_VERSION,
        "family": family,
        "classes": classifier.classes,
        "head": {
            "pooling": Pooling(head.pooling).value,
            "layers": Layers(head.layers).value,
            "hidden_sizes": list(head.hidden_sizes),
            "dropout": head.dropout,
        },
    }
    with replacing_folder(folder) as temporary, quiet_transformers():
        if _has_first_form(head):
            whole = _transformers_classifier(classifier)
            if classifier.backbone.freezing == "everything":
                save_in_two(whole, temporary)
            else:
                whole.save_pretrained(temporary)
        else:
            model.save_pretrained(temporary)
            save_file(_on_cpu(classifier.head.state_dict()), temporary / HEAD_WEIGHTS, METADATA)
        Wav2Vec2FeatureExtractor(
            sampling_rate=SAMPLE_RATE,
            do_normalize=classifier.backbone.do_normalize,
            return_attention_mask=True,
        ).save_pretrained(temporary)
        write_json(temporary / DESCRIPTION, description)


def save_head(classifier: SpeechClassifier, folder: Path, like: Path) -> None:
    """What `save_model` writes, where the model in the folder `like` differs in the weights of its head alone."""
    head = _on_cpu(classifier.head.state_dict())
    with replacing_folder(folder) as temporary:
        copy_model(like, temporary)
        if _has_first_form(classifier.head_config):
            path = file_of_the_head(temporary)
            head = load_file(path) | {theirs: head[ours] for theirs, ours in FIRST_FORM.items() if ours in head}
        else:
            path = temporary / HEAD_WEIGHTS
        path.unlink()  # it may be a link
        save_file(head, path, METADATA)


def load_model(folder: Path, device: str | torch.device = "cpu") -> SpeechClassifier:
    """Read what `save_model` wrote, with the same weights to the bit, in evaluation mode.

    Raises SetupError if the folder is not one of ours or its weights are damaged, InputError if its
    classifier was changed in a way that our head cannot hold.
    """
    description = _read_description(folder)
    family, head, classes = _checked(description, folder / DESCRIPTION)
    backbone = load_backbone(BackboneConfig(family=family, checkpoint=str(folder)), seed=0)
    with torch.random.fork_rng(devices=[]):  # initial weights of the head, which the saved ones replace
        classifier = SpeechClassifier(backbone, head, classes)
    try:
        weights = _read_first_form(folder) if _has_first_form(head) else load_file(folder / HEAD_WEIGHTS)
        classifier.head.load_state_dict(weights)
    except InputError:
        raise
    except Exception as error:  # OSError, SafetensorError, or RuntimeError for weights of another shape
        raise SetupError(f"The head's weights in {folder} cannot be read; save the model again.") from error
    check_finite(classifier.head, folder)
    with memory_advice(NO_ROOM_FOR_MODEL):
        return classifier.to(device).eval()


def _has_first_form(head: HeadConfig) -> bool:
    return Pooling(head.pooling) is Pooling.mean and not head.hidden_sizes


def _transformers_classifier(classifier: SpeechClassifier) -> PreTrainedModel:
    """The family's own classifier around the same weights, which are not copied."""
    from transformers import AutoModelForAudioClassification

    backbone: Backbone = classifier.backbone
    config = copy.deepcopy(backbone.model.config)
    config.id2label = dict(enumerate(classifier.classes))
    config.label2id = {name: number for number, name in config.id2label.items()}
    config.classifier_proj_size = backbone.hidden_size
    config.use_weighted_layer_sum = classifier.head.weighted
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForAudioClassification.from_config(config)
    setattr(model, model.base_model_prefix, backbone.model)
    with torch.random.fork_rng(devices=[]):  # drawn and then overwritten
        model.projector = nn.Linear(backbone.hidden_size, backbone.hidden_size)
        nn.init.eye_(model.projector.weight)
        nn.init.zeros_(model.projector.bias)
    model.classifier = classifier.head.output
    if classifier.head.weighted:
        model.layer_weights = classifier.head.layer_weights
    return model


def _read_first_form(folder: Path) -> dict[str, Tensor]:
    """The head's weights out of transformers' classifier."""
    with safe_open(file_of_the_head(folder), framework="pt") as stored:
        names = set(stored.keys())
        weights = {ours: stored.get_tensor(theirs) for theirs, ours in FIRST_FORM.items() if theirs in names}
        projector = stored.get_tensor("projector.weight")
        changed = not torch.equal(projector, torch.eye(len(projector))) or bool(
            stored.get_tensor("projector.bias").any()
        )
    if changed:
        raise InputError(f"The projector of {folder} was trained since it was saved; load it with transformers.")
    return weights


def _read_description(folder: Path) -> dict[str, Any]:
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


def _checked(description: dict[str, Any], path: Path) -> tuple[Family, HeadConfig, list[str]]:
    """Family, head and classes as `save_model` describes them."""
    try:
        classes, head = description["classes"], description["head"]
        settings = HeadConfig(
            pooling=Pooling(head["pooling"]),
            layers=Layers(head["layers"]),
            hidden_sizes=[int(size) for size in head["hidden_sizes"]],
            dropout=float(head["dropout"]),
        )
        sound = len(classes) > 0 and all(isinstance(name, str) for name in classes)
        sound &= all(0 < size < 2**16 for size in settings.hidden_sizes) and 0 <= settings.dropout < 1
        if sound:
            return Family(description["family"]), settings, list(classes)
    except (ValueError, KeyError, TypeError, OverflowError):
        pass
    raise SetupError(f"{path} does not describe a model of ours; save the model again.")


def _on_cpu(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
