"""The switch `backbone.kernels`: both modes train and predict the same, and `transformers` runs no code of ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModel

from melt_ser.config import Kernels
from melt_ser.models.checkpoint_config import MODEL_TYPES
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.export import load_model, save_model
from melt_ser.models.kernels.masking import UtteranceGroupNorm
from small_models import FAMILIES, KINDS, RANDOM, batch_of, small_backbone, small_classifier
from small_runs import NO_DROPOUT, corpus, predictions, train

TWO_LAYERS = ("backbone.architecture.num_hidden_layers=2",)
LENGTHS = [16_000, 400, 3_200, 801]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_family = pytest.mark.parametrize("family", FAMILIES)
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")  # transformers' WavLM


def classifiers(kind: str) -> list[SpeechClassifier]:
    """Build a model with each of the kernels; both have the same weights and no dropout."""
    models = [small_classifier(kind, kernels=kernels, layers="weighted") for kernels in Kernels]
    for module in (module for model in models for module in model.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "q_proj"):
            module.dropout = 0.0
    return models


def trained(model: SpeechClassifier, steps: int = 10) -> dict[str, Tensor]:
    """Train on one padded batch; return the weights."""
    clips, classes = batch_of(*LENGTHS), torch.tensor([0, 3, 1, 2])
    optimiser = torch.optim.SGD(model.train().parameters(), 0.01, momentum=0.9)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(*clips), classes).backward()
        optimiser.step()
    return model.state_dict()


@every_kind
def test_both_kernels_give_the_same_logits_to_a_padded_batch(kind: str) -> None:
    fast, theirs = classifiers(kind)
    with torch.no_grad():
        assert (fast(*batch_of(*LENGTHS)) - theirs(*batch_of(*LENGTHS))).abs().max() < 1e-5


@every_kind
def test_both_kernels_train_a_model_to_the_same_weights(kind: str) -> None:
    fast, theirs = classifiers(kind)
    before = {name: weight.clone() for name, weight in fast.state_dict().items()}
    expected, weights = trained(fast), trained(theirs)
    assert weights.keys() == expected.keys()
    for name, weight in expected.items():
        assert (weights[name] - weight).abs().max() < 1e-4, name
    assert max(float((weight - before[name]).abs().max()) for name, weight in expected.items()) > 0.01


@every_kind
@torch.no_grad()
def test_transformers_kernels_keep_logits_independent_of_the_batch(kind: str) -> None:
    model = small_classifier(kind, kernels=Kernels.transformers)
    alone = torch.cat([model(*batch_of(length)) for length in LENGTHS])
    assert (model(*batch_of(*LENGTHS)) - alone).abs().max() < 1e-5


@every_kind
@torch.no_grad()
def test_transformers_kernels_give_one_clip_the_frames_of_transformers_to_the_bit(kind: str) -> None:
    backbone = small_backbone(kind, kernels=Kernels.transformers)
    config = CONFIG_MAPPING[MODEL_TYPES[KINDS[kind][0]]].from_dict(backbone.model.config.to_dict())
    plain = AutoModel.from_config(config).eval()
    plain.load_state_dict(backbone.model.state_dict())
    for length in LENGTHS:
        audio, lengths = batch_of(length)
        assert torch.equal(backbone(audio, lengths).last_hidden_state, plain(audio).last_hidden_state)


@every_kind
def test_transformers_kernels_replace_no_forward_pass(kind: str) -> None:
    def replaced(kernels: Kernels) -> list[str]:
        modules = small_backbone(kind, kernels=kernels).model.named_modules()
        return [name for name, module in modules if "forward" in vars(module) or _is_ours(module)]

    assert replaced(Kernels.transformers) == []
    assert len(replaced(Kernels.fast)) > 3


@every_kind
@pytest.mark.parametrize("kernels", list(Kernels))
def test_both_kernels_train_in_bfloat16_with_dropped_and_recomputed_layers(kind: str, kernels: Kernels) -> None:
    backbone = small_backbone(kind, kernels=kernels).train()
    backbone.gradient_checkpointing_enable()
    backbone.model.config.layerdrop = 0.5
    with torch.autocast("cpu", torch.bfloat16):
        output = backbone(*batch_of(*LENGTHS))
    output.last_hidden_state[output.frame_mask].float().square().mean().backward()
    gradients = [parameter.grad for parameter in backbone.parameters() if parameter.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)


def _is_ours(module: nn.Module) -> bool:
    return type(module).__module__.startswith("melt_ser") and not isinstance(module, UtteranceGroupNorm)


@every_family
def test_a_model_saved_with_transformers_kernels_loads_with_the_fast_ones(family: str, tmp_path: Path) -> None:
    model = small_classifier(family, kernels=Kernels.transformers)
    save_model(model, tmp_path / "theirs")
    save_model(small_classifier(family), tmp_path / "fast")
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("theirs", "fast")]
    assert files[0] == files[1]
    assert load_model(tmp_path / "theirs").backbone.kernels is Kernels.fast


@every_family
@pytest.mark.parametrize("freeze", ["nothing", "1"])
def test_a_run_has_the_same_id_weights_and_predictions_with_both_kernels(
    family: str, freeze: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each also reads the features of the frozen part that the other has cached.

    The gradient of the bias before the group norm is only rounding. AdamW scales it up, but no output depends on it.
    """
    root, cache = corpus(tmp_path / "corpus"), tmp_path / "cache"
    monkeypatch.setenv("MELT_SER_CACHE", str(cache))
    settings = (f"backbone={RANDOM[family]}", *NO_DROPOUT, *TWO_LAYERS, f"trainer.freeze={freeze}")
    if family == "wav2vec2_conformer":
        settings = (*settings, "+backbone.architecture.conformer_conv_dropout=0.0")
    fast, theirs = (
        train(tmp_path / kernels.value, root, *settings, f"backbone.kernels={kernels.value}")[0] for kernels in Kernels
    )
    assert fast.relative_to(tmp_path / "fast") == theirs.relative_to(tmp_path / "transformers")
    assert np.abs(predictions(fast) - predictions(theirs)).to_numpy().max() < 1e-5
    expected, weights = (load_file(folder / "model" / "model.safetensors") for folder in (fast, theirs))
    for name, weight in expected.items():
        tolerance = 1e-3 if name.endswith("conv_layers.0.conv.bias") else 1e-5
        assert (weights[name] - weight).abs().max() < tolerance, name
    if freeze == "1":
        assert len(list((cache / "features").glob("layers-*"))) == 1
