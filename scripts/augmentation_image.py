"""Draw docs/images/augmentations.png: a clip of the demo corpus (a synthetic voice), and each augmentation of it.

    python scripts/augmentation_image.py [--out docs/images/augmentations.png] [--sounds FOLDER]

The room is decaying noise (0.5 s to fall by 60 dB), the noise a babble of other clips. `--sounds` writes each as wav.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import soundfile
from matplotlib import pyplot as plt
from PIL import Image

import melt_ser
from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.augment import mix
from melt_ser.audio.decode import read_audio
from melt_ser.audio.effects import band_limited, in_room, pitch_shifted, power, through_codec, with_noise
from melt_ser.config import Codec

CHECKOUT = Path(__file__).parents[1]
QUIET = 1e-9  # instead of digital silence, which has no decibels
DEMO = Path(melt_ser.__file__).with_name("demo") / "en" / "audio"


def changes(clips: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the first clip, unchanged and changed, by title; the others make the noise and the mix."""
    generator = np.random.default_rng(0)
    clip = clips[0]
    time = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    room = (10 ** (-3 * time / 0.5) * generator.standard_normal(len(time))).astype(np.float32)
    babble = np.sum([np.resize(other, len(clip)) for other in clips[1:]], axis=0).astype(np.float32)
    mixed, share = mix(clip, clips[1], 1.0, generator)
    return {
        "the clip": clip,
        "room": in_room(clip, room),
        "noise, 10 dB": with_noise(clip, babble, power(babble), 10.0),
        "band_limit, 300 to 3,400 Hz": band_limited(clip, 300.0, 3400.0),
        "codec, mp3 at 12 kbit/s": through_codec(clip, Codec.mp3, 12.0),
        "codec, amr at 4.75 kbit/s": through_codec(clip, Codec.amr, 4.75),
        "pitch, 4 semitones up": pitch_shifted(clip, 4.0),
        f"mixup, share {share:.2f}": mixed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=CHECKOUT / "docs" / "images" / "augmentations.png")
    parser.add_argument("--sounds", type=Path)
    options = parser.parse_args()
    shown = changes([read_audio(path) for path in sorted(DEMO.iterdir())[:120:17]])
    figure, grid = plt.subplots(2, 4, figsize=(12, 4.6), sharex=True, sharey=True, layout="constrained")
    for axes, (title, waveform) in zip(grid.flat, shown.items(), strict=True):
        axes.specgram(waveform + QUIET, NFFT=400, Fs=SAMPLE_RATE, noverlap=240, cmap="magma", vmin=-125, vmax=-50)
        axes.set_title(title, fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("seconds")
    for axes in grid[:, 0]:
        axes.set_yticks([0, 2000, 4000, 6000, 8000], ["0", "2", "4", "6", "8"])
        axes.set_ylabel("kHz")
    figure.savefig(options.out, dpi=80)
    Image.open(options.out).convert("RGB").quantize(48).save(options.out, optimize=True)  # a quarter of the bytes
    if options.sounds is not None:
        options.sounds.mkdir(parents=True, exist_ok=True)
        for title, waveform in shown.items():
            name = re.sub(r"[^\w.]+", "_", title)
            soundfile.write(options.sounds / f"{name}.wav", waveform, SAMPLE_RATE)


if __name__ == "__main__":
    main()
