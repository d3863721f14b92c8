"""The names of other libraries that we use although they are private or part of a model's inner structure.

A release of a library may drop them without notice. Each has a case here, which fails with a sentence that names our
module. pyproject.toml keeps out the next major versions.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from hydra.core.utils import JobReturn
from peft import LoraConfig
from torch import nn
from transformers import AutoModelForAudioClassification, DynamicCache, PreTrainedModel

import melt_ser
from melt_ser.config import Kernels
from melt_ser.models.families import load_backbone
from small_models import KINDS, small_config

CONFORMER, W2V_BERT = "melt_ser.models.families.conformer", "melt_ser.models.families.w2v_bert"
BACKBONE, EXPORT = "melt_ser.models.families.wav2vec2", "melt_ser.models.export"
KERNELS = "melt_ser.models.kernels"
ATTENTION, CONVOLUTION, MASKING, POSITIONS = (
    f"{KERNELS}.{name}" for name in ("attention", "convolution", "masking", "positions")
)

# Names within a transformers model: the kind of model (see small_models.KINDS), the name, and our module.
OF_EVERY_FAMILY = [
    ("_mask_hidden_states", BACKBONE),
    ("_get_feat_extract_output_lengths", BACKBONE),
    ("masked_spec_embed", BACKBONE),
    ("feature_projection", BACKBONE),
    ("encoder.dropout", BACKBONE),
    ("encoder.layer_norm", BACKBONE),
    ("encoder.layers", BACKBONE),
    ("encoder.pos_conv_embed", BACKBONE),
    ("config.layerdrop", BACKBONE),
    ("config.mask_time_prob", BACKBONE),
    ("config.mask_feature_prob", BACKBONE),
    ("config.mask_time_length", BACKBONE),
    ("config.apply_spec_augment", BACKBONE),
    ("feature_extractor._requires_grad", KERNELS),
    ("config.conv_kernel", MASKING),
    ("config.conv_stride", MASKING),
    ("feature_extractor.conv_layers", MASKING),
    ("feature_extractor.conv_layers.0.layer_norm", CONVOLUTION),
    ("feature_extractor.conv_layers.1.conv", CONVOLUTION),
    ("feature_extractor.conv_layers.1.activation", CONVOLUTION),
    *((f"encoder.layers.0.attention.{name}_proj", ATTENTION) for name in ("q", "k", "v", "out")),
    ("encoder.layers.0.attention.num_heads", ATTENTION),
    ("encoder.layers.0.attention.dropout", ATTENTION),
    ("base_model_prefix", BACKBONE),
]
STABLE = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech_sat")
OF_A_MODEL = [
    *((kind, *case) for kind in (*STABLE, "data2vec") for case in OF_EVERY_FAMILY),
    *((kind, "encoder.pos_conv_embed.conv", POSITIONS) for kind in STABLE),
    *((kind, "config.do_stable_layer_norm", BACKBONE) for kind in STABLE),
    ("data2vec", "encoder.pos_conv_embed.layers", MASKING),
    ("hubert-batch-norm", "encoder.pos_conv_embed.batch_norm", MASKING),
    ("wavlm", "encoder.layers.0.attention.rel_attn_embed", ATTENTION),
    ("wavlm", "encoder.layers.0.attention.gru_rel_pos_linear", ATTENTION),
    ("wavlm", "encoder.layers.0.attention.gru_rel_pos_const", ATTENTION),
    ("wavlm", "encoder.layers.0.attention._relative_positions_bucket", ATTENTION),
    ("wavlm", "encoder.layers.0.attention.compute_bias", f"{KERNELS}.layers"),
    ("conformer-relative", "encoder.layers.0.conv_module.depthwise_conv", MASKING),
    ("conformer-relative", "encoder.pos_conv_embed", CONFORMER),
    ("conformer-relative", "encoder.embed_positions", f"{KERNELS}.layers"),
    ("conformer-rotary", "encoder.embed_positions.cached_sequence_length", f"{KERNELS}.layers"),
    *(("wav2vec2-adapter", name, BACKBONE) for name in ("adapter.layers", "adapter.proj", "adapter.proj_layer_norm")),
    ("w2v_bert", "feature_projection", W2V_BERT),
    ("w2v_bert", "intermediate_ffn", W2V_BERT),
    ("w2v_bert", "encoder.dropout", CONFORMER),
    ("w2v_bert", "_mask_hidden_states", BACKBONE),
]
# Names within transformers' classifiers, into which a saved model goes.
OF_A_CLASSIFIER = [(name, EXPORT) for name in ("projector", "classifier", "layer_weights")]
OF_A_CLASSIFIER += [(f"config.{name}", EXPORT) for name in ("classifier_proj_size", "use_weighted_layer_sum")]
# Names of modules and classes: the library, the object, the name, and our module.
CACHE = DynamicCache()
CACHE.update(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), 0)
OF_A_LIBRARY = [
    ("transformers", CACHE, "layers.0.keys", "melt_ser.annotation.local"),
    ("transformers", CACHE, "layers.0.values", "melt_ser.annotation.local"),
    ("transformers", importlib.import_module("transformers.activations"), "GELUActivation", CONVOLUTION),
    (
        "transformers",
        importlib.import_module("transformers.masking_utils"),
        "create_bidirectional_mask",
        f"{KERNELS}.layers",
    ),
    ("accelerate", AcceleratorState, "_reset_state", "melt_ser.training.device"),
    ("accelerate", PartialState, "_shared_state", "melt_ser.training.device"),
    ("peft", LoraConfig(), "_register_custom_module", "melt_ser.models.adapters"),
    ("hydra-core", JobReturn(), "_return_value", "melt_ser.cli.sweep"),
    ("torch", torch.ops.aten, "gelu_", CONVOLUTION),
    ("torch", torch.ops.aten, "native_group_norm", MASKING),
    ("torch", torch.ops.aten, "native_group_norm_backward", MASKING),
    ("torch", torch, "default_generator", "melt_ser.models.weights"),
    ("torch", torch.utils.deterministic, "fill_uninitialized_memory", "melt_ser.training.device"),
]
OTHER_KINDS = {"wav2vec2-adapter": ("wav2vec2", {"add_adapter": True}), "w2v_bert": ("w2v_bert", {})}
GONE = object()
HYDRAS_READER, FAILURES = "hydra._internal.core_plugins.file_config_source", "melt_ser.cli.failures"


def require(library: str, owner: Any, name: str, module: str) -> Any:
    """Return the value of a dotted name within `owner`; fail with a sentence if it is gone."""
    value = owner
    for part in name.split("."):
        value = _entry(value, int(part)) if part.isdigit() else getattr(value, part, GONE)
        if value is GONE:
            label = getattr(owner, "__name__", type(owner).__name__)
            pytest.fail(
                f"{library} {version(library)} has no {name} in {label} any more, which {module} uses; adapt that "
                f"module, or bound {library} in pyproject.toml.",
                pytrace=False,
            )
    return value


def _entry(items: Any, number: int) -> Any:
    return items[number] if number < len(items) else GONE


@pytest.fixture(scope="module")
def models() -> dict[str, PreTrainedModel]:
    """Build a model of each kind with transformers' own forward passes; it masks, and so has the mask's vector."""
    built = {}
    for kind in {kind for kind, _, _ in OF_A_MODEL}:
        family, architecture = (KINDS | OTHER_KINDS).get(kind, (kind, {}))
        config = replace(small_config(family, **architecture), kernels=Kernels.transformers)
        built[kind] = load_backbone(config, seed=0, time_mask_probability=0.5).model
    return built


@pytest.mark.parametrize(("kind", "name", "module"), OF_A_MODEL)
def test_transformers_models_have_the_inner_names_that_we_use(
    models: dict[str, PreTrainedModel], kind: str, name: str, module: str
) -> None:
    require("transformers", models[kind], name, module)


@pytest.mark.parametrize("kind", [*STABLE, "data2vec", "conformer-relative", "w2v_bert"])
@pytest.mark.parametrize(("name", "module"), OF_A_CLASSIFIER)
def test_transformers_classifiers_have_the_names_that_a_saved_model_needs(
    models: dict[str, PreTrainedModel], kind: str, name: str, module: str
) -> None:
    config = models[kind].config.__class__.from_dict(models[kind].config.to_dict() | {"use_weighted_layer_sum": True})
    with torch.device("meta"):
        require("transformers", AutoModelForAudioClassification.from_config(config), name, module)


@pytest.mark.parametrize(
    ("library", "owner", "name", "module"), OF_A_LIBRARY, ids=[name for _, _, name, _ in OF_A_LIBRARY]
)
def test_libraries_have_the_private_names_that_we_use(library: str, owner: Any, name: str, module: str) -> None:
    require(library, owner, name, module)


def test_hydra_reads_a_yaml_in_the_frame_that_we_look_into() -> None:
    """The file's name is the local variable `full_path` of Hydra's reader."""
    reader = importlib.import_module(HYDRAS_READER)
    load = require("hydra-core", reader, "FileConfigSource.load_config", FAILURES)
    if "full_path" not in load.__code__.co_varnames:
        pytest.fail(f"Hydra's load_config has no variable full_path any more, which {FAILURES} reads.")


def test_the_first_convolution_has_a_group_norm_and_the_layers_take_a_mask(models: dict[str, PreTrainedModel]) -> None:
    """masking.py would leave another kind of norm alone, and an unknown argument would vanish in `**kwargs`."""
    for kind, model in models.items():
        if kind != "w2v_bert":
            norm = model.feature_extractor.conv_layers[0].layer_norm
            assert isinstance(norm, nn.GroupNorm | nn.LayerNorm), f"{MASKING} does not know the norm of {kind}"
        arguments = inspect.signature(type(model.encoder.layers[0]).forward).parameters
        other = {"wavlm": "position_bias", "conformer-relative": "relative_position_embeddings"}.get(kind)
        expected = {"attention_mask"} | ({other} if other else set())
        assert expected <= set(arguments), f"{KERNELS}.layers passes {expected} to the layers of {kind}"


@pytest.mark.parametrize(
    ("library", "owner", "name"),
    [
        ("accelerate", PartialState, "_shared_states"),
        ("transformers", nn.Linear(1, 1), "weight.nothing"),
        ("transformers", nn.ModuleList(), "0.conv"),
    ],
)
def test_a_name_that_is_gone_is_one_sentence_with_our_module(library: str, owner: Any, name: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=rf"^{library} [\d.]+ has no {name} in .* melt_ser\.here uses; ad"):
        require(library, owner, name, "melt_ser.here")


@pytest.mark.parametrize(
    ("name", "module"),
    sorted(
        {
            *((name, module) for _, name, module in OF_A_MODEL),
            *OF_A_CLASSIFIER,
            *((name, module) for _, _, name, module in OF_A_LIBRARY),
            (f"{HYDRAS_READER}.full_path", FAILURES),
        }
    ),
)
def test_the_named_module_still_uses_the_private_name(name: str, module: str) -> None:
    """Otherwise the case above should go."""
    path = Path(melt_ser.__file__).parent / module.removeprefix("melt_ser.").replace(".", "/")
    source = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    assert name.rpartition(".")[2] in source.read_text(encoding="utf-8")
