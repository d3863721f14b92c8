"""Decode any recording to mono float32: wav, flac, ogg and mp3 by soundfile, everything else by PyAV.

`read_native` gives the recording's own rate (what verification needs); `read_audio` resamples to 16 kHz.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.resample import resample
from melt_ser.errors import InputError

Waveform = npt.NDArray[np.float32]
SOUNDFILE_SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64", ".caf"}
LFS_POINTER = b"version https://git-lfs"


def read_audio(path: Path, start: float | None = None, end: float | None = None) -> Waveform:
    """A recording, or its segment from `start` to `end` seconds, as mono at 16 kHz, (samples,).

    Channels are averaged. Raises InputError with one sentence that names the file.
    """
    waveform, rate = read_native(path, start, end)
    return resample(waveform, rate, SAMPLE_RATE)


def read_native(path: Path, start: float | None = None, end: float | None = None) -> tuple[Waveform, int]:
    """The same at the recording's own sampling rate: (samples,), Hz."""
    _check_file(path)
    if start is not None and end is not None and end <= start:
        raise InputError(f"{path}: the segment ends at {end} s, before it starts at {start} s.")
    if path.suffix.lower() in SOUNDFILE_SUFFIXES:
        try:
            waveform, rate = _read_soundfile(path, start, end)
        except soundfile.SoundFileError as error:
            first = str(error).removeprefix(f"Error opening {str(path)!r}: ").rstrip(".")
            waveform, rate = _read_pyav(path, start, end, first)
    else:
        waveform, rate = _read_pyav(path, start, end)
    if not len(waveform):
        where = "" if start is None else f" from {start} s on (the segment lies outside the recording)"
        raise InputError(f"{path}: there are no samples{where}; replace or remove the file.")
    if not np.isfinite(waveform).all():
        raise InputError(f"{path}: some samples are NaN or infinite; replace or remove the file.")
    return waveform, rate


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a recording.")
    try:
        with path.open("rb") as file:
            head = file.read(len(LFS_POINTER))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}).") from None
    if not head:
        raise InputError(f"{path}: the file is empty (zero bytes); download it again.")
    if head == LFS_POINTER:
        raise InputError(f"{path}: is a git-lfs pointer, not the recording; run `git lfs pull` in the corpus folder.")


def _read_soundfile(path: Path, start: float | None, end: float | None) -> tuple[Waveform, int]:
    with soundfile.SoundFile(path) as file:
        rate = file.samplerate
        first = 0 if start is None else round(start * rate)
        last = file.frames if end is None else min(round(end * rate), file.frames)
        if first >= last:
            return np.zeros(0, dtype=np.float32), rate
        file.seek(first)
        samples = file.read(last - first, dtype="float32", always_2d=True)
    if len(samples) < last - first:
        raise InputError(
            f"{path}: is cut off ({len(samples) / rate:.2f} of {(last - first) / rate:.2f} s are there); "
            f"download it again."
        )
    return samples.mean(axis=1, dtype=np.float32), rate


def _read_pyav(
    path: Path, start: float | None, end: float | None, soundfile_reason: str | None = None
) -> tuple[Waveform, int]:
    """Decode from the beginning and cut, since seeking in compressed streams is not exact to the sample."""
    import av  # brings FFmpeg; not needed for the formats of most corpora

    chunks: list[Waveform] = []
    decoded = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise InputError(f"{path}: has no audio stream.")
            stream = container.streams.audio[0]
            rate = stream.codec_context.sample_rate
            planar = av.AudioResampler(format="fltp", layout=stream.codec_context.layout.name or None, rate=rate)
            last = None if end is None else round(end * rate)
            for frame in container.decode(stream):
                for part in planar.resample(frame):
                    chunks.append(part.to_ndarray().mean(axis=0, dtype=np.float32))
                    decoded += len(chunks[-1])
                if last is not None and decoded >= last:
                    break
    except (av.FFmpegError, ValueError, IndexError) as error:
        reasons = f"{error}" if soundfile_reason is None else f"soundfile: {soundfile_reason}; FFmpeg: {error}"
        raise InputError(f"{path}: cannot be decoded ({reasons}); replace or remove the file.") from None
    waveform = np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.float32)
    first = 0 if start is None else round(start * rate)
    return waveform[first:last], rate
