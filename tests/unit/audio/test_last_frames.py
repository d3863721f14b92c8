"""The end of a flac or a Matroska file says more than its beginning: more samples, or that some are missing."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from make_audio import encode, sine
from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.contents import contents_of
from melt_ser.audio.decode import read_audio, read_native
from melt_ser.audio.headers import _crc, flac_patch, flac_samples, flac_stated
from melt_ser.audio.parts import Bytes
from melt_ser.audio.verify import verify_clip
from melt_ser.core.errors import InputError

WAVE = sine(SAMPLE_RATE, 2.0)
TAG = b"TAG".ljust(128, b"\0")


def flac(path: Path, stated: int, end: bytes = b"", samples: np.ndarray = WAVE, **how: object) -> Path:
    """Write a flac whose header states another number of samples."""
    soundfile.write(path, samples, how.pop("rate", SAMPLE_RATE), **how)
    content = bytearray(path.read_bytes() + end)
    for position, stating in flac_patch(bytes(content[:26]), 0, stated).items():
        content[position : position + len(stating)] = stating
    assert flac_stated(bytes(content[:26])) == stated
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("stated", [1, 4096, 16_000, 31_999])
@pytest.mark.parametrize("end", [b"", TAG], ids=["", "tag"])
def test_a_flac_whose_header_states_too_few_samples_is_read_to_its_end(stated: int, end: bytes, tmp_path: Path) -> None:
    path = flac(tmp_path / "a.flac", stated, end)
    soundfile.write(tmp_path / "right.flac", WAVE, SAMPLE_RATE)
    np.testing.assert_array_equal(read_audio(path), read_audio(tmp_path / "right.flac"))
    found = f"has a header that states {stated:,} samples, but 32,000 are there, and all were read"
    assert verify_clip(tmp_path, "a.flac").found == found
    assert len(read_audio(path, 1.5, 1.9)) == 6400


def test_joined_flacs_with_wrong_headers_are_all_read(tmp_path: Path) -> None:
    first, second = flac(tmp_path / "a.flac", 5000), flac(tmp_path / "b.flac", 7000)
    (tmp_path / "c.flac").write_bytes(first.read_bytes() + second.read_bytes())
    assert len(read_audio(tmp_path / "c.flac")) == 64_000


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frames", [1, 4096, 4097, 600_000])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_S8"])
def test_the_samples_of_a_flac_are_counted(rate: int, channels: int, frames: int, subtype: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (frames, channels))
    for stated, expected in ((frames, None), (frames + 1, None), (max(1, frames - 1), frames if frames > 1 else None)):
        path = flac(tmp_path / "a.flac", stated, samples=noise, rate=rate, subtype=subtype)
        file = path.open("rb")
        size = path.stat().st_size
        assert flac_samples(Bytes(file, size), 0, size) == expected
        file.close()


def test_what_stands_behind_a_flac_is_no_frame(tmp_path: Path) -> None:
    """Then the header is believed, as nothing tells more."""
    assert len(read_audio(flac(tmp_path / "a.flac", 32_000, random.Random(0).randbytes(5000)))) == 32_000
    assert contents_of(tmp_path / "a.flac").found == ""


def test_a_flac_made_of_false_frames_takes_no_time(tmp_path: Path) -> None:
    frame = b"\xff\xf8\x19\x08\x7f"  # number 127, of 192 samples
    frame += bytes([next(check for check in range(256) if _crc(frame + bytes([check]), 8, 0x07) == 0)])
    path = flac(tmp_path / "a.flac", 1, frame * 40_000)
    before = time.process_time()
    contents_of(path)
    assert time.process_time() - before < 20  # of hours, if every one were checked


@pytest.mark.parametrize("codec", ["flac", "pcm_s16le", "libopus"])
@pytest.mark.parametrize("options", [{}, {"live": "1"}], ids=["file", "pipe"])
def test_a_matroska_file_that_is_cut_off_anywhere_is_refused(codec: str, options: dict, tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mka", codec, **options)
    content, samples = whole.read_bytes(), len(read_native(whole)[0])
    assert samples >= 24_000 and (b"\x18\x53\x80\x67\x01\xff\xff\xff" in content) == bool(options)
    cut = tmp_path / "cut.mka"
    for size in random.Random(0).sample(range(len(content) // 4, len(content) - 1), 20):
        cut.write_bytes(content[:size])
        with pytest.raises(InputError, match="is cut off"):
            read_native(cut)
    for rest in (b"\0" * 50, b"TAG junk", b"\n"):
        cut.write_bytes(content + rest)
        assert len(read_native(cut)[0]) == samples
