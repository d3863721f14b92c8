"""LoRA: which layers get adapters, what learns, and what they compute, in both kernels, before and after a merge."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from melt_ser.config import Kernels, TrainerConfig
from melt_ser.core.errors import SetupError
from melt_ser.models.adapters import add_adapters, merge_adapters
from melt_ser.models.classifier import SpeechClassifier
from small_models import KINDS, batch_of, small_classifier, small_whisper_classifier

LORA = TrainerConfig(lora_rank=3, lora_alpha=6.0, freeze=0)
ATTENTION = {"q_proj", "k_proj", "v_proj", "out_proj"}
OF_CONFORMERS = {"linear_q", "linear_k", "linear_v", "linear_out"}
every_kind = pytest.mark.parametrize("kind", [*KINDS, "whisper"])


def classifier_of(kind: str, kernels: Kernels = Kernels.fast) -> SpeechClassifier:
    return small_whisper_classifier(kernels=kernels) if kind == "whisper" else small_classifier(kind, kernels=kernels)


def adapted(kind: str, kernels: Kernels = Kernels.fast, config: TrainerConfig = LORA) -> SpeechClassifier:
    """Return a model with adapters that have learnt something: B is not zero."""
    model = classifier_of(kind, kernels)
    model.backbone.freeze(config.freeze)
    add_adapters(model.backbone, config, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return model


def wide_layers(layers: nn.Module) -> set[str]:
    """Return the linear layers that read or write whole frames: all but WavLM's gate."""
    linear = {name for name, module in layers.named_modules() if isinstance(module, nn.Linear)}
    return {name for name in linear if not name.endswith("gru_rel_pos_linear")}


def learning(module: nn.Module) -> set[str]:
    return {name for name, weight in module.named_parameters() if weight.requires_grad}


@every_kind
def test_attention_and_feed_forward_of_every_layer_get_an_adapter(kind: str) -> None:
    plain, model = classifier_of(kind), adapted(kind)
    layers = plain.backbone.encoder.layers
    wide = wide_layers(layers)
    assert len(wide) >= 6 * len(layers)  # a conformer has two feed-forward parts
    assert {name.rpartition(".")[2] for name in wide} > (OF_CONFORMERS if "conformer" in kind else ATTENTION)
    expected = {f"{name}.lora_{matrix}.default.weight" for name in wide for matrix in "AB"}
    assert learning(model.backbone.encoder.layers) == expected
    assert len(learning(model.backbone)) == len(expected), "nothing else of the backbone learns"
    assert learning(model.head) == learning(plain.head)


@every_kind
def test_a_new_adapter_changes_no_answer_and_draws_from_its_own_seed(kind: str) -> None:
    plain, model, again, other = (classifier_of(kind) for _ in range(4))
    plain.backbone.freeze(0)
    state = torch.get_rng_state()
    for each, seed in ((model, 0), (again, 0), (other, 1)):
        each.backbone.freeze(0)
        add_adapters(each.backbone, LORA, seed)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():  # with a gradient, WavLM's bias goes another way, with other rounding
        assert torch.equal(model.eval()(*batch_of(4000, 9000)), plain(*batch_of(4000, 9000)))
    drawn = [
        torch.cat([weight.flatten() for name, weight in each.named_parameters() if "lora_A" in name])
        for each in (model, again, other)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@every_kind
def test_both_kernels_give_an_adapted_model_the_same_answers_and_gradients(kind: str) -> None:
    logits, gradients = [], []
    for kernels in Kernels:
        model = adapted(kind, kernels).eval()
        outputs = model(*batch_of(4000, 9000, 800))
        outputs[:, 0].sum().backward()
        logits.append(outputs.detach())
        gradients.append({name: weight.grad for name, weight in model.backbone.named_parameters() if "lora" in name})
    assert (logits[0] - logits[1]).abs().max() < 1e-4
    assert (logits[0] - classifier_of(kind)(*batch_of(4000, 9000, 800))).abs().max() > 1e-2
    for name, gradient in gradients[0].items():
        assert gradient is not None and gradients[1][name] is not None, name
        assert (gradient - gradients[1][name]).abs().max() < 1e-4 * max(1.0, float(gradient.abs().max())), name


@every_kind
@pytest.mark.parametrize("kernels", list(Kernels))
def test_a_merged_model_is_an_ordinary_one_with_the_same_answers(kind: str, kernels: Kernels) -> None:
    plain, model = classifier_of(kind, kernels), adapted(kind, kernels).eval()
    before = model(*batch_of(4000, 9000))
    merge_adapters(model.backbone)
    assert (model(*batch_of(4000, 9000)) - before).abs().max() < 1e-4
    assert [type(module).__name__ for module in model.modules()] == [type(own).__name__ for own in plain.modules()]
    weights, own = model.backbone.state_dict(), plain.backbone.state_dict()
    assert weights.keys() == own.keys()
    changed = {name for name in weights if not torch.equal(weights[name], own[name])}
    assert all(".layers." in name and name.endswith(".weight") for name in changed)
    assert len(changed) == len(wide_layers(plain.backbone.encoder.layers))


def test_a_step_leaves_the_own_weights_as_they_are_to_the_bit() -> None:
    model = adapted("wavlm-base").train()
    before = copy.deepcopy(model.state_dict())
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.5)
    model(*batch_of(4000, 9000))[:, 0].sum().backward()
    optimiser.step()
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert {name for name in changed if name.startswith("backbone.")} == {
        f"backbone.{name}" for name in learning(model.backbone)
    }


def test_frozen_layers_and_other_targets_get_no_adapter() -> None:
    model = adapted("wavlm", config=replace(LORA, freeze=1, lora_targets=["q_proj", "intermediate_dense"]))
    assert {name.rpartition(".lora_")[0] for name in learning(model.backbone)} == {
        "model.encoder.layers.1.attention.q_proj",
        "model.encoder.layers.1.feed_forward.intermediate_dense",
    }


def test_the_dropout_of_adapters_acts_in_training_alone() -> None:
    model = adapted("hubert", config=replace(LORA, lora_dropout=0.5)).eval()
    assert torch.equal(model(*batch_of(4000)), adapted("hubert").eval()(*batch_of(4000)))
    model.backbone.encoder.layers.train()
    assert not torch.equal(model(*batch_of(4000)), model(*batch_of(4000)))


def test_a_deep_model_gets_its_adapters_in_the_layers_that_learn() -> None:
    """peft shortens a long list of targets."""
    model = small_classifier("hubert")
    layers = model.backbone.encoder.layers
    for _ in range(10):
        layers.append(copy.deepcopy(layers[0]))
    model.backbone.model.config.num_hidden_layers = len(layers)
    model.backbone.freeze(-11)
    add_adapters(model.backbone, LORA, 0)
    adapted_layers = {name.split(".")[3] for name in learning(model.backbone)}
    assert adapted_layers == {str(layer) for layer in range(1, 12)}
    assert len(learning(model.backbone)) == 11 * 6 * 2


@pytest.mark.parametrize(
    ("kernels", "settings", "message"),
    [
        (Kernels.fast, {"lora_targets": ["q_prj"]}, r"no layer has a linear 'q_prj'; did you mean 'q_proj'\?"),
        (Kernels.transformers, {"lora_dropout": 0.1}, "set it to 0, or set backbone.kernels=fast"),
    ],
)
def test_what_cannot_be_computed_is_one_sentence(kernels: Kernels, settings: dict, message: str) -> None:
    with pytest.raises(SetupError, match=message):
        adapted("wavlm", kernels, replace(LORA, **settings))
