"""A published classifier as ours: the encoder of its family, so batch invariant, with its own head.

Two kinds of heads are read, both after the mean over time:

    transformers   `projector` and `classifier`, two linear layers without anything between them: their product is one
                   linear layer; `layer_weights` if config.json says use_weighted_layer_sum
    soxan          `classifier.dense`, tanh, and `classifier.out_proj` or `classifier.output`, as in the code of
                   github.com/m3hrdadfi/soxan; transformers does not know it, and would draw a random head

Other heads are refused, so no weight of an answer is ever random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from melt_ser.config import BackboneConfig, HeadConfig, LastState
from melt_ser.core.errors import SetupError, first_line, one_line
from melt_ser.core.memory import NO_ROOM_FOR_MODEL, memory_advice
from melt_ser.data.stage import Stage
from melt_ser.models.backbone import Backbone
from melt_ser.models.checkpoint_files import CONFIG, naming_settings, shards_of, weights_file
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.families import load_backbone
from melt_ser.models.outputs import Outputs
from melt_ser.models.published_checkpoint import NAMES, PublishedCheckpoint
from melt_ser.models.weights import UNREADABLE, check_finite

PROJECTOR, CLASSIFIER, DENSE = "projector", "classifier", "classifier.dense"
OUTPUTS = ("classifier.out_proj", "classifier.output")
LAYER_WEIGHTS = "layer_weights"


class PublishedClassifier(SpeechClassifier):
    """A classifier whose classes are ours: the probability of a class is the sum over its labels.

    labels: the names of the outputs of its head.
    members: for each class the numbers of its labels. A label in no class is left out, and the others share its
        probability in proportion.
    """

    def __init__(
        self, backbone: Backbone, head: HeadConfig, labels: Sequence[str], members: Mapping[str, Sequence[int]]
    ) -> None:
        super().__init__(backbone, head, labels)
        self.labels = list(labels)
        self.outputs = Outputs(list(members))
        self.members = [list(numbers) for numbers in members.values()]

    def forward(
        self, inputs: Tensor, lengths: Tensor, stage: Stage = Stage.nothing, text: Tensor | None = None
    ) -> Tensor:
        """Return logits of the classes, (batch, classes): their softmax is the renormalised probability."""
        logits = super().forward(inputs, lengths, stage, text)
        return torch.stack([logits[:, numbers].logsumexp(dim=1) for numbers in self.members], dim=1)


def load_published(
    found: PublishedCheckpoint,
    classes: Mapping[str, Sequence[str]],
    last_state: LastState | None = None,
    device: str | torch.device = "cpu",
) -> PublishedClassifier:
    """Load a published classifier, in float32 and in evaluation mode.

    Args:
        found: its files.
        classes: for each class the labels of the classifier that mean it.
        last_state: see `ClassifierConfig.last_state`.
        device: where it computes.

    Raises SetupError if the weights cannot be read, or are not those of a known head.
    """
    with naming_settings(NAMES):
        whisper = {"pad_to_window": True} if found.backbone.family == "whisper" else {}  # as it was trained
        config = BackboneConfig(**(vars(found.backbone) | whisper))
        backbone = load_backbone(config, seed=0)
        weights = weights_file(found.folder, config)
        tensors = _read_head(weights)
        is_weighted = bool(found.described.get("use_weighted_layer_sum"))
        members = {name: [found.labels.index(label) for label in labels] for name, labels in classes.items()}
        head = _head_config(backbone, is_weighted, last_state)
        with torch.random.fork_rng(devices=[]):  # the read weights replace the head's initial ones
            classifier = PublishedClassifier(backbone, head, found.labels, members)
        try:
            _fill(classifier, tensors, found, weights)
        except RuntimeError as error:  # a tensor of another shape
            raise SetupError(
                f"The head in {weights} does not fit {CONFIG} ({first_line(error)}); get both from the same checkpoint."
            ) from error
        check_finite(classifier.head, weights)
    with memory_advice(NO_ROOM_FOR_MODEL):
        return classifier.to(device).eval()


def _head_config(backbone: Backbone, is_weighted: bool, last_state: LastState | None) -> HeadConfig:
    """Return the layers that the head reads; the last state is that of transformers unless `last_state` says it."""
    if not is_weighted:
        return HeadConfig(layers="last")
    states = [HeadConfig(layers="weighted", last_state=state) for state in LastState]
    if last_state is not None:
        return next(head for head in states if head.last_state == last_state)
    return next(head for head in states if backbone.equals_transformers(head))


def _fill(
    classifier: PublishedClassifier, tensors: dict[str, Tensor], found: PublishedCheckpoint, weights: Path
) -> None:
    """Put the weights of a published head into a classifier."""
    head = classifier.head
    output = next((name for name in OUTPUTS if f"{name}.weight" in tensors), None)
    if f"{PROJECTOR}.weight" in tensors and f"{CLASSIFIER}.weight" in tensors:
        first, second = _linear(tensors, PROJECTOR, weights), _linear(tensors, CLASSIFIER, weights)
        both = {
            "weight": second["weight"].double() @ first["weight"].double(),
            "bias": second["weight"].double() @ first["bias"].double() + second["bias"].double(),
        }
        head.output.load_state_dict(both)
        if head.layers == "weighted":
            if LAYER_WEIGHTS not in tensors:
                raise SetupError(f"The weights {weights} lack {LAYER_WEIGHTS}; get them again.")
            head.load_state_dict({LAYER_WEIGHTS: tensors[LAYER_WEIGHTS]}, strict=False)
    elif f"{DENSE}.weight" in tensors and output is not None and head.layers == "last":
        pooling = found.described.get("pooling_mode", "mean")
        if pooling != "mean":
            raise SetupError(
                f"{found.backbone.checkpoint} has pooling_mode '{one_line(str(pooling))}', but only the mean is known "
                "here; choose another classifier."
            )
        dense = nn.Linear(classifier.backbone.hidden_size, classifier.backbone.hidden_size)
        dense.load_state_dict(_linear(tensors, DENSE, weights))
        head.network = nn.Sequential(dense, nn.Tanh())
        head.output.load_state_dict(_linear(tensors, output, weights))
    else:
        raise SetupError(
            f"The weights {weights} have no head that is known here ({PROJECTOR} and {CLASSIFIER}, or {DENSE} and "
            f"{OUTPUTS[0]}); choose a checkpoint of a *ForSequenceClassification."
        )


def _linear(tensors: dict[str, Tensor], name: str, weights: Path) -> dict[str, Tensor]:
    """Return the weight and bias of a linear layer; SetupError if the file lacks the bias."""
    if f"{name}.bias" not in tensors:
        raise SetupError(f"The weights {weights} lack {name}.bias; get them again.")
    return {part: tensors[f"{name}.{part}"].float() for part in ("weight", "bias")}


def _read_head(weights: Path) -> dict[str, Tensor]:
    """Return those tensors of a checkpoint that may belong to a head, by name."""
    found: dict[str, Tensor] = {}
    try:
        for file in shards_of(weights):
            if file.suffix == ".safetensors":
                with safe_open(file, framework="pt") as stored:
                    found |= {name: stored.get_tensor(name) for name in stored.keys() if _is_of_head(name)}  # noqa: SIM118
            else:
                stored = torch.load(file, map_location="cpu", weights_only=True)
                found |= {name: tensor for name, tensor in stored.items() if _is_of_head(name)}
    except (*UNREADABLE, TypeError, AttributeError) as error:
        raise SetupError(f"The weights {weights} cannot be read ({first_line(error)}); get them again.") from error
    return found


def _is_of_head(name: str) -> bool:
    return name == LAYER_WEIGHTS or name.startswith((f"{PROJECTOR}.", f"{CLASSIFIER}."))
