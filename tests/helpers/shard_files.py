"""Shards as webdataset's writer and the datasets library write them."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16000


def recording(pitch: float, suffix: str = "wav", seconds: float = 0.3, rate: int = RATE) -> bytes:
    """Return a tone as the bytes of a file."""
    time = np.arange(int(seconds * rate)) / rate
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * pitch * time), rate, format=suffix.upper())
    return file.getvalue()


def write_tar(path: Path, samples: Iterable[dict[str, Any]]) -> Path:
    """Write samples of webdataset, {__key__, wav or flac: bytes, json: data}."""
    import webdataset

    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path)) as writer:
        for sample in samples:
            writer.write(sample)
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]], classes: list[str] | None = None) -> Path:
    """Write rows of {audio: {bytes, path}, ...} with the audio inside, three in a row group."""
    import datasets

    path.parent.mkdir(parents=True, exist_ok=True)
    data = datasets.Dataset.from_list(rows).cast_column("audio", datasets.Audio(decode=False))
    if classes is not None:
        data = data.cast_column("label", datasets.ClassLabel(names=classes))
    data.to_parquet(str(path), batch_size=3)
    return path
