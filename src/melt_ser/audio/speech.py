"""Find the speech in a recording by Silero's voice activity detector (the extra `voice_activity`)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.decode import in_pieces, stream_audio
from melt_ser.core.errors import SetupError

FRAME = 512  # samples at 16 kHz that the detector judges at once


def check_detector() -> str:
    """Return the version of the detector's package; raise SetupError if it is not installed."""
    try:
        return f"silero-vad {version('silero-vad')}"
    except PackageNotFoundError:
        raise SetupError("Finding speech needs silero-vad: pip install 'melt-ser[voice_activity]'.") from None


def find_speech(path: Path, longest: float) -> list[tuple[float, float]]:
    """Return the stretches of speech in a recording, as start and end in seconds, in order.

    A stretch ends at a silence of 0.1 s and is at least 0.25 s long, as the detector has it by default. One that would
    be longer than `longest` seconds is cut, at its longest silence. The recording is read in blocks. Raises the errors
    of `stream_audio`, and SetupError without the detector's package.
    """
    check_detector()
    import torch

    with torch.no_grad(), _detector() as (detect, stretches_of):
        probabilities: list[float] = []
        samples = 0
        for frame in in_pieces(stream_audio(path), FRAME):
            samples += len(frame)
            padded = torch.nn.functional.pad(torch.from_numpy(frame), (0, FRAME - len(frame)))
            probabilities.append(detect(padded, SAMPLE_RATE).item())
        found = stretches_of(probabilities, max_speech_duration_s=longest, audio_length_samples=samples)
    return [(stretch["start"] / SAMPLE_RATE, stretch["end"] / SAMPLE_RATE) for stretch in found]


@contextmanager
def _detector() -> Iterator[tuple[Any, Any]]:
    """Give the detector, with its state at the beginning, and the function that makes stretches of its answers."""
    import torch

    threads = torch.get_num_threads()
    try:
        import silero_vad  # sets torch to one thread, which is right for frames this small

        model = _model()
        model.reset_states()
        torch.set_num_threads(1)
        yield model, silero_vad.get_speech_timestamps_from_probs
    finally:
        torch.set_num_threads(threads)


@cache
def _model() -> Any:
    """Load the detector, once for all recordings: it takes longer than a short recording."""
    import silero_vad

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.load, which the package uses, is deprecated
        return silero_vad.load_silero_vad()
