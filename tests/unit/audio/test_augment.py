"""Each augmentation does what it says to real speech, keeps the length, and is drawn from its generator alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import melt_ser
from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.augment import Augmentation
from melt_ser.audio.decode import read_audio
from melt_ser.audio.effects import ENCODERS, band_limited, in_room, pitch_shifted, power, through_codec
from melt_ser.audio.resample import resample
from melt_ser.audio.sounds import Sounds
from melt_ser.config import AugmentConfig, Codec
from melt_ser.core.errors import SetupError
from melt_ser.corpora.sounds import read_sounds


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    folder = Path(melt_ser.__file__).with_name("demo") / "en" / "audio"
    return read_audio(sorted(folder.iterdir())[0])


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


def peak_hertz(waveform: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * SAMPLE_RATE / len(waveform))


def decibels(waveform: np.ndarray, lowest: float, highest: float) -> float:
    spectrum = np.abs(np.fft.rfft(waveform)) ** 2
    hertz = np.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE)
    return float(10 * np.log10(spectrum[(hertz >= lowest) & (hertz < highest)].sum()))


@pytest.fixture
def sounds(tmp_path: Path) -> Callable[..., Sounds]:
    """Write recordings to a folder of their own and read it."""

    def write(kind: str, *waveforms: np.ndarray, rate: int = SAMPLE_RATE) -> Sounds:
        folder = tmp_path / kind / "inner"
        folder.mkdir(parents=True)
        for number, waveform in enumerate(waveforms):
            soundfile.write(folder / f"{number}.wav", waveform, rate, subtype="FLOAT")
        return read_sounds(f"augment.{kind}_folder", str(tmp_path / kind))

    return write


@pytest.mark.parametrize("ratio", [-5.0, 0.0, 10.0, 30.0])
@pytest.mark.parametrize("seconds", [0.4, 30.0])
def test_noise_of_a_folder_has_the_signal_to_noise_ratio(
    ratio: float, seconds: float, speech: np.ndarray, sounds: Callable[..., Sounds]
) -> None:
    generator = np.random.default_rng(0)
    hum = sounds("noise", 0.02 * generator.standard_normal(round(seconds * 22_050)), rate=22_050)
    config = AugmentConfig(noise_probability=1.0, noise_snr_decibels=[ratio, ratio], noise_folder="noise")
    noisy = Augmentation(config, noise=hum)(speech, generator)
    assert noisy.shape == speech.shape and noisy.dtype == np.float32
    assert 10 * np.log10(power(speech) / power(noisy - speech)) == pytest.approx(ratio, abs=0.01)


def test_noise_is_drawn_from_all_files_and_places(speech: np.ndarray, sounds: Callable[..., Sounds]) -> None:
    ramp = np.linspace(0.1, 0.9, 10 * SAMPLE_RATE, dtype=np.float32)
    noise = sounds("noise", ramp, -ramp)
    parts = [noise.draw_part(np.random.default_rng(seed), 1000) for seed in range(40)]
    assert {float(np.sign(part[0])) for part in parts} == {-1.0, 1.0}
    assert np.ptp([abs(part[0]) for part in parts]) > 0.6
    assert all(len(part) == 1000 for part in parts)


def test_silence_adds_nothing(speech: np.ndarray, sounds: Callable[..., Sounds]) -> None:
    pause = np.zeros(20 * SAMPLE_RATE, dtype=np.float32)
    pause[-1] = 0.5
    noise = sounds("noise", pause)
    config = AugmentConfig(noise_probability=1.0, noise_folder="noise")
    np.testing.assert_array_equal(Augmentation(config, noise)(speech, np.random.default_rng(1)), speech)


def test_white_noise_has_the_numbers_that_it_always_had() -> None:
    wave = tone(300)
    config = AugmentConfig(gain_decibels=6.0, noise_probability=0.5, speed_factors=[0.9, 1.0, 1.1])
    for seed in range(20):
        generator = np.random.default_rng(seed)  # as in the first version, line by line
        expected = resample(wave, round(SAMPLE_RATE * [0.9, 1.0, 1.1][int(generator.integers(3))]), SAMPLE_RATE)
        expected = expected * np.float32(10 ** (generator.uniform(-6.0, 6.0) / 20))
        if generator.random() < 0.5:
            ratio = 10 ** (generator.uniform(10.0, 30.0) / 10)
            noise = generator.standard_normal(len(expected)).astype(np.float32)
            expected = expected + noise * np.float32(np.sqrt(power(expected) / ratio))
        np.testing.assert_array_equal(Augmentation(config)(wave, np.random.default_rng(seed)), expected)


def test_a_room_echoes_without_moving_the_speech(speech: np.ndarray) -> None:
    response = np.zeros(SAMPLE_RATE, dtype=np.float32)
    response[[800, 4800]] = 0.5, 0.25  # the direct sound after 50 ms, and an echo a quarter of a second later
    heard = in_room(speech, response)
    assert heard.shape == speech.shape and power(heard) == pytest.approx(power(speech), rel=1e-5)
    expected = speech.copy()
    expected[4000:] += 0.5 * speech[:-4000]
    np.testing.assert_allclose(heard / np.sqrt(power(heard)), expected / np.sqrt(power(expected)), atol=1e-4)


def test_rooms_are_drawn_from_the_folder(speech: np.ndarray, sounds: Callable[..., Sounds]) -> None:
    generator = np.random.default_rng(0)
    decay = np.exp(-np.arange(800) / 200)
    rooms = sounds("room", *(decay * generator.standard_normal(800) for _ in range(3)))
    augmentation = Augmentation(AugmentConfig(room_probability=1.0, room_folder="room"), rooms=rooms)
    heard = {augmentation(speech, np.random.default_rng(seed)).tobytes() for seed in range(20)}
    assert len(heard) == 3


def test_a_telephone_keeps_its_band(speech: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    noise = generator.standard_normal(4 * SAMPLE_RATE).astype(np.float32)
    limited = band_limited(noise, 300.0, 3400.0)
    assert limited.shape == noise.shape and limited.dtype == np.float32
    assert decibels(limited, 500, 3000) == pytest.approx(decibels(noise, 500, 3000), abs=0.5)
    assert decibels(limited, 0, 100) < decibels(noise, 0, 100) - 30
    assert decibels(limited, 6000, 8000) < decibels(noise, 6000, 8000) - 20


@pytest.mark.parametrize("codec", list(ENCODERS))
def test_a_codec_keeps_speech_in_its_place_and_loses_some_of_it(codec: Codec, speech: np.ndarray) -> None:
    coded = through_codec(speech, codec, 24.0)
    assert coded.shape == speech.shape and coded.dtype == np.float32
    assert np.corrcoef(coded[80:], speech[:-80])[0, 1] > 0.5 or np.corrcoef(coded, speech)[0, 1] > 0.8
    assert np.abs(coded - speech).max() > 1e-3
    if ENCODERS[codec][2] == 8_000:
        assert decibels(coded, 4500, 8000) < decibels(speech, 4500, 8000) - 10


def test_a_codec_that_cannot_be_encoded_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    Augmentation(AugmentConfig(codec_probability=0.5, codecs=list(Codec)))
    monkeypatch.setitem(ENCODERS, Codec.amr, ("amr", "libnothing", 8_000))
    Augmentation(AugmentConfig(codec_probability=0.5))
    with pytest.raises(SetupError, match="The installed PyAV cannot encode amr; leave it out of augment.codecs"):
        Augmentation(AugmentConfig(codec_probability=0.5, codecs=list(Codec)))


def test_a_lower_bit_rate_loses_more(speech: np.ndarray) -> None:
    for codec in (Codec.mp3, Codec.opus):
        losses = [power(through_codec(speech, codec, kilobits) - speech) for kilobits in (8.0, 64.0)]
        assert losses[0] > 2 * losses[1]


def test_a_codec_clips_no_loud_waveform() -> None:
    loud = 4 * tone(440.0)  # a peak of 1.2
    assert np.abs(through_codec(loud, Codec.g711, 64.0)[2000:-2000]).max() == pytest.approx(1.2, rel=0.05)


@pytest.mark.parametrize("semitones", [-12.0, -2.0, -0.3, 0.0, 1.5, 12.0])
def test_pitch_is_shifted_and_the_length_stays(semitones: float, speech: np.ndarray) -> None:
    wave = tone(440.0, 1.3)
    shifted = pitch_shifted(wave, semitones)
    assert shifted.shape == wave.shape and shifted.dtype == np.float32
    assert peak_hertz(shifted) == pytest.approx(440.0 * 2 ** (semitones / 12), rel=0.004)
    assert power(shifted[-1600:]) > 0.5 * power(wave[-1600:])  # the end is there too
    if semitones < 12:  # an octave up moves what was above 4 kHz out of the band
        assert power(pitch_shifted(speech, semitones)) == pytest.approx(power(speech), rel=0.3)


EVERYTHING = AugmentConfig(
    speed_factors=[0.9, 1.1],
    gain_decibels=6.0,
    noise_probability=0.5,
    noise_folder="noise",
    pitch_probability=0.5,
    room_probability=0.5,
    room_folder="room",
    band_limit_probability=0.5,
    codec_probability=0.5,
    codecs=list(Codec),
)


def test_all_at_once_are_a_function_of_the_generator(speech: np.ndarray, sounds: Callable[..., Sounds]) -> None:
    generator = np.random.default_rng(0)
    noise = sounds("noise", 0.1 * generator.standard_normal(50_000))
    rooms = sounds("room", np.exp(-np.arange(800) / 200) * generator.standard_normal(800))
    augmentation = Augmentation(EVERYTHING, noise, rooms)
    first = [augmentation(speech, np.random.default_rng([0, 1, row])) for row in range(12)]
    again = [augmentation(speech, np.random.default_rng([0, 1, row])) for row in reversed(range(12))]
    for one, other in zip(first, reversed(again), strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.isfinite(one).all() and one.dtype == np.float32
    assert len({wave.tobytes() for wave in first}) == 12


@pytest.mark.parametrize("name", ["noise", "pitch", "room", "band_limit", "codec", "mixup"])
def test_a_change_with_a_probability_changes_something(name: str) -> None:
    assert Augmentation(AugmentConfig()).changes_nothing
    assert not Augmentation(AugmentConfig(**{f"{name}_probability": 0.1})).changes_nothing
