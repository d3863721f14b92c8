"""Decoding gives 16 kHz mono from every format, and one sentence with the file's name for every bad file."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from make_audio import encode, overwrite, sine
from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.augment import Augmentation
from melt_ser.audio.decode import read_audio, read_native
from melt_ser.audio.decoders import BLOCK
from melt_ser.audio.resample import resample
from melt_ser.audio.verify import verify_clip
from melt_ser.cli.checks import check_augment
from melt_ser.config import AugmentConfig
from melt_ser.core.errors import InputError, SetupError


@pytest.mark.parametrize(
    ("name", "subtype", "rate", "channels"),
    [
        ("a.wav", "PCM_U8", 8_000, 1),
        ("a.wav", "PCM_16", 44_100, 2),
        ("a.wav", "PCM_24", 96_000, 1),
        ("a.wav", "FLOAT", 24_414, 6),
        ("a.flac", "PCM_16", 22_050, 1),
        ("a.ogg", "VORBIS", 16_000, 1),
        ("a.ogg", "OPUS", 48_000, 1),
        ("a.mp3", "MPEG_LAYER_III", 16_000, 2),
    ],
)
def test_decode_reads_the_formats_of_soundfile(
    name: str, subtype: str, rate: int, channels: int, tmp_path: Path
) -> None:
    wave = sine(rate)
    soundfile.write(tmp_path / name, np.repeat(wave[:, None], channels, 1), rate, subtype=subtype)
    decoded = read_audio(tmp_path / name)
    assert decoded.dtype == np.float32
    assert decoded.ndim == 1
    assert len(decoded) == pytest.approx(SAMPLE_RATE / 2, abs=1200 if name == "a.mp3" else 1)
    assert np.sqrt(np.mean(decoded**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.12)


def test_decode_joins_the_blocks_and_cuts_the_segments_of_an_mp3_without_wrong_samples(tmp_path: Path) -> None:
    """At a low bit rate, a frame needs the bytes of those before it, which are not there behind a seek."""
    rate, random = 44_100, np.random.default_rng(0)
    loudness = np.repeat(random.random(300) ** 3, rate // 10)
    wave = (loudness * random.uniform(-0.5, 0.5, len(loudness))).astype(np.float32)
    path = tmp_path / "a.mp3"
    soundfile.write(path, wave, rate, compression_level=0.99, bitrate_mode="VARIABLE")
    whole, _ = soundfile.read(path, dtype="float32")
    assert len(whole) > BLOCK
    np.testing.assert_allclose(read_native(path)[0], whole, atol=1e-5)
    for start, end in [(0.5, 1.0), (3.21, 4.0), (7.0, 29.5), (28.11, 28.5)]:
        segment = whole[round(start * rate) : round(end * rate)]
        np.testing.assert_allclose(read_native(path, start, end)[0], segment, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.m4a", "aac"), ("a.mp4", "aac"), ("a.webm", "libopus"), ("a.mkv", "flac")]
)
def test_decode_reads_the_formats_of_ffmpeg(name: str, codec: str, tmp_path: Path) -> None:
    decoded = read_audio(encode(tmp_path / name, codec))
    assert len(decoded) == pytest.approx(SAMPLE_RATE / 2, rel=0.15)
    assert np.sqrt(np.mean(decoded[1600:6400] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def test_decode_reads_a_compressed_file_under_a_wrong_suffix(tmp_path: Path) -> None:
    encode(tmp_path / "a.m4a", "aac").rename(tmp_path / "a.wav")
    assert len(read_audio(tmp_path / "a.wav")) > 7000


@settings(max_examples=40)
@given(st.floats(0, 0.9), st.floats(0.01, 1.0))
def test_a_decoded_segment_is_a_slice_of_the_whole_recording(start: float, length: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ramp.wav"
        ramp = np.arange(8000, dtype=np.float32) / 8000
        soundfile.write(path, ramp, 8000, subtype="FLOAT")
        end = min(start + length, 1.0)
        part, rate = read_native(path, start, end)
        assert rate == 8000
        np.testing.assert_array_equal(part, ramp[round(start * 8000) : round(end * 8000)])


@given(st.integers(1, 3000), st.sampled_from([8000, 11025, 22050, 24414, 44100, 48000]))
@settings(max_examples=40)
def test_resampling_gives_the_exact_length(samples: int, rate: int) -> None:
    assert len(resample(np.ones(samples, np.float32), rate, SAMPLE_RATE)) == -(-samples * SAMPLE_RATE // rate)


def test_resampling_keeps_low_frequencies_and_removes_those_above_its_limit() -> None:
    kept = resample(sine(44_100, 1.0, 1000.0), 44_100, SAMPLE_RATE)[1000:-1000]
    assert np.abs(kept).max() == pytest.approx(0.5, rel=0.01)
    gone = resample(sine(44_100, 1.0, 10_000.0), 44_100, SAMPLE_RATE)[1000:-1000]
    assert np.abs(gone).max() < 0.5e-2


def bad_files(folder: Path) -> dict[str, str]:
    """Write bad files; return their names with a part of the expected sentence."""
    folder.mkdir(exist_ok=True)
    (folder / "zero.wav").write_bytes(b"")
    (folder / "text.wav").write_text("this is no sound\n" * 10)
    (folder / "pointer.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    soundfile.write(folder / "header.wav", np.zeros(0, np.float32), 16000)
    soundfile.write(folder / "nan.wav", np.array([0.1, np.nan, 0.1], np.float32), 16000, subtype="FLOAT")
    soundfile.write(folder / "inf.wav", np.array([0.1, np.inf, 0.1], np.float32), 16000, subtype="FLOAT")
    encode(folder / "mute.mp4", "mpeg4", sound=False)
    soundfile.write(folder / "codec.wav", sine(16_000), 16_000)
    overwrite(folder / "codec.wav", 20, b"\x34\x12")  # an unknown format tag
    (folder / "folder.wav").mkdir(exist_ok=True)
    return {
        "zero.wav": "zero bytes",
        "text.wav": "cannot be decoded",
        "pointer.wav": "git lfs pull",
        "header.wav": "there are no samples",
        "nan.wav": "NaN or infinite",
        "inf.wav": "NaN or infinite",
        "mute.mp4": "has no audio stream",
        "codec.wav": "a codec that FFmpeg does not know",
        "folder.wav": "is a folder",
        "missing.wav": "there is no such file",
    }


def test_decode_refuses_a_bad_file_in_one_sentence_and_verification_gives_the_reason(tmp_path: Path) -> None:
    for name, sentence in bad_files(tmp_path).items():
        with pytest.raises(InputError) as caught:
            read_audio(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)
        reason = verify_clip(tmp_path, name).reason
        assert reason is not None
        assert reason.startswith("unreadable: ")


CUT_OFF = ["a.wav", "a.aiff", "a.au", "a.flac", "a.ogg", "a.mp3", "a.m4a", "a.webm", "a.mka"]


@pytest.mark.parametrize("name", CUT_OFF)
def test_decode_refuses_a_file_that_is_cut_off(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if path.suffix in {".m4a", ".webm", ".mka"}:
        encode(path, {".m4a": "aac", ".webm": "libopus", ".mka": "flac"}[path.suffix])
    else:
        soundfile.write(path, sine(16_000, seconds=2.0), 16_000)
    read_audio(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="is cut off|cannot be decoded"):
        read_audio(path)


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0xFFFFFFFF])
def test_decode_reads_a_wav_without_a_length_as_a_pipe_writes_it(size: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(16_000), 16_000)
    overwrite(tmp_path / "a.wav", (tmp_path / "a.wav").read_bytes().index(b"data") + 4, size.to_bytes(4, "little"))
    assert len(read_audio(tmp_path / "a.wav")) == 8000


def test_decode_accepts_a_data_size_that_includes_the_header(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(16_000), 16_000)
    overwrite(tmp_path / "a.wav", (tmp_path / "a.wav").read_bytes().index(b"data") + 4, (16_044).to_bytes(4, "little"))
    assert len(read_audio(tmp_path / "a.wav")) == 8000


def test_decode_reads_more_than_eight_channels_and_tags_that_are_not_utf8(tmp_path: Path) -> None:
    """A 10-channel wav with a Latin-1 title, under a name that only FFmpeg reads."""
    title = b"INFOINAM\x06\0\0\0Gl\xfcck\0"
    soundfile.write(tmp_path / "a.wav", np.repeat(sine(16_000)[:, None], 10, 1), 16_000, format="WAV")
    content = bytearray((tmp_path / "a.wav").read_bytes() + b"LIST" + len(title).to_bytes(4, "little") + title)
    content[4:8] = (len(content) - 8).to_bytes(4, "little")
    (tmp_path / "a.amr").write_bytes(content)
    np.testing.assert_allclose(read_audio(tmp_path / "a.amr"), sine(16_000), atol=1e-4)


@settings(max_examples=60)
@given(st.data())
def test_verify_clip_never_raises_on_a_damaged_file(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / data.draw(st.sampled_from(["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"]))
        soundfile.write(path, sine(16_000, seconds=0.2), 16_000)
        for position in data.draw(st.lists(st.integers(0, 200), min_size=1, max_size=5)):
            overwrite(path, position, bytes([data.draw(st.integers(0, 255))]))
        verified = verify_clip(Path(folder), path.name)
        assert verified.reason is None or "\n" not in verified.reason


@pytest.mark.parametrize("audio", ["a\0.wav", "a" * 300 + ".wav", "loop.wav"])
def test_verify_clip_never_raises_on_a_bad_path(audio: str, tmp_path: Path) -> None:
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    assert str(verify_clip(tmp_path, audio).reason).startswith("unreadable")


@pytest.mark.parametrize(("start", "end"), [(-0.1, 0.2), (float("nan"), 0.2), (0.1, float("nan")), (0.0, 2500.0)])
def test_both_decoders_refuse_an_impossible_segment(start: float, end: float, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(16_000), 16_000)
    for path in (tmp_path / "a.wav", encode(tmp_path / "a.m4a", "aac")):
        with pytest.raises(InputError, match="segment"):
            read_audio(path, start, end)


def test_a_segment_may_end_shortly_after_the_recording(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(16_000), 16_000)
    assert len(read_audio(tmp_path / "a.wav", 0.25, 0.55)) == 4000


def test_decode_refuses_segments_outside_the_recording(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(16_000), 16_000)
    with pytest.raises(InputError, match=r"no samples from 2\.0 s on"):
        read_audio(tmp_path / "a.wav", 2.0, 3.0)
    with pytest.raises(InputError, match="is empty or runs backwards"):
        read_audio(tmp_path / "a.wav", 0.3, 0.2)


def test_verify_clip_measures_duration_rate_and_peak(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "good.wav", sine(22_050), 22_050)
    good = verify_clip(tmp_path, "good.wav")
    assert (good.duration, good.sample_rate, good.reason) == (0.5, 22_050, None)
    assert good.peak == pytest.approx(np.abs(sine(22_050)).max(), abs=1e-4)
    assert good.clipped == 0.0


def test_verify_clip_counts_the_samples_at_full_scale(tmp_path: Path) -> None:
    wave = np.full(1000, 0.5, np.float32)
    wave[:20], wave[20:50] = 1.0, -1.0
    soundfile.write(tmp_path / "loud.wav", wave, 16_000)
    assert verify_clip(tmp_path, "loud.wav").clipped == 0.05
    assert verify_clip(tmp_path, "loud.wav").peak == 1.0


def test_verify_clip_gives_the_same_hash_in_every_lossless_format(tmp_path: Path) -> None:
    samples = (sine(16_000) * 32_767).astype(np.int16)  # the encoders round floats differently
    for name in ("a.wav", "b.flac"):
        soundfile.write(tmp_path / name, samples, 16_000)
    soundfile.write(tmp_path / "c.wav", samples // 2, 16_000)
    first, copy, other = (verify_clip(tmp_path, name).content_hash for name in ("a.wav", "b.flac", "c.wav"))
    assert first == copy != other


@pytest.mark.parametrize("audio", ["link.wav", "../good.wav", "linked/good.wav", "sub/../../good.wav"])
def test_verify_clip_stays_within_the_root(audio: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "good.wav", sine(16_000), 16_000)
    inside = tmp_path / "corpus"
    (inside / "sub").mkdir(parents=True)
    (inside / "link.wav").symlink_to(tmp_path / "good.wav")
    (inside / "linked").symlink_to(tmp_path)
    assert str(verify_clip(inside, audio).reason).startswith("outside the root")


def test_augmentation_draws_from_its_generator_and_is_off_by_default() -> None:
    wave = sine(16_000)
    unchanged = Augmentation(AugmentConfig())(wave, np.random.default_rng(0))
    np.testing.assert_array_equal(unchanged, wave)
    light = Augmentation(AugmentConfig(gain_decibels=6, noise_probability=1, speed_factors=[0.9, 1.1]))
    first, again = (light(wave, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, light(wave, np.random.default_rng(2)))
    assert len(first) in {-(-len(wave) * 10 // 9), -(-len(wave) * 10 // 11)}
    noisy = Augmentation(AugmentConfig(noise_probability=1, noise_snr_decibels=[20.0, 20.0]))
    noise = noisy(wave, np.random.default_rng(0)) - wave
    assert 10 * np.log10(np.mean(wave**2) / np.mean(noise**2)) == pytest.approx(20, abs=0.5)


def test_decode_reads_real_clips_at_their_length(shared_data: Path) -> None:
    assert len(read_audio(shared_data / "emodb" / "wav" / "03a01Fa.wav")) == 32_000
    clip = sorted((shared_data / "urdu" / "Angry").glob("*.wav"))[0]
    info = soundfile.info(clip)
    assert len(read_audio(clip)) == -(-info.frames * SAMPLE_RATE // info.samplerate)


def test_augmentation_settings_are_checked() -> None:
    check_augment(AugmentConfig())
    for wrong in (
        AugmentConfig(noise_probability=1.5),
        AugmentConfig(gain_decibels=-1),
        AugmentConfig(noise_snr_decibels=[10]),
        AugmentConfig(noise_snr_decibels=[30, 10]),
        AugmentConfig(speed_factors=[]),
        AugmentConfig(speed_factors=[1.0, 0.0]),
    ):
        with pytest.raises(SetupError, match=r"augment\."):
            check_augment(wrong)


def test_resampling_without_torchaudio_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio.transforms", None)
    with pytest.raises(SetupError, match="install a matching pair"):
        resample(sine(11_999), 11_999, SAMPLE_RATE)


@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.wav", "a"])
def test_a_file_that_names_another_does_not_lead_to_it(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / "other.wav", sine(16_000), 16_000)
    for text in ("ffconcat version 1.0\nfile other.wav\n", f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path}/other.wav\n"):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="cannot be decoded"):
            read_audio(tmp_path / name)
