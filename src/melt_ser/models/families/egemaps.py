"""The classic features in place of a network: a clip has one frame, the 88 functionals of eGeMAPS.

Nothing learns and nothing is drawn at random, so a run differs from one of a frozen network only in its features. A
saved model holds its head and the version of opensmile that measured the features.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from melt_ser.audio import egemaps
from melt_ser.config import BackboneConfig, Kernels
from melt_ser.core.console import say
from melt_ser.core.errors import one_line
from melt_ser.models.backbone import Backbone
from melt_ser.models.description import read_description


class EgemapsBackbone(Backbone):
    """The functionals of each clip, computed on the CPU by openSMILE, several clips at a time."""

    family = "egemaps"
    has_frames = False
    place: Tensor  # empty: it shows where the frames go

    def __init__(self) -> None:
        super().__init__(nn.Identity(), do_normalize=False, kernels=Kernels.fast)
        self.register_buffer("place", torch.empty(0), persistent=False)

    @property
    def device(self) -> torch.device:
        return self.place.device

    @property
    def hidden_size(self) -> int:
        return egemaps.NUMBER

    @property
    def number_of_layers(self) -> int:
        return 0

    @property
    def channels(self) -> int:
        return egemaps.NUMBER

    @property
    def layer_drop(self) -> float:
        return 0.0

    @property
    def masks_input(self) -> bool:
        return False

    @property
    def convolution(self) -> list[nn.Module]:
        return []

    @property
    def embedding(self) -> list[nn.Module]:
        return []

    @property
    def encoder(self) -> Any:
        return None

    @property
    def normalises_last(self) -> bool:
        return False

    def feature_extractor(self) -> Any:
        return None

    @property
    def options(self) -> dict[str, Any]:
        return {"opensmile": egemaps.version()}

    @property
    def settings(self) -> dict[str, Any]:
        return {"features": egemaps.FEATURE_SET, "level": egemaps.LEVEL, **self.options}

    def frames_of(self, lengths: Tensor) -> Tensor:
        return torch.ones_like(lengths)

    def compute_convolution(self, audio: Tensor, lengths: list[int] | Tensor) -> Tensor:
        clips = [clip[:length] for clip, length in zip(audio.cpu().numpy(), lengths, strict=True)]
        features = egemaps.functionals(clips, torch.get_num_threads())
        return torch.from_numpy(features)[:, None].to(audio.device)

    def embed(self, convolved: Tensor, frame_mask: Tensor) -> Tensor:
        return convolved

    def layers(self, hidden: Tensor, frame_mask: Tensor, first: int, last: int, every: bool = False) -> list[Tensor]:
        return [hidden]

    def save(self, folder: Path) -> None:
        """Write nothing: the description of the model has all that is needed."""


def load_backbone(
    config: BackboneConfig, seed: int, time_mask_probability: float = 0.0, feature_mask_probability: float = 0.0
) -> Backbone:
    """Build the backbone; the arguments are those of `families.load_backbone`.

    config: its checkpoint is null, or the folder of a saved model.

    Prints a note if that model was fitted with the features of another version of opensmile. Raises SetupError without
    opensmile.
    """
    egemaps.import_opensmile("backbone.family=egemaps")
    if config.checkpoint is not None:
        saved = read_description(Path(config.checkpoint)).get("opensmile")
        _note_another_version(one_line(str(saved)), egemaps.version())
    return EgemapsBackbone()


@functools.cache  # once for the models of all folds
def _note_another_version(saved: str, present: str) -> None:
    if saved != present:
        say(
            f"note: the model was fitted with the features of opensmile {saved}, but opensmile {present} is installed; "
            f"its features may differ; install the version {saved} for the same answers."
        )
