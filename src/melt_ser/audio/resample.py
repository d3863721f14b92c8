"""Resampling by torchaudio's windowed sinc, with its kernels kept for each pair of rates."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from melt_ser.errors import SetupError


def resample(waveform: npt.NDArray[np.float32], source_rate: int, target_rate: int) -> npt.NDArray[np.float32]:
    """(samples,) at `source_rate` Hz to (ceil(samples * target / source),) at `target_rate` Hz."""
    if source_rate == target_rate or not len(waveform):
        return waveform
    import torch

    with torch.no_grad():
        resampled: npt.NDArray[np.float32] = _resampler(source_rate, target_rate)(torch.from_numpy(waveform)).numpy()
    return resampled


@lru_cache(maxsize=32)
def _resampler(source_rate: int, target_rate: int) -> Any:
    try:
        from torchaudio.transforms import Resample  # slow to import, and only needed for other rates
    except OSError as error:
        raise SetupError(
            f"torchaudio does not fit this PyTorch ({error}); install a matching pair: "
            f"pip install --force-reinstall torch torchaudio."
        ) from None
    return Resample(source_rate, target_rate, lowpass_filter_width=16, resampling_method="sinc_interp_hann")
