"""Resample by torchaudio's windowed sinc; the kernel of each pair of rates stays in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from melt_ser.core.errors import SetupError

# A kernel has about (numerator x denominator of the rates' ratio) weights. Without a limit, that is 0.4 GB for TESS's
# 24,414 Hz. With denominators up to 640 the usual rates (8,000 to 96,000, also 11,025) are exact, and 24,414 Hz is off
# by 1e-6, less than a sample a minute. The worst rates, close to a simple ratio (15,987 Hz), are off by 8e-4, or about
# 1.3 cents of pitch.
LARGEST_DENOMINATOR = 640
LOCK = threading.Lock()  # around the change of torch's number of threads


def resample(waveform: npt.NDArray[np.float32], source_rate: int, target_rate: int) -> npt.NDArray[np.float32]:
    """Resample a waveform, (samples,), from one rate in Hz to another; return (ceil(samples * target / source),).

    Raises SetupError if torchaudio does not fit the installed torch.
    """
    if source_rate == target_rate or not len(waveform):
        return waveform
    import torch

    ratio = Fraction(source_rate, target_rate).limit_denominator(LARGEST_DENOMINATOR)
    with torch.no_grad(), _one_thread():
        resampled = _resampler(ratio.numerator, ratio.denominator)(torch.from_numpy(waveform)).numpy()
    samples = -(-len(waveform) * target_rate // source_rate)
    exact: npt.NDArray[np.float32] = np.pad(resampled, (0, max(0, samples - len(resampled))))[:samples]
    return exact


def resample_blocks(
    blocks: Iterable[npt.NDArray[np.float32]], source_rate: int, target_rate: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Resample a recording in blocks of any length, (samples,) each; yield blocks of about a second or more.

    The last block may be shorter. With equal rates, the blocks come as they are. Each block is resampled together with
    as much of its neighbours as the kernel spans.
    """
    ratio = Fraction(source_rate, target_rate).limit_denominator(LARGEST_DENOMINATOR)
    if ratio == 1:
        yield from blocks
        return
    import torch

    resampler = _resampler(ratio.numerator, ratio.denominator)
    # A period is the shortest stretch with whole numbers of samples at the old (numerator) and new rate (denominator).
    reach = -(-resampler.width // ratio.numerator)  # periods that the kernel spans to each side
    held = np.zeros(0, dtype=np.float32)  # samples still needed
    done = 0  # periods at the start of `held` already yielded

    def periods(first: int, end: int | None) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            resampled: npt.NDArray[np.float32] = resampler(torch.from_numpy(held)).numpy()
        return resampled[first * ratio.denominator : None if end is None else end * ratio.denominator]

    for block in blocks:
        held = np.concatenate([held, block])
        ready = len(held) // ratio.numerator - reach
        if len(held) - done * ratio.numerator < source_rate or ready <= done:
            continue
        yield periods(done, ready)
        past = max(0, ready - reach)
        held, done = held[past * ratio.numerator :], ready - past
    yield periods(done, None)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute on one thread within the block.

    A clip of a few seconds takes 3 ms. On a busy machine several threads wait for each other ten times as long.
    """
    import torch

    with LOCK:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@lru_cache(maxsize=32)
def _resampler(source_rate: int, target_rate: int) -> Any:
    try:
        from torchaudio.transforms import Resample  # slow to import, and needed only for other rates
    except (ImportError, OSError, RuntimeError) as error:  # missing; libc10_cuda.so not found; another CUDA version
        raise SetupError(
            f"torchaudio does not fit this PyTorch ({error}); install a matching pair: "
            f"pip install --force-reinstall torch torchaudio."
        ) from None
    return Resample(source_rate, target_rate, lowpass_filter_width=16, resampling_method="sinc_interp_hann")
