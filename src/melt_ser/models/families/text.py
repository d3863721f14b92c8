"""Encoders of text, which read the words of the corpus table in place of audio: BERT, RoBERTa and their kin.

A frame is a token. The first stage only puts the encoder's own padding behind the token ids, by which RoBERTa counts
positions; the second looks up the embeddings. The layers are transformers' own, and their attention does not see the
padding. A saved model has the tokenizer next to the encoder. The classifiers of transformers read the first token
alone, so none of them equals a model of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from melt_ser.config import BackboneConfig, Kernels
from melt_ser.core.errors import SetupError, first_line
from melt_ser.core.files import sha256
from melt_ser.models.backbone import Backbone
from melt_ser.models.checkpoint_files import TOKENIZER, find_checkpoint
from melt_ser.models.kernels.masking import mask_of
from melt_ser.models.quiet import quiet_transformers
from melt_ser.models.weights import pretrained_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TextBackbone(Backbone):
    """An encoder of transformers with `embeddings` and an `encoder` of layers, and its tokenizer."""

    family = "text"
    reads_words = True

    def __init__(self, model: PreTrainedModel, tokenizer: Any, layer_drop: float = 0.0) -> None:
        super().__init__(model, do_normalize=False, kernels=Kernels.transformers)
        model.pooler = None  # the head pools
        self.tokenizer = tokenizer
        self._layer_drop = layer_drop

    @property
    def most_tokens(self) -> int:
        """The number of tokens that the encoder has positions for."""
        positions: nn.Embedding = self.model.embeddings.position_embeddings
        unused = 0 if positions.padding_idx is None else positions.padding_idx + 1  # RoBERTa counts from there
        return min(positions.num_embeddings - unused, int(self.tokenizer.model_max_length))

    def tokenise(self, texts: Sequence[str]) -> tuple[list[list[int]], int]:
        """Return the token ids of each text, cut to `most_tokens`, and the number of texts that were cut."""
        if not texts:
            return [], 0
        with quiet_transformers():  # it warns of texts that are too long
            whole = self.tokenizer(list(texts))["input_ids"]
            longer = sum(len(ids) > self.most_tokens for ids in whole)
            if longer:
                whole = self.tokenizer(list(texts), truncation=True, max_length=self.most_tokens)["input_ids"]
        return whole, longer

    @property
    def hidden_size(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def number_of_layers(self) -> int:
        return len(self.model.encoder.layer)

    @property
    def channels(self) -> int:
        return 1

    @property
    def layer_drop(self) -> float:
        return self._layer_drop

    @property
    def masks_input(self) -> bool:
        return False

    @property
    def convolution(self) -> list[nn.Module]:
        return []

    @property
    def embedding(self) -> list[nn.Module]:
        return [self.model.embeddings]

    @property
    def encoder(self) -> Any:
        return SimpleNamespace(layers=self.model.encoder.layer, config=self.model.config)

    @property
    def normalises_last(self) -> bool:
        return False

    def feature_extractor(self) -> Any:
        """Return the tokenizer, which is to text what the feature extractor is to audio."""
        return self.tokenizer

    @property
    def settings(self) -> dict[str, Any]:
        words = sha256(self.tokenizer.backend_tokenizer.to_str())
        return {**super().settings, "tokenizer": words, "most_tokens": self.most_tokens}

    def frames_of(self, lengths: Tensor) -> Tensor:
        return lengths

    def convolve(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return token ids, (batch, tokens), with the encoder's own padding, and their mask.

        audio: token ids, (batch, tokens), with any padding; lengths: the tokens of each text, (batch,).
        """
        mask = mask_of(lengths, audio.shape[1], audio.device)
        return self.compute_convolution(audio.masked_fill(~mask, self._padding), lengths), mask

    def compute_convolution(self, audio: Tensor, lengths: list[int] | Tensor) -> Tensor:
        return audio

    def embed(self, convolved: Tensor, frame_mask: Tensor) -> Tensor:
        embedded: Tensor = self.model.embeddings(input_ids=convolved)
        return embedded

    @property
    def _padding(self) -> int:
        index = self.model.embeddings.word_embeddings.padding_idx
        return 0 if index is None else int(index)


def load_backbone(
    config: BackboneConfig, seed: int, time_mask_probability: float = 0.0, feature_mask_probability: float = 0.0
) -> Backbone:
    """Build the backbone of a configuration; the arguments are those of `families.load_backbone`.

    Nothing is masked: SpecAugment is about audio. Raises SetupError without a checkpoint, since random weights have no
    tokenizer.
    """
    if config.checkpoint is None:
        raise SetupError(
            "backbone.family=text needs backbone.checkpoint, which has the tokenizer; for its architecture with random "
            "weights, set backbone.init=random."
        )
    folder = find_checkpoint(config)
    tokenizer = read_tokenizer(folder)
    model = pretrained_model(folder, config, seed, {}, "embeddings.word_embeddings.weight")
    if len(tokenizer) > model.config.vocab_size:
        raise SetupError(
            f"The tokenizer in {folder} has {len(tokenizer):,} tokens, but config.json has "
            f"vocab_size={model.config.vocab_size:,}; get both from the same checkpoint."
        )
    return TextBackbone(model, tokenizer, config.layer_drop)


def read_tokenizer(folder: Path) -> Any:
    """Return the tokenizer in a checkpoint's folder; no code in the folder is run. SetupError if it cannot be read."""
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in TOKENIZER):
        raise SetupError(f"{folder} has no tokenizer ({TOKENIZER[0]}); give the whole checkpoint of a text encoder.")
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            _ = tokenizer.backend_tokenizer
    except Exception as error:  # each kind of tokenizer has its own errors
        raise SetupError(f"The tokenizer in {folder} cannot be read ({first_line(error)}); get it again.") from error
    return tokenizer
