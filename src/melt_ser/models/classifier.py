"""A classifier of speech: a backbone, and a head that maps its frames to one logit per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from melt_ser.config import HeadConfig, LastState
from melt_ser.core.errors import SetupError, did_you_mean
from melt_ser.data.stage import Stage
from melt_ser.models.backbone import Backbone, BackboneOutput, mask_of
from melt_ser.models.pooling import POOLINGS, MeanPooling

LAYERS = ("last", "weighted")
LAST_STATES = tuple(state.value for state in LastState)


class Head(nn.Module):
    """Map the frames of a backbone to logits: choose layers, pool, apply linear layers.

    layers="last" reads `last_hidden_state`. layers="weighted" reads the sum of all `hidden_states` (the input
    of the transformer and the output of every layer) with learned scalar weights, the softmax of
    `layer_weights` (Yang et al., "SUPERB", Interspeech 2021). last_state="after_norm" replaces the last of them by
    `last_hidden_state`. The initial weights are drawn from torch's global random state.
    """

    def __init__(self, config: HeadConfig, features: int, number_of_layers: int, classes: int) -> None:
        super().__init__()
        pooling = _checked("head.pooling", config.pooling, POOLINGS)
        self.weighted = _checked("head.layers", config.layers, LAYERS) == "weighted"
        last_state = _checked("head.last_state", config.last_state, LAST_STATES)
        self.normalised = last_state == "after_norm"
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
        """Return logits, (batch, classes), in float32 even if the backbone ran in a lower precision."""
        with torch.autocast(backbone.last_hidden_state.device.type, enabled=False):
            pooled = self.pooling(self._frames(backbone), backbone.frame_mask)
            logits: Tensor = self.output(self.network(pooled))
            return logits

    def states(self, backbone: BackboneOutput) -> tuple[Tensor, ...]:
        """Return the states that the head reads, each (batch, frames, features)."""
        if not self.weighted:
            return (backbone.last_hidden_state,)
        assert backbone.hidden_states is not None
        return (*backbone.hidden_states[:-1], backbone.last_hidden_state) if self.normalised else backbone.hidden_states

    def _frames(self, backbone: BackboneOutput) -> Tensor:
        states = self.states(backbone)
        if not self.weighted:
            return states[0].float()
        weights = self.layer_weights.softmax(dim=0)
        frames = torch.zeros_like(backbone.last_hidden_state, dtype=torch.float32)
        for weight, state in zip(weights, states, strict=True):
            frames = torch.addcmul(frames, weight, state.float())
        return frames


class SpeechClassifier(nn.Module):
    """Return the logits of utterances. They depend neither on padding nor on the other utterances of the batch.

    The frozen first part of the model can run on its own, up to a `Stage`: for every `stage` that `frozen_stage`
    allows, `classifier(audio, lengths)` equals `classifier(*compute_stage(stage, audio, lengths), stage)` up to
    rounding. So the output of the frozen part can be computed once and cached.
    """

    def __init__(self, backbone: Backbone, head: HeadConfig, classes: Sequence[str]) -> None:
        super().__init__()
        if head.layers == "weighted" and backbone.layer_drop > 0:
            raise SetupError("head.layers=weighted needs every layer's output; set backbone.layer_drop=0.")
        if head.layers != "weighted" or not backbone.normalises_last:
            head = replace(head, last_state=LastState.before_norm)  # both are the same
        self.backbone = backbone
        self.head_config = head
        self.classes = list(classes)
        self.head = Head(head, backbone.hidden_size, backbone.number_of_layers, len(self.classes))

    def forward(self, inputs: Tensor, lengths: Tensor, stage: Stage = Stage.nothing) -> Tensor:
        """Return logits, (batch, classes).

        Args:
            inputs: audio, (batch, samples), padded by `pad_together`, or the output of `compute_stage`,
                (batch, frames, ...).
            lengths: samples or frames of each utterance, (batch,).
            stage: the stage of `inputs`; the model continues from there.
        """
        logits: Tensor = self.head(self.continue_from(stage, inputs, lengths))
        return logits

    def frozen_stage(self, crops: bool) -> Stage:
        """Return the last stage that is frozen and draws nothing at random.

        crops: whether utterances are cropped at random. A crop selects frames, so they must not be pooled yet.
        """
        backbone, head = self.backbone, self.head
        if backbone.freezing == "nothing":
            return Stage.nothing
        if backbone.freezing == "everything":
            return Stage.pooled if isinstance(head.pooling, MeanPooling) and not crops else Stage.states
        random = backbone.layer_drop > 0 or backbone.masks_input
        # A weighted sum reads the frozen layers too.
        whole_layers = isinstance(backbone.freezing, int) and not random and not head.weighted
        return Stage.layers if whole_layers else Stage.convolution

    @torch.no_grad()
    def compute_stage(self, stage: Stage, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Run the model on audio, (batch, samples), up to a stage.

        Return the features, (batch, frames, ...), and the number of frames of each utterance, (batch,).
        """
        backbone = self.backbone
        if stage is Stage.nothing:
            return audio, lengths
        convolved, frame_mask = backbone.convolve(audio, lengths)
        counts = backbone.frames_of(lengths)
        if stage is Stage.convolution:
            return convolved, counts
        hidden = backbone.embed(convolved, frame_mask)
        if stage is Stage.layers:
            return backbone.layers(hidden, frame_mask, 0, self._lowest_learning_layer)[-1], counts
        states = torch.stack(self.head.states(backbone.transform(hidden, frame_mask, 0, self.head.weighted)), dim=2)
        if stage is Stage.states:
            return states, counts
        total = states.masked_fill(~frame_mask[:, :, None, None], 0.0).sum(dim=1, keepdim=True)
        return total / frame_mask.sum(dim=1)[:, None, None, None], torch.ones_like(counts)

    def frame_shape(self, stage: Stage) -> tuple[int, ...]:
        """Return the shape of one frame of a stage's features."""
        backbone = self.backbone
        if stage is Stage.convolution:
            return (backbone.channels,)
        if stage is Stage.layers:
            return (backbone.hidden_size,)
        return (backbone.number_of_layers + 1 if self.head.weighted else 1, backbone.hidden_size)

    def stage_modules(self, stage: Stage) -> list[nn.Module]:
        """Return the modules that compute a stage's features."""
        return self.backbone.convolution if stage is Stage.convolution else self.backbone.frozen

    def continue_from(self, stage: Stage, features: Tensor, counts: Tensor) -> BackboneOutput:
        """Run the rest of the backbone on the features of a stage; return the input of the head."""
        backbone, weighted = self.backbone, self.head.weighted
        if stage is Stage.nothing:
            whole: BackboneOutput = backbone(features, counts, output_hidden_states=weighted)
            return whole
        frame_mask = mask_of(counts, features.shape[1], features.device)
        features = features.float()
        if stage is Stage.convolution:
            return backbone.transform(backbone.embed(features, frame_mask), frame_mask, 0, weighted)
        if stage is Stage.layers:
            return backbone.transform(features, frame_mask, self._lowest_learning_layer, weighted)
        states = features.unbind(dim=2)
        return BackboneOutput(states[-1], states if weighted else None, frame_mask)

    @property
    def _lowest_learning_layer(self) -> int:
        assert isinstance(self.backbone.freezing, int)
        return self.backbone.freezing


def logits_of_all(
    classifiers: Sequence[SpeechClassifier], inputs: Tensor, lengths: Tensor, stage: Stage = Stage.nothing
) -> list[Tensor]:
    """Return the logits of each classifier, (batch, classes); a shared backbone is computed once.

    inputs, lengths, stage: as for `SpeechClassifier.forward`.
    """
    if len(classifiers) == 1:  # training in a lower precision wraps the classifier's own call
        return [classifiers[0](inputs, lengths, stage)]
    outputs: dict[tuple[int, bool], BackboneOutput] = {}
    logits = []
    for classifier in classifiers:
        key = (id(classifier.backbone), classifier.head.weighted)
        if key not in outputs:
            outputs[key] = classifier.continue_from(stage, inputs, lengths)
        logits.append(classifier.head(outputs[key]))
    return logits


def _checked(key: str, value: str, choices: Sequence[str] | dict[str, type]) -> str:
    """Return a setting's value, an enumeration or a word, as plain text; raise SetupError if it is not in `choices`."""
    word = str(getattr(value, "value", value))
    if word not in choices:
        raise SetupError(f"{key}={word} is unknown; {did_you_mean(word, choices)}")
    return word
