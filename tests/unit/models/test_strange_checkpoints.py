"""Checkpoint folders of strangers: damaged, absurd, of other libraries, or with names that a training loop wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from melt_ser.config import BackboneConfig
from melt_ser.core.errors import SetupError
from melt_ser.models.families import load_backbone
from small_checkpoints import WEIGHTS, edit_config, load_folder, pickle_weights, same_weights, write_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "checkpoint", "wav2vec2")
    return tmp_path / "checkpoint"


def damage(folder: Path, how: str) -> None:
    weights = folder / WEIGHTS
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif how == "truncated pickle":
        pickle_weights(folder)
        pickled = folder / "pytorch_model.bin"
        pickled.write_bytes(pickled.read_bytes()[:-1000])
    elif how == "empty":
        weights.write_bytes(b"")
    elif how == "lacks a weight":
        stored = load_file(weights)
        del stored["wav2vec2.encoder.layers.1.attention.k_proj.weight"]
        save_file(stored, weights, {"format": "pt"})
    elif how == "another size":
        edit_config(folder, hidden_size=64)
    elif how == "a wide one":
        edit_config(folder, hidden_size="wide")
    elif how.startswith("no "):
        (folder / how.removeprefix("no ")).unlink()
    elif how == "not JSON":
        (folder / "config.json").write_text("{")
    elif how == "an adapter":
        edit_config(folder, add_adapter=True)
    elif how == "an adapter of another library":
        (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    elif how == "nested":
        (folder / "config.json").write_text("[" * 100_000)
    elif how == "nested extractor":
        (folder / "preprocessor_config.json").write_text('{"feature_extractor": []}')
    elif how == "gigabytes of configuration":
        with (folder / "config.json").open("r+b") as file:
            file.truncate(2**32)  # a sparse file
    elif how == "another state":
        save_file({"epoch": torch.ones(1), "discriminator": torch.ones(300, 300)}, weights, {"format": "pt"})
    elif how == "two backbones":
        stored = load_file(weights)
        twice = {f"{prefix}.{name}": value.clone() for prefix in ("student", "ema") for name, value in stored.items()}
        save_file(twice, weights, {"format": "pt"})
    elif how.startswith("{"):
        edit_config(folder, **json.loads(how))
    else:
        edit_config(folder, model_type=how)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "model.safetensors cannot be read"),
        ("truncated pickle", "pytorch_model.bin cannot be read"),
        ("empty", "model.safetensors cannot be read"),
        ("lacks a weight", "lack encoder.layers.1.attention.k_proj.weight"),
        ("another size", "cannot be read"),
        ("a wide one", "not a valid configuration"),
        ("no config.json", "has no config.json"),
        ("no model.safetensors", "has no weights"),
        ("no preprocessor_config.json", "has no preprocessor_config.json"),
        ("not JSON", "config.json cannot be read"),
        ("an adapter", "lack adapter.layers.0.conv.bias"),
        ("an adapter of another library", r"holds an adapter \(adapter_config.json\); merge it into its model"),
        ('{"quantization_config": {"quant_method": "bitsandbytes"}}', "has quantised weights"),
        ("nested", "config.json cannot be read"),
        ("nested extractor", "has no sound 'feature_extractor'"),
        ("gigabytes of configuration", "bytes, too many for a configuration"),
        (
            '{"num_hidden_layers": 1000000000}',
            "num_hidden_layers must be a whole number from 1 to 1,000, not 1",
        ),
        ('{"num_attention_heads": 0}', "num_attention_heads must be a whole number from 1 to 10,000, not 0"),
        ('{"num_attention_heads": 3}', "config.json describes no model"),
        ('{"hidden_act": "no such function"}', "config.json describes no model"),
        ('{"conv_stride": [0, 2, 2, 2, 2, 2, 2]}', "conv_stride must be a whole number from 1 to 100,000, not 0"),
        ('{"conv_stride": [9, 2, 2, 2, 2, 2, 2]}', "one frame spans 712 samples"),
        ('{"conv_kernel": []}', "conv_kernel is a list of 1 to 32 numbers|not a valid configuration"),
        ('{"hidden_size": 65536}', r"a model of [\d,]+ weights, too many for the [\d,]+ bytes of model.safetensors"),
        ("another state", "are of another model|too many for"),
        ("two backbones", "hold several backbones, with the prefixes 'ema.wav2vec2.', 'student.wav2vec2.'"),
        ("hubert", "backbone.family is wav2vec2, but .* is a 'hubert' model; set backbone.family=hubert"),
        ("bert", "is a 'bert' model; choose a checkpoint of wav2vec2, hubert, wavlm, data2vec"),
    ],
)
def test_an_unsuitable_checkpoint_folder_is_one_sentence(checkpoint, how, message):
    damage(checkpoint, how)
    with pytest.raises(SetupError, match=message) as error:
        load_folder(checkpoint, allow_pickle=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("prefix", ["module.", "model.", "model.wav2vec2.", "a+b."])
def test_the_prefix_of_a_training_loop_is_left_out_and_named(checkpoint, prefix, caplog):
    written = load_folder(checkpoint)
    stored = load_file(checkpoint / WEIGHTS)
    renamed = {prefix + name.removeprefix("wav2vec2."): value for name, value in stored.items()}
    save_file(renamed, checkpoint / WEIGHTS, {"format": "pt"})
    assert same_weights(load_folder(checkpoint), written)
    assert f"begin with '{prefix}'; they are loaded without it" in caplog.text


def test_a_prefix_in_a_pickled_file_is_left_out(checkpoint):
    written = load_folder(checkpoint)
    torch.save(
        {f"module.{name}": value for name, value in load_file(checkpoint / WEIGHTS).items()},
        checkpoint / "pytorch_model.bin",
    )
    (checkpoint / WEIGHTS).unlink()
    assert same_weights(load_folder(checkpoint, allow_pickle=True), written)


@pytest.mark.parametrize("rate", [8000, 24000, "16 kHz", None])
def test_a_checkpoint_for_another_sampling_rate_is_refused(checkpoint, rate):
    path = checkpoint / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sampling_rate": rate}))
    with pytest.raises(SetupError, match=f"expects audio of {rate!r} Hz, but every backbone gets 16000 Hz"):
        load_folder(checkpoint)


@pytest.mark.parametrize("where", ["absolute", "relative", "in its folder"])
def test_a_checkpoint_that_is_a_file_is_called_a_file(tmp_path, checkpoint, where, monkeypatch):
    file = tmp_path / "wav2vec_small.pt"
    torch.save({"model": {}}, file)
    monkeypatch.chdir(tmp_path)
    named, fix = {
        "absolute": (str(file), "convert it to a folder with config.json and model.safetensors"),
        "relative": ("wav2vec_small.pt", "convert it to a folder"),
        "in its folder": (str(checkpoint / WEIGHTS), f"give its folder, backbone.checkpoint={checkpoint}"),
    }[where]
    with pytest.raises(SetupError, match="is a file") as error:
        load_backbone(BackboneConfig("test", "wav2vec2", named), 0)
    assert fix in str(error.value)


def test_keys_of_a_configuration_that_are_no_architecture_are_ignored(checkpoint):
    written = load_folder(checkpoint)
    edit_config(
        checkpoint,
        _attn_implementation="someone/kernels",
        attn_implementation="flash_attention_2",
        auto_map={"AutoModel": "someone/code--model.Model"},
        output_hidden_states=True,
        torch_dtype="float8_e4m3fn",
    )
    loaded = load_folder(checkpoint)
    assert same_weights(loaded, written)
    assert loaded.model.config._attn_implementation == written.model.config._attn_implementation
    assert not loaded.model.config.output_hidden_states
