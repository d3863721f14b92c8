"""Backbones from a seed, a folder or the cache, and every error of loading."""

from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from melt_ser.config import BackboneConfig
from melt_ser.core.errors import SetupError
from melt_ser.models.backbone import Backbone
from melt_ser.models.checkpoint_config import MODEL_TYPES
from melt_ser.models.families import load_backbone
from small_checkpoints import WEIGHTS, edit_config, load_folder, pickle_weights, same_weights, write_checkpoint
from small_models import FAMILIES, KINDS, NORM_IS_LAST, batch_of, small_backbone, small_config

every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "checkpoint", "wav2vec2")
    return tmp_path / "checkpoint"


# Random weights


@every_family
def test_random_weights_depend_on_the_seed(family):
    assert same_weights(load_backbone(small_config(family), 1), load_backbone(small_config(family), 1))
    assert not same_weights(load_backbone(small_config(family), 1), load_backbone(small_config(family), 2))


@every_family
def test_loading_a_backbone_leaves_the_random_state_as_it_was(family, tmp_path):
    write_checkpoint(tmp_path, family)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    load_backbone(small_config(family), 1)
    load_backbone(BackboneConfig(family=family, checkpoint=str(tmp_path)), 1, time_mask_probability=0.5)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()


@every_family
def test_the_tiny_model_has_about_a_million_parameters(family):
    backbone = load_backbone(BackboneConfig(family=family), seed=0)
    assert 0.9e6 < sum(parameter.numel() for parameter in backbone.parameters()) < 2e6
    layers = 4 if family == "data2vec" else 2
    assert (backbone.hidden_size, backbone.number_of_layers, backbone.do_normalize) == (128, layers, True)


@every_family
def test_a_backbone_gives_frames_and_hidden_states(family):
    backbone = small_backbone(family)
    output = backbone(*batch_of(400, 719, 720, 16_000), output_hidden_states=True)
    assert output.frame_mask.sum(dim=1).tolist() == [1, 1, 2, 49]
    assert output.last_hidden_state.shape == (4, 49, 32)
    assert [state.shape for state in output.hidden_states] == [(4, 49, 32)] * 3
    assert backbone(*batch_of(400)).hidden_states is None


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_last_hidden_state_is_normalised_once_more_in_large_models(kind):
    output = small_backbone(kind)(*batch_of(4000), output_hidden_states=True)
    same = torch.equal(output.hidden_states[-1], output.last_hidden_state)
    assert same == (kind not in NORM_IS_LAST)


def test_a_backbone_refuses_lengths_outside_the_batch():
    audio, _ = batch_of(500, 1000)
    for wrong in ([399, 1000], [500, 1001]):
        with pytest.raises(ValueError, match="400..1000 samples"):
            small_backbone("wavlm")(audio, torch.tensor(wrong))


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"hiden_size": 64}, "no key 'hiden_size'; did you mean 'hidden_size'"),
        ({"num_attention_heads": 5}, "cannot be built"),
        ({"hidden_size": "wide"}, "cannot be built"),
    ],
)
def test_a_wrong_architecture_is_one_sentence(architecture, message):
    with pytest.raises(SetupError, match=message) as error:
        load_backbone(small_config("wavlm", **architecture), 0)
    assert "\n" not in str(error.value)


# Checkpoints


@every_family
@pytest.mark.parametrize("do_normalize", [True, False])
def test_a_checkpoint_loads_without_its_head(family, do_normalize, tmp_path, capfd):
    written = write_checkpoint(tmp_path, family, do_normalize)
    capfd.readouterr()
    loaded = load_folder(tmp_path, family)
    assert same_weights(loaded, written)
    assert loaded.do_normalize is do_normalize
    assert capfd.readouterr() == ("", "")  # no list of unused weights, no progress bar


@every_family
def test_a_checkpoint_in_float16_loads_as_float32(family, tmp_path):
    write_checkpoint(tmp_path, family)
    stored = load_file(tmp_path / WEIGHTS)
    save_file({name: tensor.half() for name, tensor in stored.items()}, tmp_path / WEIGHTS, {"format": "pt"})
    edit_config(tmp_path, dtype="float16")
    assert {parameter.dtype for parameter in load_folder(tmp_path, family).parameters()} == {torch.float32}


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "data2vec"])
@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickle"])
def test_a_checkpoint_loads_with_old_names_of_the_positional_weights(family, pickled, tmp_path):
    """Published checkpoints have weight_g and weight_v; they are older than torch's parametrisations."""
    written = write_checkpoint(tmp_path, family)
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    stored = load_file(tmp_path / WEIGHTS)
    for new_name, old_name in old.items():
        stored = {name.replace(new_name, old_name): tensor for name, tensor in stored.items()}
    assert any(name.endswith("weight_g") for name in stored)
    save_file(stored, tmp_path / WEIGHTS, {"format": "pt"})
    if pickled:
        pickle_weights(tmp_path)
    assert same_weights(load_folder(tmp_path, family, allow_pickle=pickled), written)


