"""Mixup: two clips as one, and their classes by the same shares (Zhang et al., 2018, https://arxiv.org/abs/1710.09412)."""

from __future__ import annotations

import numpy as np


def mix(
    waveform: np.ndarray, other: np.ndarray, alpha: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.float32]:
    """Return a mix of two waveforms, (samples,), with the length of the first, and the first one's share in it.

    The share is drawn from the beta distribution (alpha, alpha). A longer other waveform is cut at a random place, a
    shorter one ends earlier.
    """
    share = np.float32(generator.beta(alpha, alpha))
    first = int(generator.integers(max(0, len(other) - len(waveform)) + 1))
    mixed = share * waveform
    heard = other[first : first + len(mixed)]
    mixed[: len(heard)] += (1 - share) * heard
    return mixed, share


def shares_of(number: int, classes: int) -> np.ndarray:
    """Return the shares of all classes in a clip of one class, (classes,)."""
    shares = np.zeros(classes, dtype=np.float32)
    shares[number] = 1.0
    return shares
