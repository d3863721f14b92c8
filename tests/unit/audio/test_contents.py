"""A header's length is a claim: a file is read to its end, whatever is stated, and refused only if it is cut off."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from make_audio import encode, overwrite, sine
from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.contents import contents_of
from melt_ser.audio.decode import read_audio, read_native, stream_audio
from melt_ser.audio.mpeg import parse, stretches
from melt_ser.audio.parts import Bytes, Window
from melt_ser.audio.verify import verify_clip
from melt_ser.core.errors import InputError

WAVE = sine(SAMPLE_RATE, 2.0)
MISSTATED = "has a header that states"


def seconds(path: Path) -> float:
    """Return the length of a recording, which must be the same read at once and in blocks."""
    whole = read_audio(path)
    np.testing.assert_allclose(np.concatenate(list(stream_audio(path))), whole, atol=1e-6)
    return len(whole) / SAMPLE_RATE


def refused(path: Path) -> str:
    """Return the sentence of a refused file, which must be the same read at once and in blocks."""
    with pytest.raises(InputError) as at_once:
        read_audio(path)
    with pytest.raises(InputError) as in_blocks:
        list(stream_audio(path))
    assert str(at_once.value) == str(in_blocks.value)
    return str(at_once.value)


def write(path: Path, wave: np.ndarray = WAVE, rate: int = SAMPLE_RATE) -> Path:
    soundfile.write(path, wave, rate, format="WAV" if path.suffix == ".wav" else None)
    return path


def mp3(path: Path, quality: str = "", **options: str) -> Path:
    """Write an MP3 of speech-like noise by FFmpeg; `write_xing="0"` leaves out the header that states its length."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, len(WAVE)).astype(np.float32)
    noise[len(noise) // 4 :] *= 0.001  # its first frames need the most bits, so that an estimate is far off
    with av.open(str(path), "w", format="mp3", options=options) as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE, layout="mono", options={"q": quality})
        if quality:
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = 118 * int(quality)
        else:
            stream.codec_context.bit_rate = 64_000
        for first in range(0, len(noise), 576):
            part = np.ascontiguousarray(noise[None, first : first + 576])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), first
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def halve(path: Path, source: Path) -> Path:
    content = source.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


@pytest.mark.parametrize("quality", ["", "4"], ids=["constant", "variable"])
def test_an_mp3_without_a_xing_header_is_read_to_its_end(quality: str, tmp_path: Path) -> None:
    assert seconds(mp3(tmp_path / "a.mp3", quality, write_xing="0")) == pytest.approx(2.0, abs=0.12)
    assert contents_of(tmp_path / "a.mp3").found == ""


def test_the_picture_of_an_mp3_is_no_sound(tmp_path: Path) -> None:
    bare = mp3(tmp_path / "bare.mp3", write_xing="0", id3v2_version="0").read_bytes()
    tag = b"ID3\x03\0\0" + bytes([0, 6, 13, 32]) + b"\0" * (6 << 14 | 13 << 7 | 32)
    (tmp_path / "a.mp3").write_bytes(tag + bare + b"TAG" + b"\0" * 125)
    assert seconds(tmp_path / "a.mp3") == seconds(tmp_path / "bare.mp3")


@pytest.mark.parametrize("xing", ["0", "1"], ids=["estimated", "promised"])
def test_an_mp3_that_is_cut_off_is_refused(xing: str, tmp_path: Path) -> None:
    assert "is cut off" in refused(halve(tmp_path / "a.mp3", mp3(tmp_path / "whole.mp3", write_xing=xing)))


