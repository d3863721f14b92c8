"""Decode any recording to mono float32: wav, flac, ogg and mp3 by soundfile, all other formats by PyAV.

`read_native` keeps the recording's own sampling rate, for verification; `read_audio` resamples to 16 kHz;
`stream_audio` does the same in blocks, for recordings of hours that would not fit into memory.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.resample import resample, resample_blocks
from melt_ser.core.errors import InputError

Waveform = npt.NDArray[np.float32]
SOUNDFILE_SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64", ".caf"}
LFS_POINTER = b"version https://git-lfs"
TOLERANCE = 0.1  # seconds by which a segment or a header may exceed the recording: tables round, and codecs pad
RATES = range(1_000, 384_001)  # Hz; a damaged header may give 1 Hz or 2 GHz, and resampling would make gigabytes
LOUDEST = 2.0**32  # full scale is 1; unscaled 32-bit integers are the loudest samples that are not damaged
BLOCK = 2**20  # frames read at once, so that all channels of an hour are never in memory together
# libsndfile shortens a cut-off file without an error; only this line in its log shows it.
SHORTENED = re.compile(r"^ *(?:data|data size|ssnd) *: (\d+) \(should be (\d+)\)", re.IGNORECASE | re.MULTILINE)
UNKNOWN_LENGTH = 0x7FFF_0000  # bytes; programs that write to a pipe put this size, or a larger one, in the header


class TooLong(InputError):
    """A recording, or its segment, is longer than the caller's limit."""


def read_audio(path: Path, start: float | None = None, end: float | None = None, longest: float = math.inf) -> Waveform:
    """Return a recording, or its segment from `start` to `end` seconds, as mono at 16 kHz, (samples,).

    Channels are averaged. Raises InputError with one sentence that names the file, also if the file is cut off or the
    segment ends more than `TOLERANCE` seconds after the recording; TooLong if there are more than `longest` seconds.
    """
    waveform, rate = read_native(path, start, end, longest)
    return resample(waveform, rate, SAMPLE_RATE)


def stream_audio(path: Path) -> Iterator[Waveform]:
    """Yield a recording as mono at 16 kHz in blocks, (samples,) each; only a few are in memory at a time.

    Raises the errors of `read_audio`, at the block that has the fault.
    """
    _check_file(path)
    blocks = _native_blocks(path)
    first = next(blocks, None)
    if first is None:
        raise InputError(f"{path}: there are no samples; replace or remove the file.")
    rate = first[1]
    native = (_checked(path, block) for block, _ in itertools.chain([first], blocks))
    yield from resample_blocks(native, rate, SAMPLE_RATE)


