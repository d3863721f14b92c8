"""A backbone and a head: waveforms to one logit a class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from melt_ser.config import HeadConfig
from melt_ser.core.errors import SetupError, did_you_mean
from melt_ser.data.stage import Stage
from melt_ser.models.backbone import Backbone, BackboneOutput
from melt_ser.models.pooling import POOLINGS
from melt_ser.models.prefix import continue_from

LAYERS = ("last", "weighted")


class Head(nn.Module):
    """The frames of a backbone to logits: choice of layers, pooling, linear layers.

    layers="last" reads `last_hidden_state`. layers="weighted" reads the sum of all `hidden_states` (the input
    of the transformer and the output of every layer) with learned scalar weights, the softmax of
    `layer_weights` (Yang et al., "SUPERB", Interspeech 2021); in models with a stable layer norm those come
    before the final norm. Its initial weights are drawn from torch's global random state.
    """

    def __init__(self, config: HeadConfig, features: int, number_of_layers: int, classes: int) -> None:
        super().__init__()
        pooling = _checked("head.pooling", config.pooling, POOLINGS)
        self.weighted = _checked("head.layers", config.layers, LAYERS) == "weighted"
        if self.weighted:
            states = number_of_layers + 1
            self.layer_weights = nn.Parameter(torch.full((states,), 1.0 / states))
        self.pooling = POOLINGS[pooling](features)
        width, layers = features * self.pooling.multiplier, list[nn.Module]()
        for size in config.hidden_sizes:
            layers += [nn.Dropout(config.dropout), nn.Linear(width, size), nn.ReLU()]
            width = size
        self.network = nn.Sequential(*layers, nn.Dropout(config.dropout))
        self.output = nn.Linear(width, classes)

    def forward(self, backbone: BackboneOutput) -> Tensor:
        """Logits, (batch, classes), in float32 also where the backbone ran in a lower precision."""
        with torch.autocast(backbone.last_hidden_state.device.type, enabled=False):
            pooled = self.pooling(self._frames(backbone), backbone.frame_mask)
            logits: Tensor = self.output(self.network(pooled))
            return logits

    def _frames(self, backbone: BackboneOutput) -> Tensor:
        if not self.weighted:
            return backbone.last_hidden_state.float()
        assert backbone.hidden_states is not None
        weights = self.layer_weights.softmax(dim=0)
        frames = torch.zeros_like(backbone.last_hidden_state, dtype=torch.float32)
        for weight, state in zip(weights, backbone.hidden_states, strict=True):
            frames = torch.addcmul(frames, weight, state.float())
        return frames


class SpeechClassifier(nn.Module):
    """Logits of utterances, which depend neither on padding nor on the other utterances of the batch."""

    def __init__(self, backbone: Backbone, head: HeadConfig, classes: Sequence[str]) -> None:
        super().__init__()
        if head.layers == "weighted" and backbone.model.config.layerdrop > 0:
            raise SetupError("head.layers=weighted needs every layer's output; set backbone.layer_drop=0.")
        self.backbone = backbone
        self.head_config = head
        self.classes = list(classes)
        self.head = Head(head, backbone.hidden_size, backbone.number_of_layers, len(self.classes))

    def forward(self, inputs: Tensor, lengths: Tensor, after: Stage = Stage.nothing) -> Tensor:
        """Logits, (batch, classes).

        inputs: audio, (batch, samples), with lengths, (batch,): see `pad_together`; or the features that
            `compute_stage` made of it, with their numbers of frames, and that prefix as `after`.
        """
        logits: Tensor = self.head(continue_from(after, self, inputs, lengths))
        return logits


def _checked(key: str, value: str, choices: Sequence[str] | dict[str, type]) -> str:
    """The value of a setting as plain text, whether it came as an enumeration or as a word."""
    word = str(getattr(value, "value", value))
    if word not in choices:
        raise SetupError(f"{key}={word} is unknown; {did_you_mean(word, choices)}")
    return word
