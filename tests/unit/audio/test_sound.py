"""Sound that cannot be used has its true reason: channels that cancel, the scale of integers, very many channels."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from make_audio import sine
from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.decode import read_audio, read_native, stream_audio
from melt_ser.audio.rules import Levels, refusal
from melt_ser.audio.sound import Mixer, WrongSound
from melt_ser.audio.verify import verify_clip
from melt_ser.config import DatasetConfig

WAVE = sine(SAMPLE_RATE, 1.0)


def channels(path: Path, *gains: float, offset: float = 0.0) -> Path:
    soundfile.write(path, np.stack([gain * WAVE + offset for gain in gains], axis=1), SAMPLE_RATE, subtype="FLOAT")
    return path


@pytest.mark.parametrize(("gains", "lost"), [((1, -1), 99), ((1, -0.97), 33), ((1, -1, 1, -1), 99)])
def test_channels_that_cancel_are_told_and_not_called_silent(
    gains: tuple[float, ...], lost: int, tmp_path: Path
) -> None:
    path = channels(tmp_path / "a.wav", *gains)
    for read in (read_audio, lambda path: list(stream_audio(path))):
        with pytest.raises(WrongSound, match=f"a.wav: the channels cancel each other .their mean loses {lost} dB"):
            read(path)
    assert verify_clip(tmp_path, "a.wav").reason == (
        f"channels cancel: the channels cancel each other (their mean loses {lost} dB); keep one of them, or invert one"
    )


def test_a_small_offset_does_not_hide_that_channels_cancel(tmp_path: Path) -> None:
    with pytest.raises(WrongSound, match="the channels cancel each other"):
        read_audio(channels(tmp_path / "a.wav", 1, -1, offset=0.02))


@pytest.mark.parametrize("gains", [(1, 1), (1, 0), (1, -0.7), (1, 0, 0, 0, 0, 0), (1,), (0, 0)])
def test_channels_that_do_not_cancel_are_averaged(gains: tuple[float, ...], tmp_path: Path) -> None:
    np.testing.assert_allclose(read_audio(channels(tmp_path / "a.wav", *gains)), np.mean(gains) * WAVE, atol=1e-6)


def test_independent_channels_lose_nothing() -> None:
    mix = Mixer()
    for block in np.random.default_rng(0).standard_normal((4, 8000, 8)).astype(np.float32):
        mix(block)
    assert mix.lost() == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize(("scale", "divisor"), [(100, 128), (20_000, 32_768), (5e6, 8_388_608), (2e9, 2_147_483_648)])
def test_floats_on_the_scale_of_integers_are_told_and_not_called_clipped(
    scale: float, divisor: int, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", scale / 0.5 * WAVE, SAMPLE_RATE, subtype="FLOAT")
    reason = str(verify_clip(tmp_path, "a.wav").reason)
    assert reason.startswith("integer scale: the samples reach ")
    assert reason.endswith(f"but full scale is 1; divide them by {divisor}")
    with pytest.raises(WrongSound, match=f"divide them by {divisor}"):
        list(stream_audio(tmp_path / "a.wav"))


def test_a_mix_a_few_decibels_over_full_scale_is_used(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 4 * WAVE, SAMPLE_RATE, subtype="FLOAT")
    assert np.abs(read_audio(tmp_path / "a.wav")).max() == pytest.approx(2, abs=0.01)


def test_the_reason_passes_between_processes() -> None:
    error = pickle.loads(pickle.dumps(WrongSound("a.wav", "integer scale", "the samples reach 9")))
    assert (str(error), error.rule) == ("a.wav: the samples reach 9.", "integer scale")


def test_memory_of_decoding_does_not_grow_with_the_number_of_channels(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.ogg", "w", 8_000, 255) as file:
        for _ in range(20):
            file.write(np.zeros((8_000, 255), dtype=np.float32))
    tracemalloc.start()
    assert len(read_native(tmp_path / "a.ogg")[0]) == 20 * 8_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 2**20  # all channels together take 163 MB


def test_levels_of_blocks_are_those_of_the_whole() -> None:
    wave = np.concatenate([WAVE, np.ones(500, np.float32), -1.5 * np.ones(500, np.float32)])
    whole, blocks = Levels(), Levels()
    whole.add(wave, SAMPLE_RATE)
    for block in np.array_split(wave, 7):
        blocks.add(block, SAMPLE_RATE)
    assert whole == blocks
    assert (whole.duration, whole.peak, whole.clipped) == (17_000 / SAMPLE_RATE, 1.5, 1000 / 17_000)
    assert refusal(whole, DatasetConfig()) is None
    assert refusal(whole, DatasetConfig(maximum_seconds=1.0)) == "too long: 1.1 s is over dataset.maximum_seconds=1.0"
