"""Refuse settings that do not fit a model that reads words."""

from __future__ import annotations

from melt_ser.config import AUTO, AugmentConfig, Config
from melt_ser.core.errors import SetupError
from melt_ser.core.vocabulary import READ_WORDS


def check_words_beside(config: Config) -> None:
    """Raise SetupError if a setting does not fit words that are read beside the audio (`backbone.text`)."""
    backbone = config.backbone
    if backbone.text is None:
        if backbone.text_revision is not None:
            raise SetupError("backbone.text_revision needs backbone.text, the text encoder; leave it out.")
        return
    if backbone.family in READ_WORDS:
        raise SetupError(
            f"backbone.family={backbone.family} reads the words already; leave out backbone.text, or choose a backbone "
            "of speech."
        )
    if config.augment.mixup_probability > 0:
        raise SetupError(
            "augment.mixup_probability mixes the audio of two clips, and backbone.text has no words for a mixture; set "
            "it to 0, or leave out backbone.text."
        )


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
