"""Small random models of the families for tests: they take milliseconds on the code path of the real ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModel

from melt_ser.audio.waveform import pad_together, prepare_waveform
from melt_ser.config import BackboneConfig, HeadConfig, Kernels
from melt_ser.data.stage import Stage
from melt_ser.models.backbone import Backbone
from melt_ser.models.checkpoint_config import MODEL_TYPES
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.families import load_backbone
from melt_ser.training.fit import Gradients, StepInput

FAMILIES = (  # those that read waveforms by convolutions
    "wav2vec2",
    "hubert",
    "wavlm",
    "data2vec",
    "unispeech",
    "unispeech_sat",
    "wav2vec2_conformer",
)
RANDOM = {family: f"{family}_tiny_random" for family in FAMILIES[:4]} | {
    family: f"{family}_random" for family in FAMILIES[4:]
}
"""The YAML of each family with random weights."""
CLASSES = ["angry", "happy", "neutral", "sad"]

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
SMALL_DATA2VEC = {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}
SMALL_W2V_BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_depthwise_kernel_size": 5,
}
BASE = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
"""The settings of the large checkpoints besides their size; data2vec's large ones have only the biases."""

# Every kind of model that masking treats in its own way: its family and architecture.
KINDS = {
    "wav2vec2-base": ("wav2vec2", {}),
    "wav2vec2-large": ("wav2vec2", LARGE),
    "hubert-base": ("hubert", {}),
    "hubert-batch-norm": ("hubert", {"conv_pos_batch_norm": True}),
    "hubert-large": ("hubert", LARGE),
    "hubert-distilled": ("hubert", {"feat_proj_layer_norm": False}),
    "wavlm-base": ("wavlm", {}),
    "wavlm-large": ("wavlm", LARGE),
    "data2vec-base": ("data2vec", {}),
    "data2vec-large": ("data2vec", {"conv_bias": True}),
    "unispeech-base": ("unispeech", {}),
    "unispeech-large": ("unispeech", LARGE),
    "unispeech-sat-base": ("unispeech_sat", {}),
    "unispeech-sat-large": ("unispeech_sat", LARGE | {"conv_bias": False}),
    "conformer-relative": ("wav2vec2_conformer", {"feat_extract_norm": "layer", "conv_bias": True}),
    "conformer-rotary": ("wav2vec2_conformer", {"position_embeddings_type": "rotary"}),
}
NORM_IS_LAST = tuple(
    kind for kind, (family, shape) in KINDS.items() if family == "wav2vec2_conformer" or "do_stable_layer_norm" in shape
)
"""The kinds that have a norm behind their last layer."""


def each_with_the_first(ones: Iterable[Any], others: Iterable[Any]) -> list[tuple[Any, Any]]:
    """Pair each of `ones` with the first of `others`, and the first of `ones` with each of `others`.

    For two parameters of a test that do not act on each other: all pairs would take minutes and find no more.
    """
    first, second = list(ones), list(others)
    return [(one, second[0]) for one in first] + [(first[0], other) for other in second[1:]]


OF_A_FAMILY: dict[str, dict[str, object]] = {
    "data2vec": SMALL_DATA2VEC | {"conv_bias": False},
    "wav2vec2_conformer": {"conv_bias": False, "conv_depthwise_kernel_size": 5},
}


def small_config(family: str, **architecture: object) -> BackboneConfig:
    shape = SMALL_W2V_BERT if family == "w2v_bert" else SMALL | OF_A_FAMILY.get(family, BASE)
    return BackboneConfig(name="small", family=family, architecture=shape | architecture)


def small_backbone(kind: str, seed: int = 0, kernels: Kernels = Kernels.fast) -> Backbone:
    """Build a backbone of KINDS (or of a family) with biases and norms away from their trivial initial values."""
    family, architecture = KINDS.get(kind, (kind, {}))
    backbone = load_backbone(replace(small_config(family, **architecture), kernels=kernels), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        for name, buffer in backbone.named_buffers():
            if "running" in name:
                buffer += torch.rand(buffer.shape, generator=generator)
    return backbone.eval()


def small_classifier(kind: str, seed: int = 0, kernels: Kernels = Kernels.fast, **head: object) -> SpeechClassifier:
    torch.manual_seed(seed)
    return SpeechClassifier(small_backbone(kind, seed, kernels), HeadConfig(**head), CLASSES).eval()


def small_whisper_classifier(kernels: Kernels = Kernels.fast, **head: object) -> SpeechClassifier:
    """Build the encoder of Whisper with two random layers, and a head."""
    backbone = load_backbone(BackboneConfig("small", "whisper", kernels=kernels), seed=0)
    torch.manual_seed(0)
    return SpeechClassifier(backbone, HeadConfig(**head), CLASSES).eval()


def speechlike(samples: int) -> Tensor:
    """Make noise with an offset and a rising loudness, so that statistics over the wrong samples differ."""
    generator = torch.Generator().manual_seed(samples * 1000)
    return torch.randn(samples, generator=generator) * torch.linspace(0.02, 0.3, samples) + 0.05


def batch_of(*lengths: int) -> tuple[Tensor, Tensor]:
    """Make prepared clips of these lengths, padded together."""
    return pad_together([prepare_waveform(speechlike(length), do_normalize=True) for length in lengths])


def plain_transformers(kind: str) -> nn.Module:
    """Build an unchanged transformers model with the same weights, in float64: in float32 it rounds as much as ours."""
    ours = small_backbone(kind).model
    config = CONFIG_MAPPING[MODEL_TYPES[KINDS[kind][0]]].from_dict(ours.config.to_dict())
    plain = AutoModel.from_config(config).eval()
    plain.load_state_dict(ours.state_dict())  # strict: no weight was renamed
    return plain.double()


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.double() for name, weight in model.named_parameters() if weight.grad is not None}


def assert_same_gradients(actual: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-4) -> None:
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (actual[name] - gradient).abs().max() <= tolerance * max(1.0, float(gradient.abs().max())), name


def model_with_gradients(kind: str, freeze: str | int) -> tuple[SpeechClassifier, Stage, list[nn.Parameter], Gradients]:
    """Return a model with a frozen part, its stage, the weights that learn, and the computation of their gradients."""
    model = small_classifier(kind)
    model.backbone.freeze(freeze)
    stage = model.frozen_stage(crops=False)

    def gradients(batch: StepInput) -> Tensor:
        logits = model(batch.features, batch.counts, stage)
        losses = nn.functional.cross_entropy(logits, batch.rows % 4, reduction="none")
        loss: Tensor = (losses * batch.weights).sum()
        (loss * batch.scale).backward()
        return loss.detach()

    return model, stage, [weight for weight in model.parameters() if weight.requires_grad], gradients


def step_input(model: SpeechClassifier, stage: Stage, *lengths: int) -> StepInput:
    """Return a micro-batch of noise of these lengths in samples, with rows and weights."""
    features, counts = model.compute_stage(stage, *batch_of(*lengths))
    number = len(lengths)
    rows, weights = torch.arange(number), torch.linspace(0.5, 2.0, number)
    return StepInput(features, counts, rows, weights, torch.tensor(1.0 / number))
