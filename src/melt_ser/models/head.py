"""The head of a classifier: choose hidden layers, pool their frames over time, apply linear layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from melt_ser.config import LAYERS, HeadConfig, LastState
from melt_ser.core.errors import SetupError, did_you_mean
from melt_ser.models.backbone import BackboneOutput
from melt_ser.models.pooling import POOLINGS

LAST_STATES = tuple(state.value for state in LastState)


class Head(nn.Module):
    """Map the frames of a backbone to logits.

    `config.layers` says which states it reads. States are the input of the first transformer layer and the output of
    every layer; last_state="after_norm" replaces the last one by `last_hidden_state`.

        last        `last_hidden_state`
        weighted    the sum of all states with learned scalar weights, the softmax of `layer_weights` (Yang et al.,
                    "SUPERB", Interspeech 2021)
        all         all states side by side
        chosen      all states, of which trainer=probe chooses one; such a head gives no logits
        k           state k, from 0 up

    With `config.standardise`, each feature of each pooled state is shifted and scaled to mean 0 and deviation 1 over
    the training part (`set_scale`), and the last linear layer starts from zeros. The other initial weights are drawn
    from torch's global random state.

    With `text_features`, the vector of the words (`BackboneOutput.text`) stands behind the pooled frames, standardised
    likewise (`set_text_scale`); the linear layers read both.
    """

    shift: Tensor
    scale: Tensor
    text_shift: Tensor
    text_scale: Tensor

    def __init__(
        self, config: HeadConfig, features: int, number_of_layers: int, classes: int, text_features: int = 0
    ) -> None:
        super().__init__()
        pooling = POOLINGS[_checked("head.pooling", config.pooling, POOLINGS)]
        last_state = _checked("head.last_state", config.last_state, LAST_STATES)
        self.layers = checked_layers(config.layers, number_of_layers)
        self.normalised = last_state == "after_norm"
        self.standardises = config.standardise
        if config.standardise and not pooling.is_fixed:
            fixed = " or ".join(name for name, kind in POOLINGS.items() if kind.is_fixed)
            raise SetupError(f"head.standardise=true needs head.pooling={fixed}; the other poolings learn.")
        used = number_of_layers + 1 if self.layers in ("weighted", "all", "chosen") else 1
        joined = used if self.layers in ("all", "chosen") else 1
        if self.layers == "weighted":
            self.layer_weights = nn.Parameter(torch.full((used,), 1.0 / used))
        self.pooling = pooling(features if pooling.is_fixed else features * joined)
        self.text_features = text_features
        width, layers = features * joined * pooling.multiplier + text_features, list[nn.Module]()
        self.pooled_shape = (used, features * pooling.multiplier)  # of a fixed pooling
        if config.standardise:
            self.register_buffer("shift", torch.zeros(self.pooled_shape))
            self.register_buffer("scale", torch.ones(self.pooled_shape))
        if config.standardise and text_features:
            self.register_buffer("text_shift", torch.zeros(text_features))
            self.register_buffer("text_scale", torch.ones(text_features))
        for size in config.hidden_sizes:
            layers += [nn.Dropout(config.dropout), nn.Linear(width, size), nn.ReLU()]
            width = size
        self.network = nn.Sequential(*layers, nn.Dropout(config.dropout))
        self.output = nn.Linear(width, classes)
        if config.standardise:  # as a fitted probe without examples: every class is as likely as the others
            nn.init.zeros_(self.output.weight)
            nn.init.zeros_(self.output.bias)

    @property
    def reads_all(self) -> bool:
        """Whether the head needs all states, not only the last."""
        return self.layers != "last"

    def set_scale(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the mean and deviation of the used states' pooled features over the training part, (states, features).

        A feature that does not vary is only shifted.
        """
        self.shift.copy_(mean)
        self.scale.copy_(_without_zeros(mean, deviation))

    def set_text_scale(self, vectors: Tensor) -> None:
        """Set the mean and deviation of the words' vectors from those of the training part, (utterances, features)."""
        mean, deviation = vectors.double().mean(dim=0), vectors.double().std(dim=0, correction=0)
        self.text_shift.copy_(mean)
        self.text_scale.copy_(_without_zeros(mean, deviation))

    def forward(self, backbone: BackboneOutput) -> Tensor:
        """Return logits, (batch, classes), in float32 even if the backbone ran in a lower precision."""
        with torch.autocast(backbone.last_hidden_state.device.type, enabled=False):
            logits: Tensor = self.output(self.embeddings(backbone))
            return logits

    def embeddings(self, backbone: BackboneOutput) -> Tensor:
        """Return the input of the last linear layer, (batch, features): pooled features, after any hidden layers."""
        vector = self._vector(backbone)
        if self.text_features:
            assert backbone.text is not None
            vector = torch.cat([vector, self.scaled_text(backbone.text.float())], dim=-1)
        hidden: Tensor = self.network(vector)
        return hidden

    def scaled_text(self, vectors: Tensor) -> Tensor:
        """Return vectors of words, (utterances, features), as the linear layers read them."""
        return (vectors - self.text_shift) / self.text_scale if self.standardises else vectors

    def states(self, backbone: BackboneOutput) -> tuple[Tensor, ...]:
        """Return the states that the head reads, each (batch, frames, features); for state k, all of them."""
        if not self.reads_all:
            return (backbone.last_hidden_state,)
        assert backbone.hidden_states is not None
        return (*backbone.hidden_states[:-1], backbone.last_hidden_state) if self.normalised else backbone.hidden_states

    def pooled(self, backbone: BackboneOutput) -> list[Tensor]:
        """Return the pooled features of each used state, (batch, features) each, before the standardisation.

        Only for a fixed pooling.
        """
        states = self._used(self.states(backbone))
        if backbone.is_pooled:
            return [state[:, 0].float() for state in states]
        return [self.pooling(state.float(), backbone.frame_mask) for state in states]

    def _vector(self, backbone: BackboneOutput) -> Tensor:
        """Return one vector of each utterance, (batch, features).

        A fixed pooling comes before the states are combined, so that its output can be cached; a learned one after.
        """
        if not self.pooling.is_fixed:
            frames = self._combined(self._used(self.states(backbone)))
            learned: Tensor = self.pooling(frames, backbone.frame_mask)
            return learned
        pooled = self.pooled(backbone)
        if self.standardises:
            pooled = [(own - shift) / scale for own, shift, scale in zip(pooled, self.shift, self.scale, strict=True)]
        return self._combined(pooled)

    def _used(self, states: Sequence[Tensor]) -> Sequence[Tensor]:
        return [states[self.layers]] if isinstance(self.layers, int) else states

    def _combined(self, used: Sequence[Tensor]) -> Tensor:
        """Combine the used states, (batch, ..., features) each, into one: their sum, or all side by side."""
        if self.layers != "weighted":
            return torch.cat([state.float() for state in used], dim=-1)
        total = torch.zeros_like(used[0], dtype=torch.float32)
        for weight, state in zip(self.layer_weights.softmax(dim=0), used, strict=True):
            total = torch.addcmul(total, weight, state.float())
        return total


def _without_zeros(mean: Tensor, deviation: Tensor) -> Tensor:
    """Return the deviations to divide by: 1 for a feature that does not vary."""
    return torch.where(deviation > 1e-6 * (mean.abs() + 1e-6), deviation, torch.ones_like(deviation))


def checked_layers(layers: int | str, number_of_layers: int) -> int | str:
    """Return `head.layers`; raise SetupError for an unknown word, or a state that the backbone does not have."""
    if isinstance(layers, int):
        if not 0 <= layers <= number_of_layers:
            raise SetupError(f"head.layers={layers}, but the backbone has the states 0 to {number_of_layers}.")
        return layers
    return _checked("head.layers", layers, LAYERS)


def _checked(key: str, value: str, choices: Sequence[str] | dict[str, type]) -> str:
    """Return a setting's value, an enumeration or a word, as plain text; raise SetupError if it is not in `choices`."""
    word = str(getattr(value, "value", value))
    if word not in choices:
        raise SetupError(f"{key}={word} is unknown; {did_you_mean(word, choices)}")
    return word
