"""Build a transformers model with its weights: random from a seed, or read from the files of a checkpoint.

transformers is imported inside the functions, because the import takes seconds, and the message about a missing
checkpoint should come at once.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from melt_ser.config import BackboneConfig
from melt_ser.core.console import say
from melt_ser.core.errors import SetupError, did_you_mean, first_line
from melt_ser.models.checkpoint_config import (
    INVALID,
    MODEL_TYPES,
    check_sizes,
    read_config,
)
from melt_ser.models.checkpoint_files import CONFIG, shards_of, weights_file
from melt_ser.models.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

MAY_LACK = ("masked_spec_embed", "pooler.dense.weight", "pooler.dense.bias")  # the pooler of a text encoder is unused
# The errors of broken weights: torch, pickle, safetensors and transformers each have their own.
UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError)


def random_model(
    config: BackboneConfig,
    seed: int,
    settings: dict[str, Any],
    shape: dict[str, Any],
    model_class: Any = None,
) -> PreTrainedModel:
    """Draw random weights for a tiny architecture, changed by `config.architecture`.

    Args:
        config: gives the family and the changes.
        seed: seeds the weights; the global random state stays as it was.
        settings: further keys of the transformers configuration, such as `layerdrop`.
        shape: the keys of the tiny architecture.
        model_class: the class of transformers to build; None: `AutoModel`.

    Raises SetupError if `config.architecture` has an unknown key or cannot be built.
    """
    from transformers import CONFIG_MAPPING, AutoModel

    config_class = CONFIG_MAPPING[MODEL_TYPES[config.family]]
    known = config_class().to_dict()
    for key in config.architecture:
        if key not in known:
            raise SetupError(f"backbone.architecture has no key '{key}'; {did_you_mean(key, known)}")
    try:
        model_config = config_class(**shape | config.architecture | settings)
        check_sizes(model_config, "backbone.architecture")
        with seeded(seed):
            model = _built(model_class or AutoModel, model_config)
    except (*INVALID, RuntimeError) as error:
        raise SetupError(f"backbone.architecture cannot be built: {first_line(error)}.") from error
    return model.eval()


def pretrained_model(
    folder: Path,
    config: BackboneConfig,
    seed: int,
    settings: dict[str, Any],
    first_weight: str,
    model_class: Any = None,
    known_prefixes: tuple[str, ...] = (),
) -> PreTrainedModel:
    """Return the model of a checkpoint, in float32; with backbone.init=random only its architecture.

    The other parts of the checkpoint (heads for recognition, classification or pretraining, a decoder) are left out.

    Args:
        folder: the checkpoint's files, as `find_checkpoint` returns them.
        config: names the checkpoint and the family.
        seed: seeds random weights, and those that the checkpoint may lack (SpecAugment's mask vector; few lack it).
        settings: further keys of the transformers configuration, such as `layerdrop`.
        first_weight: the name of a weight that every such model has; a prefix in front of it is taken off.
        model_class: the class of transformers to build; None: `AutoModel`.
        known_prefixes: the prefixes of published checkpoints; any other one is told.

    Raises SetupError if a weight of the model is missing, or a file is missing, unreadable or unsuitable.
    """
    from transformers import AutoModel

    model_class = model_class or AutoModel
    model_config = read_config(folder, config)
    for key, value in settings.items():
        setattr(model_config, key, value)
    if config.is_random:
        with seeded(seed):
            return _built(model_class, model_config).eval()
    weights = weights_file(folder, config)
    names = _names_of_weights(weights)
    expected = _unfilled(model_class, model_config, folder, weights)
    try:
        with quiet_transformers(), seeded(seed):
            model, report = model_class.from_pretrained(
                folder,
                config=model_config,
                dtype=torch.float32,
                use_safetensors="safetensors" in weights.name,
                weights_only=True,
                local_files_only=True,
                output_loading_info=True,
                key_mapping=_without_prefix(names, first_weight, expected.base_model_prefix, known_prefixes, weights),
            )
    except UNREADABLE as error:
        raise SetupError(f"The weights {weights} cannot be read ({first_line(error)}); get them again.") from error
    missing = sorted(name for name in report["missing_keys"] if name not in MAY_LACK)
    if len(missing) >= len(expected.state_dict()) - 1:
        raise SetupError(
            f"The weights {weights} are of another model: no name in them is one of a {model_config.model_type} "
            "encoder; give another backbone.checkpoint."
        )
    if missing:
        raise SetupError(f"The weights {weights} lack {missing[0]} (of {len(missing)} missing); get them again.")
    check_finite(model, weights)
    loaded: PreTrainedModel = model
    return loaded


def _unfilled(model_class: Any, model_config: PreTrainedConfig, folder: Path, weights: Path) -> PreTrainedModel:
    """Return the model without memory for its weights (on torch's meta device).

    Raises SetupError if config.json describes no model, or one with more weights than the files can hold.
    """
    path = folder / CONFIG
    try:
        with torch.device("meta"), seeded(0):
            model: PreTrainedModel = _built(model_class, model_config)
    except (*INVALID, KeyError, RuntimeError, ZeroDivisionError, OverflowError) as error:
        raise SetupError(f"{path} describes no model ({first_line(error)}); get it again.") from error
    count = sum(parameter.numel() for parameter in model.parameters())
    size = sum(path.stat().st_size for path in shards_of(weights))
    if count > size:  # a weight takes a byte at least
        raise SetupError(
            f"{path} describes a model of {count:,} weights, too many for the {size:,} bytes of {weights.name}; "
            "get both from the same checkpoint."
        )
    return model


def _built(model_class: Any, model_config: PreTrainedConfig) -> PreTrainedModel:
    """Return a model with new weights."""
    from transformers import AutoModel

    model: PreTrainedModel = (
        AutoModel.from_config(model_config) if model_class is AutoModel else model_class(model_config)
    )
    return model


def _without_prefix(
    names: list[str], first_weight: str, base_prefix: str, known_prefixes: tuple[str, ...], weights: Path
) -> dict[str, str] | None:
    """Return a `key_mapping` for transformers that removes a prefix from the names of weights; None if there is none.

    Training loops write such prefixes: `module.` (DataParallel), `model.` (Lightning). transformers itself removes
    `base_prefix`, the name of the backbone in its models with a head. Raises SetupError if there are several backbones.
    """
    prefixes = sorted({name.removesuffix(first_weight) for name in names if name.endswith(first_weight)})
    if len(prefixes) > 1:
        raise SetupError(
            f"The weights {weights} hold several backbones, with the prefixes "
            f"{', '.join(map(repr, prefixes))}; save only the one to start from."
        )
    if not prefixes or prefixes[0] in ("", f"{base_prefix}."):
        return None
    if prefixes[0] not in known_prefixes:
        say(f"note: the names of the weights in {weights} begin with '{prefixes[0]}'; they are loaded without it.")
    return {f"^{re.escape(prefixes[0])}": ""}


def _names_of_weights(weights: Path) -> list[str]:
    """Return the names of the weights in a file, or those that an index lists."""
    try:
        if weights.suffix == ".json":
            return list(json.loads(weights.read_text(encoding="utf-8"))["weight_map"])
        if weights.suffix == ".safetensors":
            with safe_open(weights, framework="pt") as stored:
                return list(stored.keys())
        return [str(name) for name in torch.load(weights, map_location="meta", weights_only=True)]
    except (*UNREADABLE, TypeError, RecursionError) as error:
        raise SetupError(f"The weights {weights} cannot be read ({first_line(error)}); get them again.") from error


def check_finite(model: torch.nn.Module, weights: Path) -> None:
    """Raise SetupError if a weight is NaN or infinite: such a model answers NaN to everything."""
    for name, tensor in model.state_dict().items():
        least, greatest = tensor.aminmax()  # one NaN makes both NaN; one pass, and nothing is allocated
        if not (least.isfinite() and greatest.isfinite()):
            raise SetupError(f"The weights {weights} have NaN or infinite values in {name}; get them again.")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the CPU's generator within the block; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU too
        yield
