"""Decode any recording to mono float32: wav, flac, ogg and mp3 by soundfile, everything else by PyAV.

`read_native` gives the recording's own rate (what verification needs); `read_audio` resamples to 16 kHz.
"""

from __future__ import annotations

import math
import os
import re
import stat
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
TOLERANCE = 0.1  # seconds by which a segment or a header may overrun: tables round, and codecs pad
RATES = range(1_000, 384_001)  # Hz; a damaged header says 1 Hz or 2 GHz, which resampling would blow up to gigabytes
LOUDEST = 2.0**32  # full scale is 1; beyond integers that were never scaled there is only damage
BLOCK = 2**20  # frames read at once, so that the channels of an hour are never held together
# libsndfile shortens a cut-off file without an error, and leaves only this line in its log.
SHORTENED = re.compile(r"^ *(?:data|data size|ssnd) *: (\d+) \(should be (\d+)\)", re.IGNORECASE | re.MULTILINE)
UNKNOWN_LENGTH = 0x7FFF_0000  # bytes: from here on it is what a program that writes to a pipe puts in the header


class TooLong(InputError):
    """A recording, or its segment, has more seconds than the caller wants decoded."""


def read_audio(path: Path, start: float | None = None, end: float | None = None) -> Waveform:
    """A recording, or its segment from `start` to `end` seconds, as mono at 16 kHz, (samples,).

    Channels are averaged. Raises InputError with one sentence that names the file, also where it is cut off or
    the segment ends more than `TOLERANCE` seconds after the recording.
    """
    waveform, rate = read_native(path, start, end)
    return resample(waveform, rate, SAMPLE_RATE)


def read_native(
    path: Path, start: float | None = None, end: float | None = None, longest: float = math.inf
) -> tuple[Waveform, int]:
    """The same at the recording's own sampling rate: (samples,), Hz.

    More than `longest` seconds raise TooLong before they fill the memory.
    """
    _check_file(path)
    if start is not None and not 0.0 <= start < math.inf:
        raise InputError(f"{path}: a segment cannot start at {start} s.")
    if end is not None and not (start or 0.0) < end < math.inf:
        raise InputError(f"{path}: the segment ends at {end} s, before it starts at {start or 0.0} s.")
    if path.suffix.lower() in SOUNDFILE_SUFFIXES:
        try:
            waveform, rate = _read_soundfile(path, start, end, longest)
        except soundfile.SoundFileError as error:
            first = getattr(error, "error_string", str(error)).rstrip(".")
            waveform, rate = _read_pyav(path, start, end, longest, first)
    else:
        waveform, rate = _read_pyav(path, start, end, longest)
    if not len(waveform):
        where = "" if start is None else f" from {start} s on (the segment lies outside the recording)"
        raise InputError(f"{path}: there are no samples{where}; replace or remove the file.")
    there = (start or 0.0) + len(waveform) / rate
    if end is not None and there < end - TOLERANCE:
        raise InputError(f"{path}: the segment ends at {end} s, but the recording already at {there:.2f} s.")
    if not (np.abs(waveform) < LOUDEST).all():  # false for NaN too
        raise InputError(f"{path}: some samples are NaN or infinite or beyond any sound; replace or remove the file.")
    return waveform, rate


def _check_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path}: is a folder, not a recording.")
        if not stat.S_ISREG(mode):  # opening a pipe waits for a writer, and a device may never end
            raise InputError(f"{path}: is a pipe or a device, not a file; replace it by the recording.")
        with path.open("rb") as file:
            head = file.read(len(LFS_POINTER))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise InputError(f"{path}: cannot be opened ({getattr(error, 'strerror', error)}).") from None
    if not head:
        raise InputError(f"{path}: the file is empty (zero bytes); download it again.")
    if head == LFS_POINTER:
        raise InputError(f"{path}: is a git-lfs pointer, not the recording; run `git lfs pull` in the corpus folder.")


def _cut_off(path: Path, there: float, promised: float) -> InputError:
    return InputError(f"{path}: is cut off ({there:.2f} of {promised:.2f} s are there); download it again.")


