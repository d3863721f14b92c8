"""The group `augment` after its composition: the name of a combination, and settings that change nothing.

`augment=[room,noise]` is a combination: Hydra merges the YAMLs, and the last name wins.
"""

from __future__ import annotations

from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf

from melt_ser.core.console import say

CHOICE = "augment=["
PROBABILITY_OF = {
    "noise_snr_decibels": "noise",
    "pitch_semitones": "pitch",
    "band_limit_hertz": "band_limit",
    "codecs": "codec",
    "codec_kilobits": "codec",
    "mixup_alpha": "mixup",
}
"""The change that a setting of `augment` is about; without its probability the setting changes nothing."""


def settle_augment(composed: DictConfig, overrides: Iterable[str]) -> None:
    """Set `augment.name` to the joined names if the overrides choose several augmentations and give no name.

    Say which settings of the overrides have no effect.
    """
    given = list(overrides)
    for key, change in PROBABILITY_OF.items():
        probability = f"augment.{change}_probability"
        if any(word.startswith(f"augment.{key}=") for word in given) and not OmegaConf.select(composed, probability):
            say(f"note: augment.{key} has no effect with {probability}=0; leave it out, or set augment={change}.")
    if any(override.startswith("augment.name=") for override in given):
        return
    for choice in [override for override in given if override.startswith(CHOICE)][-1:]:
        names = [name.strip(" '\"") for name in choice.removeprefix(CHOICE).rstrip("] ").split(",")]
        if all(names):
            OmegaConf.update(composed, "augment.name", "+".join(names))
