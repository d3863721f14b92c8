"""Make small real sound files in every format, for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile


def sine(rate: int, seconds: float = 0.5, hertz: float = 440.0) -> np.ndarray:
    """Return a tone of half full scale, (samples,) at `rate` Hz."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def encode(path: Path, codec: str, rate: int = 48_000, sound: bool = True, **options: str) -> Path:
    """Write half a second of a tone, or of pictures without sound, as a compressed file.

    `options` are those of FFmpeg for the format, such as live="1" for a Matroska file as a pipe gets it.
    """
    with av.open(str(path), "w", options=options) as container:
        if sound:
            stream = container.add_stream(codec, rate=rate, layout="mono")
            wave = sine(rate)
            frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
            fitting = av.AudioResampler(
                format=stream.codec_context.format, layout="mono", rate=rate, frame_size=stream.codec_context.frame_size
            )
            parts = [*fitting.resample(frame), *fitting.resample(None)]
        else:
            stream = container.add_stream(codec, rate=10)
            stream.width = stream.height = 64
            parts = [av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24") for _ in range(5)]
        for part in [*parts, None]:
            for packet in stream.encode(part):
                container.mux(packet)
    return path


def overwrite(path: Path, position: int, replacement: bytes) -> None:
    """Replace bytes of a file from `position` on."""
    content = bytearray(path.read_bytes())
    content[position : position + len(replacement)] = replacement
    path.write_bytes(content)


SOUNDFILE_FORMATS = {
    "pcm16.wav": ("WAV", "PCM_16"),
    "pcm24.wav": ("WAV", "PCM_24"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "a.flac": ("FLAC", "PCM_16"),
    "vorbis.ogg": ("OGG", "VORBIS"),
    "opus.ogg": ("OGG", "OPUS"),
    "a.mp3": ("MP3", "MPEG_LAYER_III"),
    "a.aiff": ("AIFF", "PCM_16"),
    "a.au": ("AU", "ULAW"),
}
FFMPEG_FORMATS = {"a.m4a": "aac", "a.mp4": "aac", "a.webm": "libopus", "a.mkv": "flac", "a.avi": "pcm_s16le"}
FORMATS = (*SOUNDFILE_FORMATS, *FFMPEG_FORMATS)


def sound(path: Path, seconds: float = 0.2) -> Path:
    """Write a tone in the format of the file's name, one of FORMATS."""
    if path.name in FFMPEG_FORMATS:
        return encode(path, FFMPEG_FORMATS[path.name])
    form, subtype = SOUNDFILE_FORMATS[path.name]
    soundfile.write(path, sine(16_000, seconds), 16_000, format=form, subtype=subtype)
    return path
