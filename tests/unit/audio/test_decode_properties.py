"""Decoding any file gives finite samples or one sentence that names it, never hangs, and uses bounded memory."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from make_audio import FORMATS, sine, sound
from melt_ser.audio.decode import read_audio
from melt_ser.audio.decoders import SOUNDFILE_SUFFIXES
from melt_ser.audio.verify import verify_clip
from melt_ser.core.errors import InputError
from mutations import damage

SUFFIXES = sorted([*SOUNDFILE_SUFFIXES, ".mp4", ".m4a", ".webm", ".mkv", ".avi", ".xyz", ""])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of this module, since hypothesis runs many in a test."""
    return tmp_path_factory.mktemp("sounds")


def outcome(path: Path) -> str:
    """Check that reading gives finite samples, or one sentence that names the file, in two seconds of the processor."""
    begun = time.process_time()
    try:
        samples = read_audio(path)
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return "refused"
    finally:
        assert time.process_time() - begun < 2
    assert samples.dtype == np.float32 and samples.ndim == 1 and len(samples) > 0
    assert np.isfinite(samples).all()
    return "read"


@settings(max_examples=100)
@given(st.binary(min_size=1, max_size=2000), st.sampled_from(SUFFIXES))
def test_decode_never_hangs_on_random_bytes(folder: Path, content: bytes, suffix: str) -> None:
    path = folder / f"noise{suffix}"
    path.write_bytes(content)
    outcome(path)
    assert "\n" not in str(verify_clip(folder, path.name).reason)


@settings(max_examples=150)
@given(st.sampled_from(FORMATS), st.integers(0, 2**32))
def test_decode_reads_or_refuses_a_damaged_file(folder: Path, name: str, seed: int) -> None:
    path = sound(folder / name)
    assert outcome(path) == "read"
    path.write_bytes(damage(path.read_bytes(), random.Random(seed)))
    outcome(path)


@pytest.mark.parametrize("rate", [1, 15, 999, 384_001, 2**31 - 1])
def test_decode_refuses_an_impossible_sampling_rate_before_it_fills_the_memory(rate: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(16_000, 1.0), 16_000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(InputError, match=f"a sampling rate of {rate} Hz cannot be right|cannot be decoded"):
        read_audio(tmp_path / "a.wav")


def test_decode_does_not_open_pipes_and_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "device.wav").symlink_to("/dev/zero")
    for name in ("pipe.wav", "device.wav"):
        with pytest.raises(InputError, match="is a pipe or a device"):
            read_audio(tmp_path / name)


def test_verify_clip_refuses_a_recording_that_is_too_long_before_it_decodes(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.tile(sine(8_000, 1.0), 120), 8_000)
    verified = verify_clip(tmp_path, "a.flac", maximum_seconds=60.0)
    assert verified.reason == "too long: lasts 120.0 s or more, over dataset.maximum_seconds=60.0"
    assert verify_clip(tmp_path, "a.flac", 10.0, 20.0, maximum_seconds=60.0).reason is None
