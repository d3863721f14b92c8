"""Decode one recording of a file to mono blocks at its own rate, by soundfile or by PyAV (FFmpeg)."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import soundfile

from melt_ser.audio.parts import TOLERANCE, Part, Window, cut_off
from melt_ser.audio.shards import place_of
from melt_ser.audio.sound import Mixer, Waveform
from melt_ser.core.errors import InputError, first_line

SOUNDFILE_SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64", ".caf"}
RATES = range(1_000, 384_001)  # Hz; a damaged header may give 1 Hz or 2 GHz, and resampling would make gigabytes
MATROSKA_DURATION = re.compile(
    rb"\x15\x49\xa9\x66.{,4096}?\x44\x89[\x84\x88]", re.DOTALL
)  # in the segment's information
NAMES_OTHERS = {  # formats whose files name other files or addresses, which FFmpeg would open
    *("applehttp", "concat", "dash", "hls", "image2", "imf", "rtp", "rtsp", "sap", "sdp", "webm_dash_manifest"),
}
BLOCK = 2**20  # samples of all channels read at once, so that an hour of them is never in memory together
BEFORE = 32 * 1152  # samples in front of a segment of an MP3: a frame needs up to 511 bytes of the frames before it


class TooLong(InputError):
    """A recording, or its segment, is longer than the caller's limit."""


class _Unsuited(Exception):
    """soundfile would not read all of a file."""


class Segment:
    """The part of a recording to decode: `start` to `end` seconds (None: its beginning or end), at most `longest`."""

    def __init__(self, start: float | None, end: float | None, longest: float) -> None:
        self.start, self.end, self.longest = start, end, longest

    def frames(self, rate: int) -> tuple[int, int]:
        """Return the first frame and the one after the last."""
        first = 0 if self.start is None else round(self.start * rate)
        return first, sys.maxsize if self.end is None else round(self.end * rate)

    def check(self, path: Path, seconds: float) -> None:
        """Raise TooLong if so many seconds of it are more than the limit."""
        if seconds > self.longest:
            raise TooLong(f"{path}: lasts {seconds:.1f} s or more.")


WHOLE = Segment(None, None, math.inf)


def check_rate(path: Path, rate: int) -> None:
    """Raise InputError if the sampling rate in Hz is none of sound."""
    if rate not in RATES:
        raise InputError(f"{path}: a sampling rate of {rate} Hz cannot be right; replace or remove the file.")


def decode_part(path: Path, part: Part, segment: Segment, mix: Mixer) -> Iterator[tuple[Waveform, int]]:
    """Yield the blocks of a segment of a part, none of them empty, each with the sampling rate.

    soundfile decodes its formats if it can read all of the part. Otherwise PyAV does, from where soundfile gave up.
    """
    reason, done = None, 0
    if path.suffix.lower() in SOUNDFILE_SUFFIXES:
        try:
            for block, rate in _soundfile_blocks(path, part, segment, mix):
                yield block, rate
                done += len(block)
            return
        except (soundfile.SoundFileError, _Unsuited) as error:
            reason = str(getattr(error, "error_string", error)).rstrip(".")
    yield from _pyav_blocks(path, part, segment, mix, done, reason)


@contextlib.contextmanager
def _opened(path: Path, part: Part) -> Iterator[Any]:
    """Give what a decoder opens: the name of the file (as bytes, since it need not be UTF-8), or a window into it."""
    place = place_of(path)
    if part.last is None and place.is_file:
        yield os.fsencode(path)
        return
    file, base, size = place.open()
    with Window(file, base, part.first, size if part.last is None else part.last, part.patches) as window:
        yield window


class _Onward(soundfile.SoundFile):  # type: ignore[misc]
    """A file whose reads go on where the last one ended.

    soundfile itself seeks there after each read, and behind a seek the first frames of an MP3 are wrong, as they lack
    the bytes of earlier ones.
    """

    def seekable(self) -> bool:
        return False


