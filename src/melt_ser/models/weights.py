"""Build a transformers model with its weights: random from a seed, or read from the files of a checkpoint.

The functions import transformers themselves: it takes seconds, and the message about a missing checkpoint should come
at once.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from melt_ser.config import BackboneConfig
from melt_ser.core.errors import SetupError, did_you_mean, first_line
from melt_ser.models.checkpoint_files import CONFIG, EXTRACTOR, find_checkpoint, weights_file

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

MODEL_TYPES = {"wav2vec2": "wav2vec2", "hubert": "hubert", "wavlm": "wavlm", "data2vec": "data2vec-audio"}
"""The `model_type` of transformers for each of our families."""

TINY: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 1536,
    "conv_dim": [32, 32, 32, 64, 64, 64, 64],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 8,
    "conv_bias": True,
    "hidden_dropout": 0.1,
    "activation_dropout": 0.1,
    "feat_proj_dropout": 0.1,
    "attention_dropout": 0.0,
}
"""The architecture of random weights: about a million parameters, and a frame every 20 ms.

It is wide rather than deep, and has dropout, because a model soon learns a few hundred clips by heart. On half of
EmoDB's speakers, two layers with dropout did better than four without, in less time.
"""

TINY_NORMS = {"feat_extract_norm": "group", "do_stable_layer_norm": True}
"""The norms of random weights, except for data2vec: it offers no choice of norms.

The convolutions are those of the base models, because they are faster. The transformer is that of the large models,
because it trains from random weights; that of the base models hardly does.
"""

TINY_DATA2VEC = {
    "num_conv_pos_embeddings": 3,
    "conv_pos_kernel_size": 9,
    "num_hidden_layers": 4,
    "intermediate_size": 640,
    "hidden_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
}
"""Changes to TINY for data2vec.

