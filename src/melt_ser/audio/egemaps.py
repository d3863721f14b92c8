"""The classic features of a clip: the 88 functionals of eGeMAPSv02, measured by openSMILE (the extra `acoustics`).

Source: Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice Research and Affective
Computing", IEEE Transactions on Affective Computing 7(2), 2016. openSMILE is free for research, not for products.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.sound import Waveform
from melt_ser.core.errors import SetupError, first_line

FEATURE_SET, LEVEL, NUMBER = "eGeMAPSv02", "Functionals", 88
SHORTEST = 960  # samples: openSMILE's longest frame has 60 ms, and a shorter clip would have no value
HIGHEST = 1.0 - 2.0**-15  # of 16 bits, the input of openSMILE; a higher sample would wrap around to the lowest

Features = npt.NDArray[np.float32]


def import_opensmile(purpose: str) -> Any:
    """Return the module opensmile; raise SetupError, which begins with `purpose`, if it is missing or cannot run."""
    try:
        import opensmile
    except (ImportError, OSError, RuntimeError) as error:  # without its C library for the platform: the latter two
        if isinstance(error, ImportError) and error.name == "opensmile":
            raise SetupError(f"{purpose} needs opensmile: pip install 'melt-ser[acoustics]'.") from None
        raise SetupError(f"{purpose} needs opensmile, which does not run here: {first_line(error)}.") from error
    return opensmile


def make_smile(purpose: str) -> Any:
    """Return an object of opensmile that measures the functionals; the argument and errors are `import_opensmile`'s."""
    opensmile = import_opensmile(purpose)
    return opensmile.Smile(opensmile.FeatureSet[FEATURE_SET], opensmile.FeatureLevel[LEVEL])


def version() -> str:
    """Return the version of opensmile."""
    return metadata.version("opensmile")


def functionals(waveforms: Sequence[Waveform], threads: int) -> Features:
    """Return the features of clips at 16 kHz, (clips, 88); those of a clip depend on its samples alone.

    A clip under 60 ms gets zeros at its end up to that length. A feature without a value is 0, as those of voiced
    sound are for openSMILE if a clip has none.

    Args:
        waveforms: mono, (samples,) each. Samples outside -1 to 1 are cut to it.
        threads: clips that are measured at the same time; openSMILE's own code runs outside Python's lock.
    """
    measure = functools.partial(_measure, _smile())
    if threads == 1 or len(waveforms) == 1:
        return np.stack([measure(waveform) for waveform in waveforms])
    with ThreadPoolExecutor(threads) as pool:
        return np.stack(list(pool.map(measure, waveforms)))


def _measure(smile: Any, waveform: Waveform) -> Features:
    padded = np.pad(waveform, (0, max(0, SHORTEST - len(waveform)))).clip(-1.0, HIGHEST)
    values: Features = smile(padded.astype(np.float32), SAMPLE_RATE).reshape(NUMBER)
    return np.nan_to_num(values, posinf=0.0, neginf=0.0)


@functools.cache
def _smile() -> Any:
    return make_smile("eGeMAPS")
