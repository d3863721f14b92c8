"""Decode any recording to mono float32: wav, flac, ogg and mp3 by soundfile, all other formats by PyAV.

`read_native` keeps the recording's own sampling rate, for verification; `read_audio` resamples to 16 kHz;
`stream_audio` does the same in blocks, and `read_segments` segment by segment, for recordings of hours that would not
fit into memory. All of them read what the file holds, whatever its header states (`contents`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.contents import contents_of
from melt_ser.audio.decoders import WHOLE, Segment, TooLong, decode_part
from melt_ser.audio.parts import TOLERANCE
from melt_ser.audio.resample import resample, resample_blocks
from melt_ser.audio.sound import Mixer, Waveform, check_sound
from melt_ser.core.errors import InputError

__all__ = ["TooLong", "in_pieces", "read_audio", "read_native", "read_segments", "stream_audio"]
Observe = Callable[[Waveform, int], None]  # takes a block at the recording's own rate, and the rate in Hz


def read_audio(path: Path, start: float | None = None, end: float | None = None, longest: float = math.inf) -> Waveform:
    """Return a recording, or its segment from `start` to `end` seconds, as mono at 16 kHz, (samples,).

    Channels are averaged. Raises InputError with one sentence that names the file, also if the file is cut off or the
    segment ends more than `TOLERANCE` seconds after the recording; TooLong if there are more than `longest` seconds;
    WrongSound if the channels cancel each other or the samples have another scale.
    """
    waveform, rate = read_native(path, start, end, longest)
    return resample(waveform, rate, SAMPLE_RATE)


def stream_audio(path: Path, observe: Observe | None = None) -> Iterator[Waveform]:
    """Yield a recording as mono at 16 kHz in blocks, (samples,) each; only a few are in memory at a time.

    `observe` sees every block at the recording's own rate. Raises the errors of `read_audio`, at the block that has the
    fault, or after the last one if the channels cancel each other.
    """
    blocks = _native_blocks(path, WHOLE)
    first = next(blocks, None)
    if first is None:
        raise InputError(f"{path}: there are no samples; replace or remove the file.")
    rate = first[1]

    def native() -> Iterator[Waveform]:
        for block, _ in itertools.chain([first], blocks):
            check_sound(str(path), block)
            if observe is not None:
                observe(block, rate)
            yield block

    yield from resample_blocks(native(), rate, SAMPLE_RATE)


def read_segments(path: Path, segments: Sequence[tuple[float, float]]) -> Iterator[tuple[Waveform, int]]:
    """Yield segments of a recording as mono at its own rate, (samples,) each, and that rate in Hz.

    The samples are those of `read_native`, but the file is decoded once, to its end, and little more than a segment is
    in memory. A segment that ends after the recording has the samples that there are, perhaps none. Raises the errors
    of `read_native` for the file as a whole; `check_sound` is left to the caller.

    segments: start and end in seconds, in the order of their starts; they may overlap.
    """
    blocks = _native_blocks(path, WHOLE)
    held: list[Waveform] = []  # the samples from `first` on
    first = count = rate = 0
    for start, end in segments:
        while not rate or first + count < round(end * rate):
            block, rate = next(blocks, (None, rate))
            if block is None:
                break
            held.append(block)
            count += len(block)
            if first + count <= round(start * rate):
                held, first, count = [], first + count, 0
        if not rate:
            raise InputError(f"{path}: there are no samples; replace or remove the file.")
        together = np.concatenate(held) if held else np.zeros(0, dtype=np.float32)
        passed = min(max(0, round(start * rate) - first), count)
        held, first, count = [together[passed:]], first + passed, count - passed
        yield held[0][: max(0, round(end * rate) - first)], rate
    for _ in blocks:
        pass  # a fault of the file shows at its end


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


def read_native(
    path: Path, start: float | None = None, end: float | None = None, longest: float = math.inf
) -> tuple[Waveform, int]:
    """Return a recording or its segment as mono at its own sampling rate, (samples,), and that rate in Hz.

    Raises the errors of `read_audio`; TooLong comes before the samples fill the memory.
    """
    if start is not None and not 0.0 <= start < math.inf:
        raise InputError(f"{path}: a segment cannot start at {start} s.")
    if end is not None and not (start or 0.0) < end < math.inf:
        raise InputError(f"{path}: the segment from {start or 0.0} s to {end} s is empty or runs backwards.")
    blocks = list(_native_blocks(path, Segment(start, end, longest)))
    if not blocks:
        where = "" if start is None else f" from {start} s on (the segment lies outside the recording)"
        raise InputError(f"{path}: there are no samples{where}; replace or remove the file.")
    rate = blocks[0][1]
    waveform = blocks[0][0] if len(blocks) == 1 else np.concatenate([block for block, _ in blocks])
    recording_end = (start or 0.0) + len(waveform) / rate
    if end is not None and recording_end < end - TOLERANCE:
        raise InputError(f"{path}: the segment ends at {end} s, but the recording already at {recording_end:.2f} s.")
    check_sound(str(path), waveform)
    return waveform, rate


def _native_blocks(path: Path, segment: Segment) -> Iterator[tuple[Waveform, int]]:
    """Yield the blocks of a segment of a file, of all its parts one after the other, with the sampling rate."""
    parts = contents_of(path).parts
    mix = Mixer()
    if len(parts) == 1:
        yield from decode_part(path, parts[0], segment, mix)
    else:
        yield from _joined(path, [decode_part(path, part, WHOLE, mix) for part in parts], segment)
    mix.check(str(path))


def _joined(
    path: Path, parts: list[Iterator[tuple[Waveform, int]]], segment: Segment
) -> Iterator[tuple[Waveform, int]]:
    """Cut a segment out of several parts."""
    decoded, rate, first, last = 0, 0, 0, 0
    for block, own_rate in itertools.chain(*parts):
        if not rate:
            rate = own_rate
            first, last = segment.frames(rate)
        if own_rate != rate:
            raise InputError(
                f"{path}: holds recordings of {rate} and {own_rate} Hz one after the other; save them as two files."
            )
        inside = block[max(0, first - decoded) : max(0, min(last - decoded, len(block)))]
        decoded += len(block)
        if len(inside):
            yield inside, rate
        segment.check(path, (min(decoded, last) - first) / rate)
        if decoded >= last:
            return
