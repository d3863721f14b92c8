"""Saved models, in folders that plain transformers loads.

A folder holds melt_ser.json (classes, head, format version) and one of two forms of the model:

    mean pooling, one linear layer   the family's own *ForSequenceClassification with its feature extractor:
                                     pipeline("audio-classification", model=<folder>) gives our answer
    any other head                   the plain backbone, which AutoModel loads, and head.safetensors

A head that reads state k is a weighted sum in which all other layers weigh 0. Other heads are a sum whose last state
comes after the norm (`head.last_state`; transformers 5 takes the state before the norm), all states side by side, and
a standardised sum. A model of attributes, or of classes learnt each by itself, has the second form too.

A model that reads words beside the audio has the second form, and its text encoder in the folder `text`.

A family that is no transformers model, such as egemaps, has the second form with its own files (`Backbone.save`).

The classifier of the first form has a projection before the mean; it is saved as the identity. transformers lacks
kernels/masking.py, so its answers depend on padding: keep its pipeline's default of one clip at a time.

A frozen backbone of the first form has a file of its own: the weights are split into two, as transformers splits large
ones. The models of many folds share that file by a hard link. Writing it for each fold took a third of the time of
training such heads, and thirty copies of a base model took 11 GB.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from melt_ser.config import BackboneConfig, Pooling
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.files import replacing_folder, write_json
from melt_ser.core.memory import NO_ROOM_FOR_MODEL, memory_advice
from melt_ser.models.backbone import Backbone
from melt_ser.models.checkpoint_files import DESCRIPTION, HEAD_WEIGHTS, SAFE_WEIGHTS, TEXT_ENCODER
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.description import checked, describe, read_description
from melt_ser.models.families import check_trusted, load_backbone
from melt_ser.models.quiet import quiet_transformers
from melt_ser.models.text_encoder import saved_text_vectors
from melt_ser.models.weights import check_finite

if TYPE_CHECKING:
    from transformers import PreTrainedModel

METADATA = {"format": "pt"}  # as transformers writes it
WHOLE, INDEX = SAFE_WEIGHTS
BACKBONE, LEARNED = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
FIRST_FORM = {
    "classifier.weight": "output.weight",
    "classifier.bias": "output.bias",
    "layer_weights": "layer_weights",
}
"""The names of the head's weights in transformers' classifier, and in ours."""


def save_model(classifier: SpeechClassifier, folder: Path, sibling: Path | None = None) -> None:
    """Write the folder, whole or not at all; safetensors only.

    sibling: the saved model of another fold, whose text encoder is the same.

    Raises OutputError if the folder cannot be written.
    """
    backbone = classifier.backbone
    with replacing_folder(folder) as temporary:
        if _has_first_form(classifier):
            with quiet_transformers():
                whole = _transformers_classifier(classifier)
                if backbone.freezing == "everything":
                    _save_in_two(whole, f"{backbone.name_in_classifier}.", temporary)
                else:
                    whole.save_pretrained(temporary)
                backbone.feature_extractor().save_pretrained(temporary)
        else:
            backbone.save(temporary)
            save_file(_on_cpu(classifier.head.state_dict()), temporary / HEAD_WEIGHTS, METADATA)
        if classifier.text is not None:
            (temporary / TEXT_ENCODER).mkdir()
            if sibling is None:
                classifier.text.encoder.save(temporary / TEXT_ENCODER)
            else:
                _copy_model(sibling / TEXT_ENCODER, temporary / TEXT_ENCODER)
        write_json(temporary / DESCRIPTION, describe(classifier))


def save_head(classifier: SpeechClassifier, folder: Path, like: Path) -> None:
    """Write the files of `save_model`, faster: copy or link all but the head from a similar model.

    like: the folder of a saved model that differs only in the head's weights and the state that the head reads.

    Raises OutputError if the folder cannot be written.
    """
    with replacing_folder(folder) as temporary:
        _copy_model(like, temporary)
        if _has_first_form(classifier):
            path = _file_of_the_head(temporary)
            head = load_file(path) | _on_cpu(_first_form(classifier))
        else:
            path = temporary / HEAD_WEIGHTS
            head = _on_cpu(classifier.head.state_dict())
        path.unlink()  # it may be a link
        save_file(head, path, METADATA)
        write_json(temporary / DESCRIPTION, describe(classifier))


def load_model(folder: Path, device: str | torch.device = "cpu") -> SpeechClassifier:
    """Read a folder of `save_model`, with the same weights to the bit, in evaluation mode and with the fast kernels.

    Raises SetupError if the folder is not one of ours or its weights are damaged, InputError if its projection
    was trained with transformers: our head has no projection.
    """
    description = read_description(folder)
    family, head, outputs = checked(description, folder / DESCRIPTION)
    check_trusted(family, folder)
    backbone = load_backbone(
        BackboneConfig(family=family, checkpoint=str(folder), pad_to_window=description.get("pad_to_window") is True),
        seed=0,
    )
    text = saved_text_vectors(folder / TEXT_ENCODER) if description.get("text") is True else None
    with torch.random.fork_rng(devices=[]):  # the saved weights replace the head's initial ones
        classifier = SpeechClassifier(backbone, head, outputs, text)
    try:
        weights = _read_first_form(folder) if _has_first_form(classifier) else load_file(folder / HEAD_WEIGHTS)
        if head.layers != "weighted":
            weights.pop("layer_weights", None)  # of `_one_layer`
        classifier.head.load_state_dict(weights)
    except InputError:
        raise
    except Exception as error:  # OSError, SafetensorError, or RuntimeError for weights of another shape
        raise SetupError(f"The head's weights in {folder} cannot be read; save the model again.") from error
    check_finite(classifier.head, folder)
    with memory_advice(NO_ROOM_FOR_MODEL):
        return classifier.to(device).eval()


def share_backbones(classifiers: Iterable[SpeechClassifier]) -> list[SpeechClassifier]:
    """Make classifiers with equal backbone weights share one backbone; folds of a frozen one differ only in heads.

    They are of one run, so they share the text encoder too, if they have one. They come one at a time, so that at most
    one duplicate backbone is in memory.
    """
    kept: list[SpeechClassifier] = []
    for classifier in classifiers:
        if kept:
            classifier.text = kept[0].text
        weights = classifier.backbone.state_dict()
        for other in kept:
            theirs = other.backbone
            if theirs is classifier.backbone or all(
                torch.equal(weight, weights[name]) for name, weight in theirs.state_dict().items()
            ):
                classifier.backbone = other.backbone
                break
        kept.append(classifier)
    return kept


def _has_first_form(classifier: SpeechClassifier) -> bool:
    head, backbone = classifier.head_config, classifier.backbone
    if classifier.outputs.scales or classifier.outputs.independent:  # the pipeline of transformers takes the softmax
        return False
    if classifier.text is not None:
        return False
    fits = Pooling(head.pooling) is Pooling.mean and not head.hidden_sizes and not head.standardise
    return fits and head.layers != "all" and backbone.equals_transformers(head)


def _first_form(classifier: SpeechClassifier) -> dict[str, Tensor]:
    """Return the head's weights under the names of transformers' classifier."""
    weights = classifier.head.state_dict()
    if isinstance(classifier.head.layers, int):
        weights["layer_weights"] = _one_layer(classifier.head.layers, classifier.backbone.number_of_layers)
    return {theirs: weights[ours] for theirs, ours in FIRST_FORM.items() if ours in weights}


def _one_layer(state: int, number_of_layers: int) -> Tensor:
    """Return weights of a sum, (states,), whose softmax is 1 for one state and 0 for the others."""
    weights = torch.full((number_of_layers + 1,), -1e4)
    weights[state] = 0.0
    return weights


def _transformers_classifier(classifier: SpeechClassifier) -> PreTrainedModel:
    """Return transformers' classifier of the family around the same weights, without a copy of them."""
    from transformers import AutoModelForAudioClassification

    backbone: Backbone = classifier.backbone
    config = copy.deepcopy(backbone.model.config)
    config.id2label = dict(enumerate(classifier.classes))
    config.label2id = {name: number for number, name in config.id2label.items()}
    config.classifier_proj_size = backbone.hidden_size
    config.use_weighted_layer_sum = classifier.head.reads_all
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForAudioClassification.from_config(config)
    setattr(model, backbone.name_in_classifier, backbone.model)
    with torch.random.fork_rng(devices=[]):  # the initial weights are overwritten
        model.projector = nn.Linear(backbone.hidden_size, backbone.hidden_size)
        nn.init.eye_(model.projector.weight)
        nn.init.zeros_(model.projector.bias)
    model.classifier = classifier.head.output
    if classifier.head.reads_all:
        model.layer_weights = nn.Parameter(_first_form(classifier)["layer_weights"])
    return model