def test_an_mp3_with_junk_at_its_end_is_read_without_a_message_of_the_decoder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = mp3(tmp_path / "a.mp3")
    length = seconds(path)
    path.write_bytes(path.read_bytes() + b"\0" * 20_000)
    assert seconds(path) == length
    assert seconds(joined(tmp_path / "two.mp3", mp3(tmp_path / "b.mp3"), mp3(tmp_path / "c.mp3"))) == 2 * length
    assert "cut off" in refused(halve(tmp_path / "half.mp3", tmp_path / "b.mp3"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("xing", ["0", "1"])
def test_a_damaged_frame_of_an_mp3_is_told_with_its_place(xing: str, tmp_path: Path) -> None:
    """The decoder prints a message of its own, without the name of the file."""
    content = mp3(tmp_path / "whole.mp3", write_xing=xing).read_bytes()
    assert verify_clip(tmp_path, "whole.mp3").found == ""
    frame = next(at for at in range(4000, 9000) if parse(content[at : at + 4]) is not None)
    (tmp_path / "a.mp3").write_bytes(content[:frame] + b"\0\0\0\0" + content[frame + 4 :])
    clip = verify_clip(tmp_path, "a.mp3")
    if xing == "1":
        assert clip.reason is None
        assert re.fullmatch(r"is damaged in 1 place\(s\), the first at 0\.[0-9]+ s; the rest was read", clip.found)
    else:
        assert clip.reason is not None and clip.reason.startswith("unreadable: cannot be decoded beyond 0.50 s")


def test_mp3_frames_are_counted(tmp_path: Path) -> None:
    content = mp3(tmp_path / "a.mp3", write_xing="0").read_bytes()
    with (tmp_path / "a.mp3").open("rb") as file:
        (stretch,) = stretches(Bytes(file, len(content)), 0, len(content))
    with av.open(str(tmp_path / "a.mp3")) as container:
        assert stretch.samples == sum(frame.samples for frame in container.decode(audio=0))
    assert parse(b"\xff\xf3\x48\xc4") is not None
    assert [parse(head) for head in (b"", b"\xff\xfb", b"RIFF", b"\xff\xff\xff\xff", b"\xff\xfb\x00\x00")] == [None] * 5


def test_mp3_and_adpcm_in_a_wav_are_read_to_their_end(tmp_path: Path) -> None:
    content = mp3(tmp_path / "a.mp3", write_xing="0", id3v2_version="0").read_bytes()
    form = struct.pack("<HHIIHHHHIHHH", 85, 1, SAMPLE_RATE, 8000, 1, 0, 12, 1, 2, 288, 1, 1393)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(content))
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(head) + len(content)) + head + content)
    assert seconds(tmp_path / "a.wav") == pytest.approx(2.0, abs=0.12)
    soundfile.write(tmp_path / "b.wav", WAVE, SAMPLE_RATE, subtype="IMA_ADPCM")
    assert seconds(tmp_path / "b.wav") == pytest.approx(2.0, abs=0.1)
    for name in ("a.wav", "b.wav"):
        assert "is cut off" in refused(halve(tmp_path / f"cut_{name}", tmp_path / name))


# Where each format states the bytes of its samples: mark, bytes from the mark to the number, its form, what it adds.
FIELDS = {
    "a.wav": (b"data", 4, "<I", 0),
    "a.aiff": (b"SSND", 4, ">I", 8),
    "a.au": (b".snd", 8, ">I", 0),
    "a.caf": (b"data", 4, ">q", 4),
    "a.w64": (b"data", 16, "<q", 24),
}


def state(path: Path, size: int) -> None:
    """Make a header state so many bytes of samples."""
    mark, distance, form, extra = FIELDS[path.name]
    overwrite(path, path.read_bytes().index(mark) + distance, struct.pack(form, size + extra))


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("size", [0, 32_000, 10**9, 2**30, 2 * 10**9, 0x7F00_0000, 0x7FFF_FF00])
def test_a_header_with_a_wrong_length_is_not_believed(size: int, name: str, tmp_path: Path) -> None:
    state(write(tmp_path / name), size)
    assert seconds(tmp_path / name) == 2.0
    assert contents_of(tmp_path / name).found.startswith(MISSTATED) == (size < 0x7F00_0000)


@pytest.mark.parametrize("name", FIELDS)
def test_a_header_that_states_too_many_bytes_means_that_the_file_is_cut_off(name: str, tmp_path: Path) -> None:
    state(write(tmp_path / name), 164_000)
    assert "is cut off (64,000 of 164,000 bytes are there); download it again." in refused(tmp_path / name)


@pytest.mark.parametrize(
    "rest", [b"LIST\4\0\0\0INFO", b"TAG" + b"x" * 9000, b"\0" * 9000], ids=["chunk", "tag", "zeros"]
)
def test_what_follows_the_samples_need_not_be_samples(rest: bytes, tmp_path: Path) -> None:
    write(tmp_path / "a.wav")
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes() + rest)
    assert seconds(tmp_path / "a.wav") == 2.0
    assert contents_of(tmp_path / "a.wav").found == ""


def test_a_header_without_samples_has_none(tmp_path: Path) -> None:
    assert "there are no samples" in refused(write(tmp_path / "a.wav", WAVE[:0]))


def test_a_flac_without_a_length_as_a_pipe_writes_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.flac")
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = b"\0\0\0\0"
    (tmp_path / "a.flac").write_bytes(content)
    assert seconds(tmp_path / "a.flac") == 2.0
    assert verify_clip(tmp_path, "a.flac", maximum_seconds=60.0).duration == 2.0