def _mono(channels: Waveform) -> Waveform:
    """(samples, channels) averaged to (samples,), one channel as it is.

    Overflow gives infinity, which is refused later, and no warning.
    """
    if channels.shape[1] == 1:
        return channels[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):
        mean: Waveform = channels.mean(axis=1, dtype=np.float32)
    return mean


def _check_rate(path: Path, rate: int) -> None:
    if rate not in RATES:
        raise InputError(f"{path}: a sampling rate of {rate} Hz cannot be right; replace or remove the file.")


def _check_length(path: Path, seconds: float, longest: float) -> None:
    if seconds > longest:
        raise TooLong(f"{path}: lasts {seconds:.1f} s or more.")


def _read_soundfile(path: Path, start: float | None, end: float | None, longest: float) -> tuple[Waveform, int]:
    with soundfile.SoundFile(os.fsencode(path)) as file:  # bytes, since a name need not be UTF-8
        _check_rate(path, file.samplerate)
        rate, seconds = file.samplerate, file.frames / file.samplerate
        shortened = SHORTENED.search(file.extra_info)
        if shortened is not None and file.frames:
            promised, there = (int(size) for size in shortened.groups())  # bytes
            if promised < UNKNOWN_LENGTH and seconds * promised / there > seconds + TOLERANCE:
                raise _cut_off(path, seconds, seconds * promised / there)
        first = 0 if start is None else round(start * rate)
        last = file.frames if end is None else min(round(end * rate), file.frames)
        if first >= last:
            return np.zeros(0, dtype=np.float32), rate
        _check_length(path, (last - first) / rate, longest)
        file.seek(first)
        blocks: list[Waveform] = []
        missing = last - first
        while missing and (not blocks or len(blocks[-1])):
            frames = file.read(min(missing, BLOCK), dtype="float32", always_2d=True)
            blocks.append(_mono(frames))
            missing -= len(frames)
    if missing:
        raise _cut_off(path, (last - first - missing) / rate, (last - first) / rate)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), rate


def _read_pyav(
    path: Path, start: float | None, end: float | None, longest: float, soundfile_reason: str | None = None
) -> tuple[Waveform, int]:
    """Decode from the beginning and cut, since seeking in compressed streams is not exact to the sample."""
    import av  # brings FFmpeg; not needed for the formats of most corpora

    chunks: list[Waveform] = []
    decoded, rate, promised = 0, 0, 0.0
    try:
        with av.open(str(path), metadata_errors="ignore") as container:  # old tags are seldom UTF-8
            if not container.streams.audio:
                raise InputError(f"{path}: has no audio stream.")
            stream = container.streams.audio[0]
            context = stream.codec_context
            if context is None:
                raise InputError(f"{path}: has sound in a codec that FFmpeg does not know; convert it to wav.")
            rate = context.sample_rate
            _check_rate(path, rate)
            if "matroska" in container.format.name and len(container.streams) == 1:
                promised = (container.duration or 0) / av.time_base  # it ends early without an error
            # Interleaved, since PyAV reads beyond its array where more than 8 channels are planar.
            interleaved = av.AudioResampler(format="flt", layout=context.layout.name or None, rate=rate)
            first = 0 if start is None else round(start * rate)
            last = math.inf if end is None else round(end * rate)
            for frame in container.decode(stream):
                for part in interleaved.resample(frame):
                    channels = part.to_ndarray().reshape(-1, part.layout.nb_channels)
                    chunks.append(_mono(channels))
                    decoded += len(channels)
                _check_length(path, (min(decoded, last) - first) / rate, longest)
                if decoded >= last:
                    break
    except (av.FFmpegError, ValueError, IndexError) as error:
        reasons = f"FFmpeg: {getattr(error, 'strerror', None) or error}"
        if soundfile_reason is not None:
            reasons = f"soundfile: {soundfile_reason}; {reasons}"
        beyond = f" beyond {decoded / rate:.2f} s" if decoded else ""
        raise InputError(f"{path}: cannot be decoded{beyond} ({reasons}); replace or remove the file.") from None
    if decoded < last and decoded / rate < promised - TOLERANCE:
        raise _cut_off(path, decoded / rate, promised)
    waveform = np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.float32)
    return waveform[first : None if end is None else round(end * rate)], rate
