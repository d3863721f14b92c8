"""A classifier of speech: a backbone, and a head that maps its frames to one logit per class or attribute.

It may read the words of the utterances too (`backbone.text`): their vectors are an input of the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from melt_ser.config import HeadConfig, LastState, Pooling
from melt_ser.core.errors import SetupError
from melt_ser.data.stage import Stage
from melt_ser.models.backbone import Backbone, BackboneOutput
from melt_ser.models.head import Head, checked_layers
from melt_ser.models.kernels.masking import mask_of
from melt_ser.models.outputs import Outputs
from melt_ser.models.text_vectors import TextVectors


class SpeechClassifier(nn.Module):
    """Return the logits of utterances. They depend neither on padding nor on the other utterances of the batch.

    The frozen first part of the model can run on its own, up to a `Stage`: for every `stage` that `frozen_stage`
    allows, `classifier(audio, lengths)` equals `classifier(*compute_stage(stage, audio, lengths), stage)` up to
    rounding. So the output of the frozen part can be computed once and cached.
    """

    uncertainties: nn.Parameter | None

    def __init__(
        self,
        backbone: Backbone,
        head: HeadConfig,
        outputs: Outputs | Sequence[str],
        text: TextVectors | None = None,
    ) -> None:
        """Put a new head on a backbone.

        outputs: those of the model, or the names of its classes if it has no others. text: gives the vectors of words
        that the head reads beside the audio; None: it reads the audio alone.
        """
        super().__init__()
        if head.layers != "last" and backbone.layer_drop > 0:
            raise SetupError(f"head.layers={head.layers} needs every layer's output; set backbone.layer_drop=0.")
        if not backbone.has_frames:
            checked_layers(head.layers, backbone.number_of_layers)
            head = replace(head, pooling=Pooling.mean, layers="last")  # the mean of one frame is the frame
        if head.layers == "last" or not backbone.normalises_last:
            head = replace(head, last_state=LastState.before_norm)  # both are the same
        self.backbone = backbone
        self.register_parameter("uncertainties", None)  # of classes and attributes, while their weights are learnt
        self.outputs = outputs if isinstance(outputs, Outputs) else Outputs(list(outputs))
        self.text = text
        self.set_head(head)

    @property
    def classes(self) -> list[str]:
        """Return the classes, in the order of their outputs."""
        return list(self.outputs.classes)

    def set_head(self, config: HeadConfig) -> None:
        """Replace the head by a new one."""
        backbone = self.backbone
        self.head_config = config
        features = backbone.output_size if config.layers == "last" else backbone.hidden_size
        of_text = self.text.features if self.text is not None else 0
        self.head = Head(config, features, backbone.number_of_layers, len(self.outputs), of_text).to(backbone.device)

    def fold_standardisation(self) -> None:
        """Put the standardisation of the pooled features into the first linear layer; the logits stay the same.

        A weighted sum keeps it, since it standardises each state before the sum.
        """
        head = self.head
        if not head.standardises or head.layers == "weighted":
            return
        weights = head.state_dict()
        shift, scale = (
            torch.cat([weights.pop(name).double().flatten() for name in (kind, f"text_{kind}") if name in weights])
            for kind in ("shift", "scale")
        )
        first = "network.1" if self.head_config.hidden_sizes else "output"
        weight = weights[f"{first}.weight"].double() / scale
        weights[f"{first}.weight"] = weight.float()
        weights[f"{first}.bias"] = (weights[f"{first}.bias"].double() - weight @ shift).float()
        self.set_head(replace(self.head_config, standardise=False))
        self.head.load_state_dict(weights)

    def forward(
        self, inputs: Tensor, lengths: Tensor, stage: Stage = Stage.nothing, text: Tensor | None = None
    ) -> Tensor:
        """Return logits, (batch, outputs).

        Args:
            inputs: audio, (batch, samples), padded by `pad_together`, or the output of `compute_stage`,
                (batch, frames, ...).
            lengths: samples or frames of each utterance, (batch,).
            stage: the stage of `inputs`; the model continues from there.
            text: the vector of each utterance's words, (batch, features), if the model reads them.
        """
        logits: Tensor = self.head(replace(self.continue_from(stage, inputs, lengths), text=text))
        return logits

    def frozen_stage(self, crops: bool, draws: bool = False) -> Stage:
        """Return the last stage that is frozen and draws nothing at random.

        Args:
            crops: whether utterances are cropped at random. A crop selects frames, so they must not be pooled yet.
            draws: whether the training skips layers or masks their input at random, which a saved model does not know.
        """
        backbone, head = self.backbone, self.head
        if backbone.freezing == "nothing":
            return Stage.nothing
        if backbone.freezing == "everything":
            return Stage.pooled if head.pooling.is_fixed and not crops else Stage.states
        random = draws or backbone.layer_drop > 0 or backbone.masks_input
        # A head that reads several layers reads the frozen ones too.
        whole_layers = isinstance(backbone.freezing, int) and not random and not head.reads_all
        before_layers = Stage.nothing if backbone.reads_words else Stage.convolution  # token ids are no features
        return Stage.layers if whole_layers else before_layers

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
        output = backbone.transform(hidden, frame_mask, 0, self.head.reads_all)
        states = self.head.states(output)
        if stage is Stage.states:
            return torch.stack(states, dim=2), self.frames_of(stage, lengths)
        pooled = torch.stack([self.head.pooling(state, output.frame_mask) for state in states], dim=1)
        return pooled[:, None], torch.ones_like(counts)

    def frames_of(self, stage: Stage, lengths: Tensor) -> Tensor:
        """Return the numbers of frames at a stage, before a pooling, for these lengths in samples, (batch,)."""
        frames = self.backbone.frames_of(lengths)
        return self.backbone.output_frames(frames) if stage is Stage.states and not self.head.reads_all else frames

    def frame_shape(self, stage: Stage) -> tuple[int, ...]:
        """Return the shape of one frame of a stage's features."""
        backbone = self.backbone
        if stage is Stage.convolution:
            return (backbone.channels,)
        if stage is Stage.layers:
            return (backbone.hidden_size,)
        features = backbone.hidden_size if self.head.reads_all else backbone.output_size
        width = features * (self.head.pooling.multiplier if stage is Stage.pooled else 1)
        return (backbone.number_of_layers + 1 if self.head.reads_all else 1, width)

    def stage_modules(self, stage: Stage) -> list[nn.Module]:
        """Return the modules that compute a stage's features."""
        return self.backbone.convolution if stage is Stage.convolution else self.backbone.frozen

    def continue_from(self, stage: Stage, features: Tensor, counts: Tensor) -> BackboneOutput:
        """Run the rest of the backbone on the features of a stage; return the input of the head."""
        backbone, reads_all = self.backbone, self.head.reads_all
        if stage is Stage.nothing:
            whole: BackboneOutput = backbone(features, counts, output_hidden_states=reads_all)
            return whole
        frame_mask = mask_of(counts, features.shape[1], features.device)
        features = features.float()
        if stage is Stage.convolution:
            return backbone.transform(backbone.embed(features, frame_mask), frame_mask, 0, reads_all)
        if stage is Stage.layers:
            return backbone.transform(features, frame_mask, self._lowest_learning_layer, reads_all)
        states = features.unbind(dim=2)
        return BackboneOutput(states[-1], states if reads_all else None, frame_mask, stage is Stage.pooled)

    @property
    def _lowest_learning_layer(self) -> int:
        assert isinstance(self.backbone.freezing, int)
        return self.backbone.freezing


def logits_of_all(
    classifiers: Sequence[SpeechClassifier],
    inputs: Tensor,
    lengths: Tensor,
    stage: Stage = Stage.nothing,
    text: Tensor | None = None,
) -> list[Tensor]:
    """Return the logits of each classifier, (batch, outputs); a shared backbone is computed once.

    inputs, lengths, stage, text: as for `SpeechClassifier.forward`.
    """
    if len(classifiers) == 1:  # training in a lower precision wraps the classifier's own call
        return [classifiers[0](inputs, lengths, stage, text)]
    outputs: dict[tuple[int, bool], BackboneOutput] = {}
    logits = []
    for classifier in classifiers:
        key = (id(classifier.backbone), classifier.head.reads_all)
        if key not in outputs:
            outputs[key] = replace(classifier.continue_from(stage, inputs, lengths), text=text)
        logits.append(classifier.head(outputs[key]))
    return logits