def test_an_estimated_length_of_a_matroska_file_is_no_promise(tmp_path: Path) -> None:
    """A file to a pipe has no duration, and FFmpeg estimates one from its bit rate."""
    path = encode(tmp_path / "a.mka", "flac")
    content = path.read_bytes()
    at = content.index(b"\x44\x89\x88")
    path.write_bytes(content[:at] + b"\xec\x89\x88" + content[at + 3 :])  # the duration becomes a void
    assert seconds(path) == 0.5
    assert "is cut off" in refused(halve(tmp_path / "cut.mka", encode(tmp_path / "whole.mka", "flac")))


JOINED = ["a.wav", "a.aiff", "a.au", "a.caf", "a.w64", "a.flac", "a.ogg", "opus", "a.mp3", "a.m4a", "a.mka"]


@pytest.mark.parametrize("name", JOINED)
def test_joined_recordings_are_all_read(name: str, tmp_path: Path) -> None:
    if name == "opus":
        path = tmp_path / "a.opus"
        soundfile.write(path, sine(48_000, 2.0), 48_000, format="OGG", subtype="OPUS")
    elif name in ("a.m4a", "a.mka"):
        path = encode(tmp_path / name, {"a.m4a": "aac", "a.mka": "flac"}[name], 44_100)
    else:
        path = mp3(tmp_path / name) if name == "a.mp3" else write(tmp_path / name)
    one = seconds(path)
    both = joined(tmp_path / f"both{path.suffix}", path, path)
    assert seconds(both) == pytest.approx(2 * one, abs=2e-4)
    if name != "a.mka":  # Matroska allows it
        found = "holds 2 recordings one after the other, and all were read as one"
        assert contents_of(both).found == verify_clip(tmp_path, both.name).found == found
    samples, rate = read_native(path)
    first = len(samples) // 2  # a segment from the middle of one to the middle of the other
    segment, _ = read_native(both, first / rate, (len(samples) + first) / rate)
    np.testing.assert_allclose(segment, np.concatenate([samples[first:], samples[:first]]), atol=1e-6)


def test_a_joined_recording_may_have_a_wrong_length_too(tmp_path: Path) -> None:
    state(write(tmp_path / "a.wav"), 0xFFFF_FFFF)
    assert seconds(joined(tmp_path / "b.wav", tmp_path / "a.wav", tmp_path / "a.wav")) == 4.0
    whole, cut = write(tmp_path / "whole.flac"), halve(tmp_path / "cut.flac", tmp_path / "whole.flac")
    assert "cannot be decoded" in refused(joined(tmp_path / "b.flac", whole, cut))


def test_joined_recordings_of_two_rates_are_told(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.wav"), write(tmp_path / "b.wav", WAVE, 44_100)
    soundfile.write(tmp_path / "a.mp3", WAVE, SAMPLE_RATE)
    soundfile.write(tmp_path / "b.mp3", WAVE, 44_100)
    sentence = "holds recordings of 16000 and 44100 Hz one after the other; save them as two files."
    assert sentence in refused(joined(tmp_path / "c.wav", first, second))
    assert sentence in refused(joined(tmp_path / "c.mp3", tmp_path / "a.mp3", tmp_path / "b.mp3"))


CUT: dict[str, Callable[[Path], object]] = {
    "long.ogg": lambda path: soundfile.write(path, np.tile(WAVE, 5), SAMPLE_RATE),  # of several pages
    "long.opus": lambda path: soundfile.write(path, np.tile(WAVE, 5), SAMPLE_RATE, format="OGG", subtype="OPUS"),
    "a.rf64": lambda path: soundfile.write(path, WAVE, SAMPLE_RATE, format="RF64", subtype="PCM_16"),
    "a.w64": lambda path: soundfile.write(path, WAVE, SAMPLE_RATE),
    "a.caf": lambda path: soundfile.write(path, WAVE, SAMPLE_RATE),
    "a.avi": lambda path: encode(path, "pcm_s16le"),
    "a.m4a": lambda path: encode(path, "aac"),
}


@pytest.mark.parametrize("name", CUT)
def test_every_format_that_promises_a_length_shows_that_it_is_cut_off(name: str, tmp_path: Path) -> None:
    CUT[name](tmp_path / name)
    seconds(tmp_path / name)
    assert "is cut off" in refused(halve(tmp_path / f"cut{Path(name).suffix}", tmp_path / name))


def test_a_window_shows_a_stretch_of_a_file_with_its_patches(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"--0123456789")
    with Window((tmp_path / "a").open("rb"), 2, 2, 8, {3: b"ab"}) as window:
        assert window.read() == b"2ab567"
        assert window.seek(-2, 2) == 4 and window.read(9) == b"67" and window.read(1) == b""
        assert window.seek(1) == 1 and window.read(2) == b"ab" and window.tell() == 3
