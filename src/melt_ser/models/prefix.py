"""The frozen prefix: the first part of a classifier that neither learns nor draws at random, a function of the clip.

    prefix        features of a clip                                what comes after
    nothing       (samples,): the waveform itself                   everything
    convolution   (frames, channels) of the waveform encoder        projection, positions, transformer, head
    layers        (frames, features), input of the lowest learning  the layers from there on, head
                  layer
    states        (frames, states, features), all the head reads    head
    pooled        (1, states, features), their means                head: mean pooling commutes with the layer sum

`classifier(audio, lengths)` equals `classifier(*compute_prefix(...), after=prefix)` up to rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from melt_ser.data.stage import Stage
from melt_ser.models.backbone import BackboneOutput, mask_of
from melt_ser.models.pooling import MeanPooling

if TYPE_CHECKING:
    from melt_ser.models.backbone import Backbone
    from melt_ser.models.classifier import Head, SpeechClassifier


def frozen_stage(classifier: SpeechClassifier, crops: bool) -> Stage:
    """The longest prefix that a classifier's freezing allows.

    crops: whether clips are cropped at random, which cuts frames of the prefix and so needs them unpooled.
    """
    backbone, head = classifier.backbone, classifier.head
    if backbone.freezing == "nothing":
        return Stage.nothing
    if backbone.freezing == "everything":
        return Stage.pooled if isinstance(head.pooling, MeanPooling) and not crops else Stage.states
    config = backbone.model.config
    random = config.layerdrop > 0 or max(config.mask_time_prob, config.mask_feature_prob) > 0
    # A weighted sum reads the frozen layers too.
    whole_layers = isinstance(backbone.freezing, int) and not random and not head.weighted
    return Stage.layers if whole_layers else Stage.convolution


@torch.no_grad()
def compute_stage(classifier: SpeechClassifier, prefix: Stage, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Features, (batch, frames, ...), and each utterance's number of frames, (batch,), of audio, (batch, samples)."""
    backbone = classifier.backbone
    if prefix is Stage.nothing:
        return audio, lengths
    convolved, frame_mask = backbone.convolve(audio, lengths)
    counts = backbone.frames_of(lengths)
    if prefix is Stage.convolution:
        return convolved, counts
    hidden = backbone.embed(convolved, frame_mask)
    if prefix is Stage.layers:
        return backbone.layers(hidden, frame_mask, 0, layers_below(backbone))[-1], counts
    states = read_states(classifier.head, backbone.transform(hidden, frame_mask, 0, classifier.head.weighted))
    if prefix is Stage.states:
        return states, counts
    total = states.masked_fill(~frame_mask[:, :, None, None], 0.0).sum(dim=1, keepdim=True)
    return total / frame_mask.sum(dim=1)[:, None, None, None], torch.ones_like(counts)


def frame_shape(classifier: SpeechClassifier, prefix: Stage) -> tuple[int, ...]:
    """The shape of one frame of the features of a prefix."""
    backbone = classifier.backbone
    if prefix is Stage.convolution:
        return (int(backbone.model.config.conv_dim[-1]),)
    if prefix is Stage.layers:
        return (backbone.hidden_size,)
    return (backbone.number_of_layers + 1 if classifier.head.weighted else 1, backbone.hidden_size)


def stage_modules(backbone: Backbone, prefix: Stage) -> list[nn.Module]:
    """The modules whose weights a prefix is a function of."""
    return [backbone.model.feature_extractor] if prefix is Stage.convolution else backbone.frozen


def continue_from(prefix: Stage, classifier: SpeechClassifier, features: Tensor, counts: Tensor) -> BackboneOutput:
    """What the head reads, from the features of a prefix."""
    backbone, weighted = classifier.backbone, classifier.head.weighted
    if prefix is Stage.nothing:
        whole: BackboneOutput = backbone(features, counts, output_hidden_states=weighted)
        return whole
    frame_mask = mask_of(counts, features.shape[1], features.device)
    features = features.float()
    if prefix is Stage.convolution:
        return backbone.transform(backbone.embed(features, frame_mask), frame_mask, 0, weighted)
    if prefix is Stage.layers:
        return backbone.transform(features, frame_mask, layers_below(backbone), weighted)
    states = features.unbind(dim=2)
    return BackboneOutput(states[-1], states if weighted else None, frame_mask)


def read_states(head: Head, output: BackboneOutput) -> Tensor:
    """All that a head reads of a backbone, (batch, frames, states, features)."""
    states = output.hidden_states if head.weighted else (output.last_hidden_state,)
    assert states is not None
    return torch.stack(states, dim=2)


def layers_below(backbone: Backbone) -> int:
    """The number of the lowest learning layer."""
    assert isinstance(backbone.freezing, int)
    return backbone.freezing


def crop_at_random(
    features: Tensor, counts: Tensor, rows: Tensor, frames: int, seed: int, epoch: int
) -> tuple[Tensor, Tensor]:
    """Features of a batch in which no utterance has more than `frames` frames, and the new counts.

    Where the window of a longer one begins is a function of seed, epoch and row.
    """
    if int(counts.max()) <= frames:
        return features, counts
    cropped = features[:, :frames].clone()
    for position, (row, count) in enumerate(zip(rows.tolist(), counts.tolist(), strict=True)):
        if count > frames:
            first = int(np.random.default_rng([seed, epoch, row]).integers(count - frames + 1))
            cropped[position] = features[position, first : first + frames]
    return cropped, counts.clamp(max=frames)