@every_family
@torch.no_grad()
def test_the_lowest_layers_of_a_checkpoint_alone_give_its_first_states(family, tmp_path):
    write_checkpoint(tmp_path / "whole", family)
    whole, lowest = load_folder(tmp_path / "whole", family), load_folder(tmp_path / "whole", family, layers=1)
    assert (whole.number_of_layers, lowest.number_of_layers) == (2, 1)
    of_whole, of_lowest = (backbone(*batch_of(400, 4000), True).hidden_states for backbone in (whole, lowest))
    assert len(of_lowest) == 2
    for one, other in zip(of_lowest, of_whole[:2], strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    lowest.save(tmp_path / "saved")
    assert same_weights(load_folder(tmp_path / "saved", family), lowest)


def test_more_layers_than_a_checkpoint_has_are_one_sentence(checkpoint):
    with pytest.raises(SetupError, match="backbone.layers=3, but the backbone has 2 layers"):
        load_folder(checkpoint, layers=3)


def test_our_settings_replace_layer_drop_and_masking_of_a_checkpoint(checkpoint):
    config = load_folder(checkpoint).model.config
    assert (config.layerdrop, config.apply_spec_augment, config.mask_time_prob) == (0.0, False, 0.0)
    assert load_folder(checkpoint, layer_drop=0.05).model.config.layerdrop == 0.05


def test_a_pickled_checkpoint_loads_only_if_allowed(checkpoint):
    written = load_folder(checkpoint)
    pickle_weights(checkpoint)
    with pytest.raises(SetupError, match=r"pickled file.*backbone\.allow_pickle=true.*restricted loader"):
        load_folder(checkpoint)
    assert same_weights(load_folder(checkpoint, allow_pickle=True), written)


def test_code_in_a_pickled_checkpoint_does_not_run(checkpoint, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harmed",))

    pickle_weights(checkpoint)
    torch.save({"weight": Harmful()}, checkpoint / "pytorch_model.bin")
    with pytest.raises(SetupError, match="cannot be read"):
        load_folder(checkpoint, allow_pickle=True)
    assert not (tmp_path / "harmed").exists()


def test_a_checkpoint_with_safetensors_ignores_its_pickle(checkpoint):
    (checkpoint / "pytorch_model.bin").write_bytes(b"not read")
    load_folder(checkpoint, allow_pickle=True)


def test_a_checkpoint_with_the_newer_processor_file_says_whether_to_normalise(checkpoint):
    (checkpoint / "preprocessor_config.json").unlink()
    (checkpoint / "processor_config.json").write_text('{"feature_extractor": {"do_normalize": false}}')
    assert load_folder(checkpoint).do_normalize is False


# The cache and the hub

HUB_NAME, COMMIT = "someone/some-model", "0123456789012345678901234567890123456789"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models--someone--some-model" / "snapshots" / COMMIT


def load_from_hub(**settings: object) -> Backbone:
    return load_backbone(BackboneConfig(family="wav2vec2", checkpoint=HUB_NAME, revision=COMMIT, **settings), seed=0)


def test_a_cached_checkpoint_needs_no_network(cache, checkpoint):
    shutil.copytree(checkpoint, cache)
    assert same_weights(load_from_hub(), load_folder(checkpoint))


@pytest.mark.parametrize("lacking", ["config.json", WEIGHTS, "everything"])
@pytest.mark.parametrize("network", ["forbidden", "unreachable"])
def test_an_uncached_checkpoint_is_an_error_with_the_fix_within_seconds(
    cache, checkpoint, monkeypatch, lacking, network
):
    if lacking != "everything":
        shutil.copytree(checkpoint, cache, ignore=shutil.ignore_patterns(lacking))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", network == "forbidden")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # a port without a server
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)  # of the hub's client, between two tries
    with pytest.raises(SetupError) as error:
        load_from_hub()
    assert sum(waits) < 5
    message = str(error.value)
    assert "\n" not in message
    for part in (
        f"someone/some-model at revision {COMMIT} is not in the Hugging Face cache",
        "HF_HUB_OFFLINE" if network == "forbidden" else "cannot be reached",
        f"hf download {HUB_NAME} --revision {COMMIT}",
        "backbone.checkpoint=<local folder>",
        "backbone=wavlm_tiny",
    ):
        assert part in message


def test_a_cached_checkpoint_with_pickled_weights_alone_names_the_setting_that_reads_them(cache, checkpoint):
    shutil.copytree(checkpoint, cache)
    pickle_weights(cache)
    with pytest.raises(SetupError, match=r"pickled file, pytorch_model\.bin; set backbone\.allow_pickle=true"):
        load_from_hub()
    assert same_weights(load_from_hub(allow_pickle=True), load_folder(checkpoint))


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "nowhere/at/all"])
def test_a_missing_checkpoint_folder_is_one_sentence(name):
    with pytest.raises(SetupError, match="does not exist"):
        load_folder(Path(name) if name != "./nowhere" else "./nowhere")


def test_a_checkpoint_name_that_the_hub_forbids_is_one_sentence():
    with pytest.raises(SetupError, match="neither a folder nor a model of the hub"):
        load_folder("some one/model")


def test_every_family_of_the_settings_has_a_model_type():
    assert set(MODEL_TYPES) == {*FAMILIES, "w2v_bert", "whisper"}


def test_a_checkpoint_may_give_its_architecture_alone(checkpoint):
    read, drawn, again = load_folder(checkpoint), load_folder(checkpoint, init="random"), load_folder(checkpoint)
    assert not same_weights(drawn, read) and same_weights(again, read)
    assert same_weights(drawn, load_folder(checkpoint, init="random"))
    shapes = [{name: weight.shape for name, weight in model.state_dict().items()} for model in (drawn, read)]
    assert shapes[0] == shapes[1]
    assert drawn(*batch_of(4000)).last_hidden_state.isfinite().all()