def in_pieces(blocks: Iterable[Waveform], samples: int) -> Iterator[Waveform]:
    """Cut blocks of any length into pieces, (samples,) each; the last piece has the samples that are left."""
    held: list[Waveform] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block)
        if count < samples:
            continue
        together = np.concatenate(held)
        whole = count - count % samples
        yield from np.split(together[:whole], whole // samples)
        held, count = [together[whole:]], count - whole
    if count:
        yield np.concatenate(held)


def _native_blocks(path: Path) -> Iterator[tuple[Waveform, int]]:
    """Yield the blocks of soundfile, or those of PyAV if soundfile fails before its first block."""
    if path.suffix.lower() in SOUNDFILE_SUFFIXES:
        decoded = 0
        try:
            for block, rate in _soundfile_blocks(path, None, None, math.inf):
                yield block, rate
                decoded += len(block)
            return
        except soundfile.SoundFileError as error:
            reason = _reason(error)
            if decoded:
                raise InputError(f"{path}: cannot be decoded beyond {decoded / rate:.2f} s ({reason}).") from None
        yield from _pyav_blocks(path, None, None, math.inf, reason)
    else:
        yield from _pyav_blocks(path, None, None, math.inf)


def read_native(
    path: Path, start: float | None = None, end: float | None = None, longest: float = math.inf
) -> tuple[Waveform, int]:
    """Return a recording or its segment as mono at its own sampling rate, (samples,), and that rate in Hz.

    Raises the errors of `read_audio`; TooLong comes before the samples fill the memory.
    """
    _check_file(path)
    if start is not None and not 0.0 <= start < math.inf:
        raise InputError(f"{path}: a segment cannot start at {start} s.")
    if end is not None and not (start or 0.0) < end < math.inf:
        raise InputError(f"{path}: the segment ends at {end} s, before it starts at {start or 0.0} s.")
    if path.suffix.lower() in SOUNDFILE_SUFFIXES:
        try:
            blocks = list(_soundfile_blocks(path, start, end, longest))
        except soundfile.SoundFileError as error:
            blocks = list(_pyav_blocks(path, start, end, longest, _reason(error)))
    else:
        blocks = list(_pyav_blocks(path, start, end, longest))
    if not blocks:
        where = "" if start is None else f" from {start} s on (the segment lies outside the recording)"
        raise InputError(f"{path}: there are no samples{where}; replace or remove the file.")
    rate = blocks[0][1]
    waveform = blocks[0][0] if len(blocks) == 1 else np.concatenate([block for block, _ in blocks])
    recording_end = (start or 0.0) + len(waveform) / rate
    if end is not None and recording_end < end - TOLERANCE:
        raise InputError(f"{path}: the segment ends at {end} s, but the recording already at {recording_end:.2f} s.")
    return _checked(path, waveform), rate


def _checked(path: Path, waveform: Waveform) -> Waveform:
    if not (np.abs(waveform) < LOUDEST).all():  # also false for NaN
        raise InputError(f"{path}: some samples are NaN or infinite or beyond any sound; replace or remove the file.")
    return waveform


def _reason(error: soundfile.SoundFileError) -> str:
    return str(getattr(error, "error_string", error)).rstrip(".")


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


def _cut_off(path: Path, present: float, promised: float) -> InputError:
    return InputError(f"{path}: is cut off ({present:.2f} of {promised:.2f} s are there); download it again.")


def _mono(channels: Waveform) -> Waveform:
    """Average (samples, channels) to (samples,); a single channel is returned unchanged.

    Overflow gives infinity without a warning; `_checked` refuses it later.
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


def _soundfile_blocks(
    path: Path, start: float | None, end: float | None, longest: float
) -> Iterator[tuple[Waveform, int]]:
    """Yield the blocks of a segment, none of them empty, each with the sampling rate."""
    with soundfile.SoundFile(os.fsencode(path)) as file:  # as bytes, since a name need not be UTF-8
        _check_rate(path, file.samplerate)
        rate, seconds = file.samplerate, file.frames / file.samplerate
        shortened = SHORTENED.search(file.extra_info)
        if shortened is not None and file.frames:
            promised, present = (int(size) for size in shortened.groups())  # bytes
            if promised < UNKNOWN_LENGTH and seconds * promised / present > seconds + TOLERANCE:
                raise _cut_off(path, seconds, seconds * promised / present)
        first = 0 if start is None else round(start * rate)
        last = file.frames if end is None else min(round(end * rate), file.frames)
        if first >= last:
            return
        _check_length(path, (last - first) / rate, longest)
        file.seek(first)
        missing = last - first
        while missing:
            frames = file.read(min(missing, BLOCK), dtype="float32", always_2d=True)
            if not len(frames):
                raise _cut_off(path, (last - first - missing) / rate, (last - first) / rate)
            yield _mono(frames), rate
            missing -= len(frames)


def _pyav_blocks(
    path: Path, start: float | None, end: float | None, longest: float, soundfile_reason: str | None = None
) -> Iterator[tuple[Waveform, int]]:
    """Yield the blocks of a segment by PyAV: decode from the beginning, as seeking in compressed audio is not exact.

    Args:
        path: the recording.
        start: of the segment, in seconds; None: from the beginning.
        end: of the segment, in seconds; None: to the end.
        longest: seconds; a longer segment raises TooLong.
        soundfile_reason: why soundfile failed before, for the error sentence.
    """
    import av  # loads FFmpeg; the formats of most corpora do not need it

    decoded, rate, promised = 0, 0, 0.0
    try:
        with av.open(str(path), metadata_errors="ignore") as container:  # old tags are rarely UTF-8
            if not container.streams.audio:
                raise InputError(f"{path}: has no audio stream.")
            stream = container.streams.audio[0]
            context = stream.codec_context
            if context is None:
                raise InputError(f"{path}: has sound in a codec that FFmpeg does not know; convert it to wav.")
            rate = context.sample_rate
            _check_rate(path, rate)
            if "matroska" in container.format.name and len(container.streams) == 1:
                promised = (container.duration or 0) / av.time_base  # a cut-off file ends early without an error
            # Interleaved, since PyAV reads beyond its array if more than 8 channels are planar.
            interleaved = av.AudioResampler(format="flt", layout=context.layout.name or None, rate=rate)
            first = 0 if start is None else round(start * rate)
            last = sys.maxsize if end is None else round(end * rate)
            for frame in container.decode(stream):
                for part in interleaved.resample(frame):
                    channels = part.to_ndarray().reshape(-1, part.layout.nb_channels)
                    inside = channels[max(0, first - decoded) : max(0, min(last - decoded, len(channels)))]
                    decoded += len(channels)
                    if len(inside):
                        yield _mono(inside), rate
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