def _soundfile_blocks(path: Path, part: Part, segment: Segment, mix: Mixer) -> Iterator[tuple[Waveform, int]]:
    with _opened(path, part) as source, _Onward(source) as file:
        rate = file.samplerate
        check_rate(path, rate)
        estimates = file.subtype.startswith("MPEG") and file.format != "MP3"
        if part.streamed or estimates or (part.samples is not None and part.samples != file.frames):
            raise _Unsuited("it cannot tell the length")
        first, last = segment.frames(rate)
        last = min(last, file.frames)
        if first >= last:
            return
        segment.check(path, (last - first) / rate)
        before = min(first, BEFORE) if file.subtype.startswith("MPEG") else 0
        file.seek(first - before)
        file.read(before, dtype="float32")
        missing, block = last - first, max(1, BLOCK // file.channels)
        while missing:
            frames = file.read(min(missing, block), dtype="float32", always_2d=True)
            if not len(frames):
                if missing / rate > TOLERANCE:
                    raise cut_off(path, (last - missing) / rate, last / rate)
                return
            yield mix(frames), rate
            missing -= len(frames)


def _any_tags() -> dict[str, str]:
    """Return the option with which PyAV reads old tags, which are rarely UTF-8; from version 19 on it needs none."""
    import av

    return {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}


def _pyav_blocks(
    path: Path, part: Part, segment: Segment, mix: Mixer, skip: int, soundfile_reason: str | None
) -> Iterator[tuple[Waveform, int]]:
    """Decode from the beginning and cut, as seeking in compressed audio is not exact.

    `skip` frames of the segment are not wanted any more; `soundfile_reason` says why soundfile failed before.
    """
    import av  # loads FFmpeg; the formats of most corpora do not need it

    decoded, rate, promised = 0, 0, 0.0
    try:
        with (
            _opened(path, part) as source,
            av.open(_name(source), options={"format_whitelist": _formats()}, **_any_tags()) as container,
        ):
            if not container.streams.audio:
                raise InputError(f"{path}: has no audio stream.")
            stream = container.streams.audio[0]
            context = stream.codec_context
            if context is None:
                raise InputError(f"{path}: has sound in a codec that FFmpeg does not know; convert it to wav.")
            rate = context.sample_rate
            check_rate(path, rate)
            promised = _promised(path, container)
            # Interleaved, since PyAV reads beyond its array if more than 8 channels are planar.
            interleaved = av.AudioResampler(format="flt", layout=context.layout.name or None, rate=rate)
            first, last = segment.frames(rate)
            for frame in container.decode(stream):
                for piece in interleaved.resample(frame):
                    channels = piece.to_ndarray().reshape(-1, piece.layout.nb_channels)
                    inside = channels[max(0, first + skip - decoded) : max(0, min(last - decoded, len(channels)))]
                    decoded += len(channels)
                    if len(inside):
                        yield mix(inside), rate
                segment.check(path, (min(decoded, last) - first) / rate)
                if decoded >= last:
                    break
    except (av.FFmpegError, ValueError, IndexError) as error:
        reasons = f"FFmpeg: {getattr(error, 'strerror', None) or first_line(error)}"
        if soundfile_reason is not None:
            reasons = f"soundfile: {soundfile_reason}; {reasons}"
        beyond = f" beyond {decoded / rate:.2f} s" if decoded else ""
        raise InputError(f"{path}: cannot be decoded{beyond} ({reasons}); replace or remove the file.") from None
    if decoded < last and decoded / rate < promised - TOLERANCE:
        raise cut_off(path, decoded / rate, promised)


@lru_cache(maxsize=1)
def _formats() -> str:
    """Return the formats that FFmpeg may read, as its option wants them."""
    import av

    names = {name for group in av.formats_available for name in group.split(",")}
    return ",".join(sorted(names.difference(NAMES_OTHERS)))


def _name(source: Any) -> Any:
    return os.fsdecode(source) if isinstance(source, bytes) else source


def _promised(path: Path, container: Any) -> float:
    """Return the seconds that a file states; 0 if its format or its writer states none, and FFmpeg estimates them."""
    import av

    if "matroska" in container.format.name and len(container.streams) == 1:
        file, base, size = place_of(path).open()
        with Window(file, base, 0, size, {}) as window:
            states = MATROSKA_DURATION.search(window.read(2**16)) is not None
    else:
        states = container.format.name == "flac"
    return float((container.duration or 0) / av.time_base) if states else 0.0
