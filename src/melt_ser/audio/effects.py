"""Changes of a waveform that a room, noise, a telephone, a codec or another pitch makes; nothing here is random.

Waveforms are mono at 16 kHz, (samples,) float32, and keep their length.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.resample import resample
from melt_ser.audio.sound import Waveform
from melt_ser.config import Codec
from melt_ser.core.errors import SetupError

# Container, encoder and sampling rate of each codec. The containers of mp3, opus and G.711 undo the codec's delay.
ENCODERS = {
    Codec.mp3: ("mp3", "libmp3lame", 16_000),
    Codec.opus: ("ogg", "libopus", 16_000),
    Codec.g711: ("wav", "pcm_mulaw", 8_000),
    Codec.amr: ("amr", "libopencore_amrnb", 8_000),
}
ATEMPO_LOSES = 0.1  # seconds; atempo drops its last window


def check_encoders(codecs: Iterable[Codec]) -> None:
    """Raise SetupError if the installed FFmpeg cannot encode with one of the codecs."""
    import av

    for codec in codecs:
        try:
            av.Codec(ENCODERS[codec][1], "w")
        except av.codec.codec.UnknownCodecError:
            raise SetupError(
                f"The installed PyAV cannot encode {codec.value}; leave it out of augment.codecs, or pip install -U av."
            ) from None


def power(waveform: Waveform) -> float:
    """Return the mean square of the samples."""
    return float(np.mean(waveform.astype(np.float64) ** 2))


def with_noise(waveform: Waveform, noise: Waveform, noise_power: float, decibels: float) -> Waveform:
    """Return the waveform with noise of its length at a signal-to-noise ratio; noise without power adds nothing."""
    if noise_power <= 0:
        return waveform
    ratio = 10 ** (decibels / 10)
    return waveform + noise * np.float32(np.sqrt(power(waveform) / (noise_power * ratio)))


def in_room(waveform: Waveform, response: Waveform) -> Waveform:
    """Return the waveform as in a room with an impulse response, (samples,), at the same power.

    The response begins at its peak, the direct sound, so that the waveform does not move in time.
    """
    from scipy.signal import oaconvolve

    direct = response[int(np.abs(response).argmax()) :]
    heard: Waveform = oaconvolve(waveform, direct)[: len(waveform)].astype(np.float32)
    if power(heard) > 0:
        heard *= np.float32(np.sqrt(power(waveform) / power(heard)))
    return heard


def band_limited(waveform: Waveform, lowest: float, highest: float) -> Waveform:
    """Return the waveform between two frequencies in Hz (Butterworth, 24 dB an octave on each side)."""
    from scipy.signal import sosfilt

    filtered: Waveform = sosfilt(_band_pass(lowest, highest), waveform).astype(np.float32)
    return filtered


@lru_cache(maxsize=8)
def _band_pass(lowest: float, highest: float) -> Any:
    from scipy.signal import butter

    return butter(4, (lowest, highest), btype="bandpass", fs=SAMPLE_RATE, output="sos")


def through_codec(waveform: Waveform, codec: Codec, kilobits: float) -> Waveform:
    """Return the waveform, encoded and decoded at a bit rate in kbit/s (or the nearest that the codec has).

    It is scaled before and after if it exceeds full scale, so that no sample is clipped.
    """
    container, encoder, rate = ENCODERS[codec]
    scale = np.float32(max(1.0, float(np.abs(waveform).max())))
    encoded = _encode(resample(waveform / scale, SAMPLE_RATE, rate), container, encoder, rate, kilobits)
    decoded, own_rate = _decode(encoded)
    return _of_length(resample(decoded, own_rate, SAMPLE_RATE) * scale, len(waveform))


def _encode(waveform: Waveform, container: str, encoder: str, rate: int, kilobits: float) -> io.BytesIO:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(encoder, rate=rate, layout="mono")
        stream.bit_rate = round(1000 * kilobits)
        context = stream.codec_context
        context.open()  # it then knows its frame size
        fitting = av.AudioResampler(context.format, "mono", rate, context.frame_size or None)
        for frame in [*fitting.resample(_frame(waveform, rate)), *fitting.resample(None), None]:
            output.mux(stream.encode(frame))
    file.seek(0)
    return file


def _decode(file: io.BytesIO) -> tuple[Waveform, int]:
    import av

    with av.open(file) as source:
        rate = source.streams.audio[0].codec_context.sample_rate
        floats = av.AudioResampler("flt", "mono", rate)
        pieces = [piece for frame in source.decode(audio=0) for piece in floats.resample(frame)]
        return np.concatenate([piece.to_ndarray()[0] for piece in pieces]), rate


def pitch_shifted(waveform: Waveform, semitones: float) -> Waveform:
    """Return the waveform with its pitch shifted, up or down.

    FFmpeg plays it faster or slower and restores its length (`atempo`, which overlaps and adds similar windows).
    """
    import av
    from av.filter import Graph

    factor = 2 ** (semitones / 12)
    graph = Graph()
    source = graph.add_abuffer(format="flt", sample_rate=SAMPLE_RATE, layout="mono", time_base=Fraction(1, SAMPLE_RATE))
    chain = [
        source,
        graph.add("asetrate", str(round(SAMPLE_RATE * factor))),
        graph.add("aresample", str(SAMPLE_RATE)),
        graph.add("atempo", f"{1 / factor:.9f}"),
        graph.add("abuffersink"),
    ]
    for earlier, later in itertools.pairwise(chain):
        earlier.link_to(later)
    graph.configure()
    graph.push(_frame(np.pad(waveform, (0, round(ATEMPO_LOSES * SAMPLE_RATE))), SAMPLE_RATE))
    graph.push(None)
    pieces = []
    try:
        while True:
            pieces.append(graph.pull().to_ndarray()[0])
    except av.EOFError:
        return _of_length(np.concatenate(pieces), len(waveform))


def _frame(waveform: Waveform, rate: int) -> Any:
    import av

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(waveform)[None], format="flt", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
    return frame


def _of_length(waveform: Waveform, samples: int) -> Waveform:
    return np.pad(waveform[:samples], (0, max(0, samples - len(waveform))))
