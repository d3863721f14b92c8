"""Checkpoints with an adapter (add_adapter): fewer frames come out, and every promise holds for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from melt_ser.audio.waveform import pad_together
from melt_ser.config import HeadConfig, Kernels, TrainerConfig
from melt_ser.core.errors import SetupError
from melt_ser.data.stage import Stage
from melt_ser.models.backbone import Backbone
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.export import load_model, save_model
from melt_ser.models.families import load_backbone
from melt_ser.training.optimisation import make_optimiser
from small_checkpoints import WEIGHTS, edit_config, load_folder, pickle_weights, same_weights
from small_models import CLASSES, small_config, speechlike

TWO = {"add_adapter": True, "num_adapter_layers": 2}
KINDS = {
    "wav2vec2": TWO,
    "wavlm": TWO | {"output_hidden_size": 24},
    "data2vec": TWO,
    "wav2vec2_conformer": TWO | {"output_hidden_size": 24},
    "w2v_bert": TWO | {"use_intermediate_ffn_before_adapter": True},
}
LENGTHS = (400, 721, 3_000, 16_000)
every_kind = pytest.mark.parametrize("family", KINDS)


def adapted(family: str, kernels: Kernels = Kernels.fast, **architecture: object) -> Backbone:
    config = small_config(family, **KINDS[family] | architecture)
    return load_backbone(replace(config, kernels=kernels), seed=0).eval()


def classifier(family: str, **head: object) -> SpeechClassifier:
    backbone = adapted(family)
    torch.manual_seed(0)
    return SpeechClassifier(backbone, HeadConfig(**head), CLASSES).eval()


def clips(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    return pad_together([speechlike(length) for length in lengths])


def of_transformers(backbone: Backbone, length: int) -> torch.Tensor:
    """Return the frames of unchanged transformers for one clip, in float64."""
    config = type(backbone.model.config).from_dict(backbone.model.config.to_dict())
    plain = AutoModel.from_config(config).eval()
    plain.load_state_dict(backbone.model.state_dict())
    inputs, lengths = clips(length)
    if backbone.family == "w2v_bert":
        inputs = backbone.compute_convolution(inputs, lengths.tolist())
    return plain.double()(inputs.double()).last_hidden_state


@every_kind
@pytest.mark.parametrize("kernels", list(Kernels))
@torch.no_grad()
def test_the_frames_of_one_clip_are_those_of_transformers(family, kernels):
    backbone = adapted(family, kernels)
    for length in LENGTHS:
        output = backbone(*clips(length))
        expected = of_transformers(backbone, length)
        assert output.frame_mask.all()
        assert output.last_hidden_state.shape == expected.shape
        assert (output.last_hidden_state - expected).abs().max() < 1e-5


@every_kind
@torch.no_grad()
def test_the_frames_of_a_clip_do_not_depend_on_its_batch(family):
    backbone = adapted(family)
    together = backbone(*clips(*LENGTHS))
    for row, length in enumerate(LENGTHS):
        alone = backbone(*clips(length)).last_hidden_state[0]
        assert int(together.frame_mask[row].sum()) == len(alone)
        assert (together.last_hidden_state[row, : len(alone)] - alone).abs().max() < 1e-5


@every_kind
def test_the_output_has_a_quarter_of_the_frames_and_its_own_width(family):
    backbone = adapted(family)
    output = backbone(*clips(*LENGTHS))
    frames = backbone.frames_of(torch.tensor(LENGTHS))
    assert output.frame_mask.sum(dim=1).tolist() == backbone.output_frames(frames).tolist()
    assert output.frame_mask.sum(dim=1)[-1] == 13 and frames[-1] == 49
    assert output.last_hidden_state.shape[2] == backbone.output_size == KINDS[family].get("output_hidden_size", 32)


@every_kind
@torch.no_grad()
def test_the_hidden_states_are_those_below_the_adapter(family):
    backbone = adapted(family)
    output = backbone(*clips(*LENGTHS), output_hidden_states=True)
    assert [state.shape[1:] for state in (*output.hidden_states, output.last_hidden_state)] == [(49, 32)] * 4
    assert output.frame_mask.sum(dim=1).tolist() == backbone.frames_of(torch.tensor(LENGTHS)).tolist()


@every_kind
@pytest.mark.parametrize("head", [{}, {"pooling": "attention"}, {"layers": "weighted", "last_state": "after_norm"}])
@pytest.mark.parametrize("freeze", ["nothing", "convolution", 1, "everything"])
@torch.no_grad()
def test_a_frozen_stage_and_the_rest_give_the_logits_of_the_whole(family, head, freeze):
    model = classifier(family, **head)
    model.backbone.freeze(freeze)
    audio, lengths = clips(*LENGTHS)
    stage = model.frozen_stage(crops=False)
    features, counts = model.compute_stage(stage, audio, lengths)
    if stage is not Stage.nothing:
        assert features.shape[2:] == model.frame_shape(stage)
        assert stage is Stage.pooled or counts.tolist() == model.frames_of(stage, lengths).tolist()
    torch.testing.assert_close(model(features, counts, stage), model(audio, lengths), atol=1e-5, rtol=0)


@every_kind
def test_a_head_of_the_last_state_trains_the_adapter(family):
    model = classifier(family).train()
    model.backbone.freeze("convolution")
    model(*clips(*LENGTHS)).square().sum().backward()
    adapter = dict(model.backbone.adapter.named_parameters())
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in adapter.values())


@every_kind
def test_layer_decay_gives_the_adapter_the_rate_of_the_top_layer(family):
    model = classifier(family)
    model.backbone.freeze("nothing")
    rates = {
        weight: group["lr"]
        for group in make_optimiser(TrainerConfig(backbone_learning_rate=1e-3, layer_decay=0.5), model).param_groups
        for weight in group["params"]
    }
    assert {rates[weight] for weight in model.backbone.adapter.parameters()} == {1e-3}
    assert {rates[weight] for weight in model.backbone.encoder.layers[0].parameters()} < {1e-3, 5e-4}


@every_kind
@pytest.mark.parametrize("head", [{}, {"layers": "weighted"}])
@torch.no_grad()
def test_a_saved_model_has_the_same_logits_and_transformers_loads_its_backbone(family, head, tmp_path):
    model = classifier(family, **head)
    save_model(model, tmp_path)
    assert torch.equal(load_model(tmp_path)(*clips(*LENGTHS)), model(*clips(*LENGTHS)))
    plain, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert plain.config.add_adapter


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickle"])
@every_kind
def test_a_checkpoint_loads_with_its_adapter(family, pickled, tmp_path: Path):
    written = adapted(family)
    written.save(tmp_path)
    if pickled:
        pickle_weights(tmp_path)
    assert same_weights(load_folder(tmp_path, family, allow_pickle=pickled), written)
    assert (tmp_path / WEIGHTS).exists() != pickled


def test_an_adapter_with_wide_steps_is_refused(tmp_path):
    adapted("wav2vec2").save(tmp_path)
    edit_config(tmp_path, adapter_kernel_size=5)
    with pytest.raises(SetupError, match="adapter_kernel_size must be a whole number from 1 to 3, not 5"):
        load_folder(tmp_path)
