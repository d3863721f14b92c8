"""Refuse settings of audio for a backbone that reads words."""

from __future__ import annotations

from melt_ser.config import AUTO, AugmentConfig, Config
from melt_ser.core.errors import SetupError


def check_words_alone(config: Config) -> None:
    """Raise SetupError if a setting changes or counts audio, which the backbone does not read."""
    family, trainer = config.backbone.family, config.trainer
    if config.augment != AugmentConfig(name=config.augment.name):
        raise SetupError(f"backbone.family={family} reads words, and augment changes audio; set augment=nothing.")
    of_audio = {
        "trainer.pad_to_crop": trainer.pad_to_crop,
        "trainer.crop_places": trainer.crop_places is not None,
        "trainer.cuda_graphs": trainer.cuda_graphs,
        f"trainer.step_seconds={AUTO}": trainer.step_seconds == AUTO,
        "backbone.pad_to_window": config.backbone.pad_to_window,
    }
    for key, is_set in of_audio.items():
        if is_set:
            raise SetupError(f"{key} is about audio, and backbone.family={family} reads words; leave it out.")