def _read_first_form(folder: Path) -> dict[str, Tensor]:
    """Read the head's weights from transformers' classifier."""
    with safe_open(_file_of_the_head(folder), framework="pt") as stored:
        names = set(stored.keys())
        weights = {ours: stored.get_tensor(theirs) for theirs, ours in FIRST_FORM.items() if theirs in names}
        projector = stored.get_tensor("projector.weight")
        changed = not torch.equal(projector, torch.eye(len(projector))) or bool(
            stored.get_tensor("projector.bias").any()
        )
    if changed:
        raise InputError(f"The projector of {folder} was trained since it was saved; load it with transformers.")
    return weights


def _on_cpu(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}


def _save_in_two(model: PreTrainedModel, prefix: str, folder: Path) -> None:
    """Write the files of `model.save_pretrained(folder)`, but put the backbone and the rest in separate files.

    prefix: begins the names of the backbone's weights.
    """
    weights = model.state_dict()
    backbone = {name: weight for name, weight in weights.items() if name.startswith(prefix)}
    learned = {name: weight for name, weight in weights.items() if name not in backbone}
    model.save_pretrained(folder, state_dict=learned)
    (folder / WHOLE).rename(folder / f".{LEARNED}")  # the second save_pretrained deletes the files of the first
    model.save_pretrained(folder, state_dict=backbone)
    (folder / WHOLE).rename(folder / BACKBONE)
    (folder / f".{LEARNED}").rename(folder / LEARNED)
    file_of: dict[str, str] = {}
    for file in (BACKBONE, LEARNED):
        with safe_open(folder / file, framework="pt") as stored:
            file_of |= dict.fromkeys(stored.keys(), file)
    size = sum(weight.nbytes for weight in weights.values())
    write_json(folder / INDEX, {"metadata": {"total_size": size}, "weight_map": file_of})


def _copy_model(source: Path, target: Path) -> None:
    """Copy the files of a model with a frozen backbone; link those with its weights, if the file system can."""
    for file in source.iterdir():
        if file.name == TEXT_ENCODER:
            (target / TEXT_ENCODER).mkdir()
            _copy_model(file, target / TEXT_ENCODER)
        elif file.name not in (WHOLE, BACKBONE) or not _linked(file, target / file.name):
            shutil.copyfile(file, target / file.name)


def _linked(file: Path, link: Path) -> bool:
    try:
        os.link(file, link)
    except OSError:  # a file system without hard links
        return False
    return True


def _file_of_the_head(folder: Path) -> Path:
    """Return the file with a saved classifier's head; like transformers, prefer the file of a whole model."""
    whole = folder / WHOLE
    return whole if whole.exists() else folder / LEARNED
