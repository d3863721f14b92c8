"""Check the values of the group `augment`."""

from __future__ import annotations

from collections.abc import Sequence

from melt_ser.config import AugmentConfig
from melt_ser.core.errors import SetupError

INFINITY = float("inf")


def check_augment(settings: AugmentConfig) -> None:
    """Raise SetupError if a value of the `augment` group is out of its range, or one that it needs is missing."""
    for key, value in vars(settings).items():
        if key.endswith("_probability") and not 0.0 <= value <= 1.0:
            raise SetupError(f"augment.{key} is from 0 to 1, not {value}.")
    if not 0.0 <= settings.gain_decibels < INFINITY:
        raise SetupError(f"augment.gain_decibels is a number from 0 up, not {settings.gain_decibels}.")
    if not is_range(settings.noise_snr_decibels, -INFINITY, INFINITY):
        raise SetupError(f"augment.noise_snr_decibels is [lowest, highest], not {settings.noise_snr_decibels}.")
    if not settings.speed_factors or not all(0.5 <= factor <= 2.0 for factor in settings.speed_factors):
        raise SetupError(f"augment.speed_factors is one or more numbers from 0.5 to 2, not {settings.speed_factors}.")
    if not 0.0 < settings.pitch_semitones <= 12.0:
        raise SetupError(f"augment.pitch_semitones is above 0 and up to 12, not {settings.pitch_semitones}.")
    band = settings.band_limit_hertz
    if not is_range(band, 0.0, 8000.0) or band[0] == band[1]:
        raise SetupError(f"augment.band_limit_hertz is [lowest, highest], between 0 and 8000 Hz, not {band}.")
    if not is_range(settings.codec_kilobits, 5.99, 160.01):
        raise SetupError(f"augment.codec_kilobits is [lowest, highest], from 6 to 160, not {settings.codec_kilobits}.")
    if not settings.codecs:
        raise SetupError("augment.codecs names one or more codecs; for none, set augment.codec_probability=0.")
    if not 0.0 < settings.mixup_alpha < INFINITY:
        raise SetupError(f"augment.mixup_alpha is a number above 0, not {settings.mixup_alpha}.")
    check_folders(settings)


def check_folders(settings: AugmentConfig) -> None:
    """Raise SetupError if the folder of a change is missing, or if no change uses it."""
    for kind, content in (("noise", "recordings of noise"), ("room", "impulse responses of rooms")):
        folder, probability = getattr(settings, f"{kind}_folder"), getattr(settings, f"{kind}_probability")
        if folder and probability == 0:
            raise SetupError(
                f"augment.{kind}_folder has no effect with augment.{kind}_probability=0; leave it out, or set "
                f"augment={kind}."
            )
        needs_folder = folder == "" or (kind == "room" and folder is None)  # null is white noise
        if needs_folder and probability > 0:
            raise SetupError(f"augment={kind} needs a folder of {content}: augment.{kind}_folder=<folder>.")


def is_range(values: Sequence[float], above: float, below: float) -> bool:
    """Return whether the values are [lowest, highest] within these bounds."""
    return len(values) == 2 and above < values[0] <= values[1] < below
