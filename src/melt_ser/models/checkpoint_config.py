"""Read a checkpoint's config.json and feature extractor: only the keys of the architecture, within their bounds.

The files come from strangers. Every other key is ignored: nothing is downloaded, imported or built because a file asks
for it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub.errors import StrictDataclassError

from melt_ser.audio import RECEPTIVE_FIELD, SAMPLE_RATE
from melt_ser.config import BackboneConfig
from melt_ser.core.errors import SetupError, first_line
from melt_ser.core.vocabulary import READ_WORDS
from melt_ser.models.checkpoint_files import ADAPTER, CONFIG, EXTRACTOR

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

MODEL_TYPES = {
    "wav2vec2": "wav2vec2",
    "hubert": "hubert",
    "wavlm": "wavlm",
    "data2vec": "data2vec-audio",
    "unispeech": "unispeech",
    "unispeech_sat": "unispeech-sat",
    "wav2vec2_conformer": "wav2vec2-conformer",
    "w2v_bert": "wav2vec2-bert",
    "whisper": "whisper",
}
"""The `model_type` of transformers for each of our families."""

TEXT_MODEL_TYPES = ("bert", "roberta", "xlm-roberta", "camembert")
"""The `model_type` of each text encoder that the family `text` reads."""

INVALID = (ValueError, TypeError, AttributeError, StrictDataclassError)  # the errors of a wrong configuration
LARGEST = {  # far above every published encoder; a larger number would keep the machine busy for hours
    "encoder_layers": 1_000,
    "d_model": 100_000,
    "encoder_ffn_dim": 1_000_000,
    "encoder_attention_heads": 10_000,
    "num_mel_bins": 1_000,
    "max_source_positions": 100_000,
    "num_hidden_layers": 1_000,
    "hidden_size": 100_000,
    "intermediate_size": 1_000_000,
    "num_attention_heads": 10_000,
    "num_conv_pos_embeddings": 10_000,
    "num_conv_pos_embedding_groups": 10_000,
    "conv_pos_kernel_size": 10_000,
    "num_buckets": 100_000,
    "max_bucket_distance": 1_000_000,
    "output_hidden_size": 100_000,
    "num_adapter_layers": 16,
    "adapter_stride": 16,
    "adapter_kernel_size": 3,  # with the adapter's padding of one frame, a wider one would leave short clips no frame
    "conv_depthwise_kernel_size": 1_000,
    "feature_projection_input_dim": 10_000,
    "left_max_position_embeddings": 100_000,
    "right_max_position_embeddings": 100_000,
}
MOST_CONVOLUTIONS, WIDEST_CONVOLUTION = 32, 100_000
LARGEST_FILE = 2**24  # bytes of a JSON file; a real one has a few thousand


def family_of(model_type: str | None) -> str | None:
    """Return our family for a `model_type` of transformers; None for every other kind of model."""
    return next((family for family, known in MODEL_TYPES.items() if known == model_type), None)


def read_config(folder: Path, config: BackboneConfig) -> PreTrainedConfig:
    """Return the configuration in a checkpoint's config.json.

    Raises SetupError if the file cannot be read, or describes a model of another family, with an adapter of peft, with
    quantised weights, or with impossible sizes.
    """
    from transformers import CONFIG_MAPPING, PreTrainedConfig

    path = folder / CONFIG
    described = read_json(path)
    family, model_type = config.family, described.get("model_type")
    known = TEXT_MODEL_TYPES if family in READ_WORDS else (MODEL_TYPES[family],)
    if model_type not in known:
        right = family_of(model_type)
        of_family = TEXT_MODEL_TYPES if family in READ_WORDS else MODEL_TYPES
        fix = f"set backbone.family={right}" if right else f"choose a checkpoint of {', '.join(of_family)}"
        raise SetupError(f"backbone.family is {family}, but {config.checkpoint} is a '{model_type}' model; {fix}.")
    if described.get("quantization_config"):
        raise SetupError(f"{config.checkpoint} has quantised weights (quantization_config); give the original weights.")
    if (folder / ADAPTER).exists():
        raise SetupError(f"{config.checkpoint} holds an adapter ({ADAPTER}); merge it into its model and save that.")
    config_class = CONFIG_MAPPING[model_type]
    architecture = config_class().to_dict().keys() - PreTrainedConfig().to_dict().keys()
    try:
        read: PreTrainedConfig = config_class(**{key: described[key] for key in architecture if key in described})
    except INVALID as error:
        raise SetupError(f"{path} is not a valid configuration: {first_line(error)}.") from error
    check_sizes(read, str(path))
    return read


def check_sizes(config: PreTrainedConfig, source: str) -> None:
    """Raise SetupError if a size of the architecture is out of range; the message begins with `source`."""
    for key, largest in LARGEST.items():
        if hasattr(config, key):
            _check_number(source, key, getattr(config, key), largest)
    if not hasattr(config, "conv_kernel"):  # Whisper, w2v-BERT
        return
    spans = {key: getattr(config, key) for key in ("conv_kernel", "conv_stride", "conv_dim")}
    for key, numbers in spans.items():
        if not isinstance(numbers, list | tuple) or not 0 < len(numbers) <= MOST_CONVOLUTIONS:
            raise SetupError(f"{source}: {key} is a list of 1 to {MOST_CONVOLUTIONS} numbers, not {_short(numbers)}.")
        for number in numbers:
            _check_number(source, key, number, WIDEST_CONVOLUTION)
    field, step = 1, 1  # samples that one frame spans, and from one frame to the next
    for kernel, stride in zip(spans["conv_kernel"], spans["conv_stride"], strict=False):
        field, step = field + (kernel - 1) * step, step * stride
    if field > RECEPTIVE_FIELD:
        raise SetupError(
            f"{source}: one frame spans {field} samples by conv_kernel and conv_stride, more than the "
            f"{RECEPTIVE_FIELD} of every supported encoder; choose another checkpoint."
        )


def _check_number(source: str, key: str, number: Any, largest: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= largest:
        raise SetupError(f"{source}: {key} must be a whole number from 1 to {largest:,}, not {_short(number)}.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def extractor_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a checkpoint's feature extractor.

    Raises SetupError if there is no extractor, if it cannot be read, or if its sampling rate is not 16 kHz.
    """
    for name in EXTRACTOR:
        if (folder / name).exists():
            content = read_json(folder / name)
            extractor = content.get("feature_extractor", content)
            if not isinstance(extractor, dict):
                raise SetupError(f"{folder / name} has no sound 'feature_extractor'; get it again.")
            rate = extractor.get("sampling_rate", SAMPLE_RATE)
            if rate != SAMPLE_RATE:
                raise SetupError(
                    f"{folder / name} says that the checkpoint expects audio of {_short(rate)} Hz, but every backbone "
                    f"gets {SAMPLE_RATE} Hz here; choose a checkpoint that was trained on {SAMPLE_RATE} Hz."
                )
            return extractor
    raise SetupError(
        f"{folder} has no {EXTRACTOR[0]}, which says whether to normalise audio; copy it from the checkpoint."
    )


def read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise SetupError(f"{path} has {path.stat().st_size:,} bytes, too many for a configuration; get it again.")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SetupError(f"{path.parent} has no {path.name}; give the folder of a transformers checkpoint.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise SetupError(f"{path} cannot be read ({first_line(error)}); get it again.") from error
    if not isinstance(value, dict):
        raise SetupError(f"{path} is not a JSON object; get it again.")
    return value
