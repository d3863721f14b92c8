"""Whisper with its decoder: audio becomes words, by the most probable token at each step.

Every clip is padded to 30 s, as in Whisper's training; without the padding its decoder is at a loss. A longer clip has
to be cut before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from melt_ser.audio import SAMPLE_RATE
from melt_ser.config import BackboneConfig
from melt_ser.core.errors import SetupError, did_you_mean, first_line
from melt_ser.core.files import sha256
from melt_ser.core.package import checkpoint_path
from melt_ser.models.checkpoint_config import read_json
from melt_ser.models.checkpoint_files import CONFIG, naming_settings, weights_digest, why_not_downloaded
from melt_ser.models.quiet import quiet_hub, quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SECONDS = 30.0  # the longest clip
FILES = ["*.json", "*.txt", "model.safetensors", "model-*.safetensors"]  # of a repository; not model.fp32-*
MULTILINGUAL = 51_865  # tokens from which a vocabulary of Whisper has languages; English alone has one less
LANGUAGE = re.compile(r"<\|[a-z]{2,3}\|>")


class Recogniser:
    """A Whisper model on a device, with its tokenizer.

    name: the checkpoint and its commit (of a folder: a digest of its files), for results.
    digest: changes with everything that decides its words.
    """

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        """Read a checkpoint; raises SetupError, one sentence with the fix, if it is no whole Whisper."""
        from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

        if not (folder / CONFIG).is_file() or read_json(folder / CONFIG).get("model_type") != "whisper":
            raise SetupError(f"{folder} is no Whisper model; give one with recogniser.checkpoint=<hub id or folder>.")
        try:
            with quiet_transformers():
                self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
                self.extractor = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
                loaded = WhisperForConditionalGeneration.from_pretrained(
                    folder, local_files_only=True, use_safetensors=True, output_loading_info=True, dtype=torch.float32
                )
        except Exception as error:  # each of the three has errors of its own
            raise SetupError(
                f"The recogniser in {folder} cannot be read ({first_line(error)}); it needs the configuration, the "
                "weights as safetensors, the feature extractor and the tokenizer of one Whisper checkpoint."
            ) from error
        model, report = loaded
        missing = sorted(set(report["missing_keys"]) - {"proj_out.weight"})  # it is the decoder's embedding
        if missing:
            raise SetupError(
                f"The weights in {folder} lack {missing[0]} ({len(missing)} are missing); recogniser.checkpoint needs "
                "the whole of Whisper, with its decoder."
            )
        complete_generation(model, self.tokenizer)
        self.model: PreTrainedModel = model.to(device).eval()
        self.name = name
        tokens = sha256(str(sorted(self.tokenizer.get_vocab().items())))
        self.digest = sha256(f"{name}\n{tokens}\n{model.generation_config.to_json_string()}")

    @property
    def device(self) -> torch.device:
        """Return the device that it computes on."""
        device: torch.device = self.model.device
        return device

    @property
    def languages(self) -> list[str]:
        """Return the codes of the languages that it can be told to hear; empty if it knows English alone."""
        settings = self.model.generation_config
        return [token.strip("<|>") for token in settings.lang_to_id] if settings.is_multilingual else []

    def check_language(self, language: str | None) -> None:
        """Raise SetupError for a language (`recogniser.language`) that it does not know; one of English ignores it."""
        known = self.languages
        if language is not None and known and language not in known:
            raise SetupError(f"recogniser.language: {self.name} has no '{language}'; {did_you_mean(language, known)}")

    @torch.no_grad()
    def __call__(self, clips: Sequence[np.ndarray], language: str | None = None) -> list[str]:
        """Return the words of clips at 16 kHz, each of at most 30 s.

        language: one of `languages`; None: what it hears (a model of English alone: English).
        """
        features = self.extractor(
            list(clips), sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True
        ).to(self.model.device)
        told: dict[str, Any] = {"task": "transcribe", "language": language} if self.languages else {}
        with quiet_transformers():
            tokens = self.model.generate(**features, do_sample=False, num_beams=1, return_timestamps=False, **told)
        return [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def find_recogniser(checkpoint: str, revision: str | None) -> tuple[Path, str]:
    """Return the folder of a checkpoint, fetched from the hub if it is not here, and its name with the commit.

    Raises SetupError, one sentence with the fix, if there is no such checkpoint, or for a revision of a folder.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    folder = checkpoint_path(checkpoint)
    if folder.is_dir():
        if revision is not None:
            raise SetupError(f"recogniser.revision is a commit of the hub, and {checkpoint} is a folder; leave it out.")
        with naming_settings({"backbone.checkpoint": "recogniser.checkpoint"}):
            digest = weights_digest(BackboneConfig("recogniser", "whisper", str(folder)))
        return folder, f"{folder.resolve().name} ({(digest or '')[:23]})"
    quiet_hub()
    try:
        folder = Path(snapshot_download(checkpoint, revision=revision, allow_patterns=FILES))
    except HFValidationError as error:
        raise SetupError(f"recogniser.checkpoint={checkpoint} is neither a folder nor a model of the hub.") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        fix = "correct recogniser.checkpoint or recogniser.revision"
        raise SetupError(f"{checkpoint} is not on the Hugging Face hub; {fix}.") from error
    except Exception as error:  # the hub's client passes on the errors of its HTTP library
        raise SetupError(
            f"The recogniser {checkpoint} is not in the Hugging Face cache and {why_not_downloaded(error)}; connect "
            f"once, or run `hf download {checkpoint}` on a machine with a network and copy its cache, or set "
            "recogniser.checkpoint=<local folder>."
        ) from error
    return folder, f"{checkpoint} (commit:{folder.name})"  # the hub's cache names folders by the commit


def complete_generation(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Fill in the settings of decoding that a folder without generation_config.json lacks, from its tokenizer."""
    settings, vocabulary = model.generation_config, tokenizer.get_vocab()
    filled = {
        "decoder_start_token_id": vocabulary.get("<|startoftranscript|>"),
        "no_timestamps_token_id": vocabulary.get("<|notimestamps|>"),
        "is_multilingual": int(model.config.vocab_size) >= MULTILINGUAL,
        "lang_to_id": {token: number for token, number in sorted(vocabulary.items()) if LANGUAGE.fullmatch(token)},
        "task_to_id": {name: vocabulary.get(f"<|{name}|>") for name in ("transcribe", "translate")},
    }
    for name, value in filled.items():
        if getattr(settings, name, None) is None:
            setattr(settings, name, value)
    if settings.max_length is None or settings.max_length <= 20:  # the default of transformers, for no model of speech
        settings.max_length = int(model.config.max_target_positions)
