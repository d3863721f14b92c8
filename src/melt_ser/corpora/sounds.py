"""Read the folders that augmentation draws from: noise, and impulse responses of rooms."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from melt_ser.audio import AUDIO_SUFFIXES
from melt_ser.audio.sounds import Sounds
from melt_ser.config import DatasetConfig
from melt_ser.core.console import say, verification_bar
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.files import sha256
from melt_ser.core.package import expanded
from melt_ser.corpora.verification import judge, verify

RULES = DatasetConfig(minimum_seconds=0.0, maximum_seconds=math.inf)  # an impulse response may be very short


def read_sounds(key: str, folder: str) -> Sounds:
    """Return the recordings of a folder and of those in it; a note counts those that cannot be used.

    They are decoded once, like the clips of a corpus, and again only if a file changes. Raises SetupError if the folder
    is missing or has no audio, InputError if none of its recordings can be used.

    Args:
        key: the setting that names the folder.
        folder: the folder.
    """
    root = expanded(folder)
    if not root.is_dir():
        raise SetupError(f"{key}: there is no folder {folder}.")
    names = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and not path.is_dir()
    )
    if not names:
        raise SetupError(f"{key}: the folder {folder} has no audio files ({' '.join(sorted(AUDIO_SUFFIXES))}).")
    table = pd.DataFrame({"audio": pd.Series(names, dtype="str"), "start": np.nan, "end": np.nan})
    measures, _ = verify(root, table, progress=verification_bar)
    reasons = judge(measures, RULES)
    usable = reasons.isna().to_numpy()
    if not usable.all():
        first = int(np.flatnonzero(~usable)[0])
        told = f"{(~usable).sum()} of {len(names)} recordings in {folder} cannot be used"
        sentence = f"{key}: {told}; the first: {names[first]} ({reasons.iloc[first]})."
        if not usable.any():
            raise InputError(sentence)
        say(f"note: {sentence}")
    used = table["audio"][usable]
    digest = sha256(
        "\n".join(f"{name}\t{content}" for name, content in zip(used, measures["content_hash"][usable], strict=True))
    )
    return Sounds(root, tuple(used), tuple(measures["duration"][usable]), digest)
