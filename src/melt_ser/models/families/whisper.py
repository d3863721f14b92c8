"""The encoder of Whisper: log-mel frames, two convolutions, positions, a transformer; 50 frames a second.

Whisper was trained on clips padded to 30 s. Here a clip keeps its own length: its mel frames end where it ends, and it
gets the first positions of the 30 s. With `backbone.pad_to_window=true` every clip is padded to 30 s as in
transformers, and the padding counts as frames, as in its WhisperForAudioClassification; this takes several times as
long. Longer clips are cut into windows of 30 s; each window is encoded alone, and the frames are joined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from melt_ser.audio import RECEPTIVE_FIELD
from melt_ser.config import BackboneConfig, HeadConfig, Kernels, LastState
from melt_ser.core.errors import SetupError
from melt_ser.models.backbone import Backbone
from melt_ser.models.checkpoint_config import extractor_settings
from melt_ser.models.checkpoint_files import find_checkpoint
from melt_ser.models.families.log_mel import HOP, LogMel
from melt_ser.models.kernels.attention import use_fast_attention
from melt_ser.models.kernels.masking import mask_of
from melt_ser.models.kernels.recording import is_recording, least
from melt_ser.models.weights import pretrained_model, random_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SAMPLES_PER_FRAME = 2 * HOP  # the second convolution has a stride of 2
PREFIXES = ("encoder.", "model.encoder.")  # in checkpoints of transformers, without and with a head


class WhisperBackbone(Backbone):
    """Whisper's encoder, a transformers `WhisperEncoder`; it is changed in place.

    kernels: the code that computes the attention (see kernels/__init__.py).
    pad_to_window: pad every clip to 30 s, and count the padding as frames.
    time_mask_probability, feature_mask_probability: SpecAugment's shares of masked frames and features.
    """

    family = "whisper"

    def __init__(
        self,
        model: PreTrainedModel,
        kernels: Kernels = Kernels.fast,
        pad_to_window: bool = False,
        time_mask_probability: float = 0.0,
        feature_mask_probability: float = 0.0,
    ) -> None:
        super().__init__(model, do_normalize=False, kernels=kernels)
        self.pad_to_window = pad_to_window
        self.time_mask_probability, self.feature_mask_probability = time_mask_probability, feature_mask_probability
        self.log_mel = LogMel(int(model.config.num_mel_bins))
        if kernels is Kernels.fast:
            use_fast_attention(model)

    @property
    def hidden_size(self) -> int:
        return int(self.model.config.d_model)

    @property
    def number_of_layers(self) -> int:
        return int(self.model.config.encoder_layers)

    @property
    def channels(self) -> int:
        return self.hidden_size

    @property
    def layer_drop(self) -> float:
        return float(self.model.config.encoder_layerdrop)

    @property
    def masks_input(self) -> bool:
        return max(self.time_mask_probability, self.feature_mask_probability) > 0

    @property
    def convolution(self) -> list[nn.Module]:
        return [self.model.conv1, self.model.conv2]

    @property
    def embedding(self) -> list[nn.Module]:
        return [self.model.embed_positions]

    @property
    def encoder(self) -> Any:
        return self.model

    @property
    def window(self) -> int:
        """The number of frames of the longest window, 1,500: 30 s."""
        return int(self.model.config.max_source_positions)

    @property
    def name_in_classifier(self) -> str:
        return "encoder"

    def equals_transformers(self, head: HeadConfig) -> bool:
        return self.pad_to_window and (head.layers == "last" or head.last_state == LastState.after_norm)

    def feature_extractor(self) -> Any:
        from transformers import WhisperFeatureExtractor

        return WhisperFeatureExtractor(feature_size=int(self.model.config.num_mel_bins))

    @property
    def options(self) -> dict[str, Any]:
        return {"pad_to_window": self.pad_to_window}

    @property
    def settings(self) -> dict[str, Any]:
        return super().settings | self.options

    def frames_of(self, lengths: Tensor) -> Tensor:
        samples = self.window * SAMPLES_PER_FRAME
        rest = lengths % samples
        rest_frames = (rest // HOP + 1) // 2 * (rest >= RECEPTIVE_FIELD)  # the second convolution rounds up
        if self.pad_to_window:
            rest_frames = self.window * (rest_frames > 0)
        return lengths // samples * self.window + rest_frames

    def compute_convolution(self, audio: Tensor, lengths: list[int] | Tensor) -> Tensor:
        own_lengths, samples = torch.as_tensor(lengths), self.window * SAMPLES_PER_FRAME
        width = samples if self.pad_to_window else least(audio.shape[1], samples)
        windows = (audio.shape[1] + width - 1) // width
        audio = nn.functional.pad(audio, (0, windows * width - audio.shape[1]))
        own = own_lengths[:, None] - width * torch.arange(windows)
        own = torch.minimum(own, torch.as_tensor(width)).flatten()
        is_heard = own >= RECEPTIVE_FIELD  # a shorter rest of a clip has no frame
        heard_audio = audio.view(-1, width)[is_heard.to(audio.device)]
        heard = torch.full_like(own[is_heard], width) if self.pad_to_window else own[is_heard]
        features = self._convolved(self.log_mel(heard_audio, heard), heard)
        joined = side_by_side(features, is_heard.to(audio.device), own_lengths.shape[0])
        longest = self.frames_of(own_lengths).max()
        return joined[:, : longest if is_recording() else int(longest)]

    def _convolved(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """Return the output of the convolutions, (windows, frames, features), for mel frames, (windows, bins, frames).

        The first convolution turns the zeros after a window's end into other values; these become zeros again.
        """
        model = self.model
        first = nn.functional.gelu(model.conv1(mel))
        inside = mask_of(lengths // HOP, first.shape[-1], mel.device)
        features: Tensor = nn.functional.gelu(model.conv2(first.masked_fill(~inside[:, None], 0.0)))
        return features.transpose(1, 2)

    def embed(self, convolved: Tensor, frame_mask: Tensor) -> Tensor:
        model = self.model
        positions = model.embed_positions(torch.arange(convolved.shape[1], device=convolved.device) % self.window)
        hidden = self._masked(convolved) + positions
        return nn.functional.dropout(hidden, p=model.dropout, training=model.training)

    def _masked(self, convolved: Tensor) -> Tensor:
        """Zero random stretches of frames and random features in training (SpecAugment)."""
        if not (self.model.training and self.masks_input):
            return convolved
        config = self.model.config
        for probability, length, axis in (
            (self.time_mask_probability, config.mask_time_length, 1),
            (self.feature_mask_probability, config.mask_feature_length, 2),
        ):
            masked = random_stretches(convolved.shape[0], convolved.shape[axis], probability, length)
            convolved = convolved.masked_fill(masked.to(convolved.device).unsqueeze(3 - axis), 0.0)
        return convolved

    def freeze(self, part: str | int) -> None:
        super().freeze(part)
        self.model.embed_positions.requires_grad_(False)  # sinusoids, fixed in pretraining too

    def layers(self, hidden: Tensor, frame_mask: Tensor, first: int, last: int, every: bool = False) -> list[Tensor]:
        frames, width = hidden.shape[1], least(hidden.shape[1], self.window)
        if not is_recording() and frames == width:
            return super().layers(hidden, frame_mask, first, last, every)
        rest = -frames % width
        windows = nn.functional.pad(hidden, (0, 0, 0, rest)).view(-1, width, hidden.shape[2])
        masks = nn.functional.pad(frame_mask, (0, rest)).view(-1, width)
        heard = masks.any(dim=1)
        states = super().layers(windows[heard], masks[heard], first, last, every)
        return [side_by_side(state, heard, hidden.shape[0])[:, :frames] for state in states]

    @property
    def normalises_last(self) -> bool:
        return True


def side_by_side(computed: Tensor, heard: Tensor, clips: int) -> Tensor:
    """Return the frames of each clip, (clips, frames, features), from those of its windows.

    Args:
        computed: the frames of the windows that are heard, (heard windows, frames, features); others become zeros.
        heard: whether each window is heard, (windows of all clips,).
        clips: the number of clips.
    """
    windows = computed.new_zeros(heard.shape[0], *computed.shape[1:])  # len() would be fixed in a recorded graph
    windows[heard] = computed
    return windows.view(clips, -1, computed.shape[2])


def random_stretches(rows: int, size: int, probability: float, length: int) -> Tensor:
    """Return a mask, (rows, size), of stretches of `length` that begin at random.

    `probability` is the masked share of a row, less the overlaps of stretches, as in SpecAugment. It draws from
    torch's random state.
    """
    starts = torch.rand(rows, size) < probability / length
    return nn.functional.max_pool1d(nn.functional.pad(starts.float()[:, None], (length - 1, 0)), length, stride=1)[
        :, 0
    ].bool()


TINY: dict[str, Any] = {
    "d_model": 128,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 1024,
    "num_mel_bins": 80,
    "decoder_layers": 1,
    "vocab_size": 1,
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0),
}
"""The architecture of random weights: about a million parameters."""


def load_backbone(
    config: BackboneConfig, seed: int, time_mask_probability: float = 0.0, feature_mask_probability: float = 0.0
) -> Backbone:
    """Build the backbone of a configuration; the arguments are those of `families.load_backbone`."""
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    settings = {"encoder_layerdrop": config.layer_drop}
    if config.checkpoint is None:
        model = random_model(config, seed, settings, TINY, WhisperEncoder)
    else:
        folder = find_checkpoint(config)
        extractor = extractor_settings(folder)
        model = pretrained_model(folder, config, seed, settings, "conv1.weight", WhisperEncoder, PREFIXES)
        bins = model.config.num_mel_bins
        made = extractor.get("feature_size", 80)
        if made != bins:
            raise SetupError(
                f"The feature extractor in {folder} makes {made} mel bands, but config.json has "
                f"num_mel_bins={bins}; get both from the same checkpoint."
            )
    return WhisperBackbone(
        model, Kernels(config.kernels), config.pad_to_window, time_mask_probability, feature_mask_probability
    )