Its `num_conv_pos_embeddings` counts the layers of the positional encoder; in the other families it is the width of the
only layer. Its norms come after the layers, and with the dropout of the others it learned less.
"""

# The errors of broken weights: torch, pickle, safetensors and transformers each have their own.
UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError)
INVALID = (ValueError, TypeError, AttributeError, StrictDataclassError)  # the errors of a wrong configuration


def family_name(config: BackboneConfig) -> str:
    """Return the family as plain text, whether the setting holds an enumeration or a word."""
    return str(getattr(config.family, "value", config.family))


def family_of(model_type: str | None) -> str | None:
    """Return our family for a `model_type` of transformers; None for every other kind of model."""
    return next((family for family, known in MODEL_TYPES.items() if known == model_type), None)


def tiny_architecture(family: str) -> dict[str, Any]:
    """Return the settings of a transformers configuration for random weights of a family."""
    return TINY | (TINY_DATA2VEC if family == "data2vec" else TINY_NORMS)


def random_model(config: BackboneConfig, seed: int, settings: dict[str, Any]) -> PreTrainedModel:
    """Draw random weights for the tiny architecture of a family, changed by `config.architecture`.

    Args:
        config: gives the family and the changes.
        seed: seeds the weights; the global random state stays as it was.
        settings: further keys of the transformers configuration, such as `layerdrop`.

    Raises SetupError if `config.architecture` has an unknown key or cannot be built.
    """
    from transformers import CONFIG_MAPPING, AutoModel

    config_class = CONFIG_MAPPING[MODEL_TYPES[family_name(config)]]
    shape = tiny_architecture(family_name(config))
    known = config_class().to_dict()
    for key in config.architecture:
        if key not in known:
            raise SetupError(f"backbone.architecture has no key '{key}'; {did_you_mean(key, known)}")
    try:
        with seeded(seed):
            model: PreTrainedModel = AutoModel.from_config(config_class(**shape | config.architecture | settings))
    except (ValueError, TypeError, RuntimeError, StrictDataclassError) as error:
        raise SetupError(f"backbone.architecture cannot be built: {first_line(error)}.") from error
    return model.eval()


def pretrained_model(config: BackboneConfig, seed: int, settings: dict[str, Any]) -> tuple[PreTrainedModel, bool]:
    """Read the backbone of a checkpoint in float32, and whether it wants normalised audio (`do_normalize`).

    The heads of the checkpoint (for recognition, classification or pretraining) are left out.

    Args:
        config: names the checkpoint and the family.
        seed: seeds SpecAugment's mask vector, if the checkpoint lacks it (few do).
        settings: further keys of the transformers configuration, such as `layerdrop`.

    Raises SetupError if a weight of the backbone is missing, or a file is missing, unreadable or unsuitable.
    """
    folder = find_checkpoint(config)
    return _read_folder(folder, config, seed, settings), _do_normalize(folder)


def _read_folder(folder: Path, config: BackboneConfig, seed: int, settings: dict[str, Any]) -> PreTrainedModel:
    from transformers import AutoModel

    model_config = _read_config(folder, config)
    for key, value in settings.items():
        setattr(model_config, key, value)
    weights = weights_file(folder, config)
    try:
        with quiet_transformers(), seeded(seed):
            model, report = AutoModel.from_pretrained(
                folder,
                config=model_config,
                dtype=torch.float32,
                use_safetensors="safetensors" in weights.name,
                weights_only=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except UNREADABLE as error:
        raise SetupError(f"The weights {weights} cannot be read ({first_line(error)}); get them again.") from error
    missing = sorted(name for name in report["missing_keys"] if name != "masked_spec_embed")
    if missing:
        raise SetupError(f"The weights {weights} lack {missing[0]} (of {len(missing)} missing); get them again.")
    check_finite(model, weights)
    loaded: PreTrainedModel = model
    return loaded


def check_finite(model: torch.nn.Module, weights: Path) -> None:
    """Raise SetupError if a weight is NaN or infinite: such a model answers NaN to everything."""
    for name, tensor in model.state_dict().items():
        least, greatest = tensor.aminmax()  # one NaN makes both NaN; one pass, and nothing is allocated
        if not (least.isfinite() and greatest.isfinite()):
            raise SetupError(f"The weights {weights} have NaN or infinite values in {name}; get them again.")


def _read_config(folder: Path, config: BackboneConfig) -> PreTrainedConfig:
    """Read config.json; raise SetupError if it describes a model of another family or one with an adapter."""
    from transformers import CONFIG_MAPPING

    described = _read_json(folder / CONFIG)
    family, model_type = family_name(config), described.get("model_type")
    if model_type != MODEL_TYPES[family]:
        right = family_of(model_type)
        fix = f"set backbone.family={right}" if right else f"choose a checkpoint of {', '.join(MODEL_TYPES)}"
        raise SetupError(f"backbone.family is {family}, but {config.checkpoint} is a '{model_type}' model; {fix}.")
    if described.get("add_adapter"):
        raise SetupError(f"{config.checkpoint} shortens its frames with an adapter (add_adapter); choose one without.")
    try:
        return CONFIG_MAPPING[model_type].from_dict(described)
    except INVALID as error:
        raise SetupError(f"{folder / CONFIG} is not a valid configuration: {first_line(error)}.") from error


def _do_normalize(folder: Path) -> bool:
    """Say whether the checkpoint's feature extractor normalises audio; transformers' default is to do so."""
    for name in EXTRACTOR:
        if (folder / name).exists():
            extractor = _read_json(folder / name)
            return bool(extractor.get("feature_extractor", extractor).get("do_normalize", True))
    raise SetupError(
        f"{folder} has no {EXTRACTOR[0]}, which says whether to normalise audio; copy it from the checkpoint."
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SetupError(f"{path.parent} has no {path.name}; give the folder of a transformers checkpoint.") from error
    except (OSError, ValueError) as error:
        raise SetupError(f"{path} cannot be read ({first_line(error)}); get it again.") from error
    if not isinstance(value, dict):
        raise SetupError(f"{path} is not a JSON object; get it again.")
    return value


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the CPU's generator within the block; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU too
        yield


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from printing a checkpoint's unused heads and a progress bar within the block.

    The caller checks for missing weights itself.
    """
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
