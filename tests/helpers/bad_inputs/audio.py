"""Bad clips: each is added to a good corpus, and is dropped with its reason. Good but unusual clips are used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from bad_inputs import Expected, kind
from bad_inputs.corpora import GOOD_CLIPS, add_row, corpus_of, used
from make_audio import encode, overwrite, sine

Write = Callable[[Path], None]
BAD: dict[str, tuple[str, str, Write]] = {}  # kind: name of the clip, reason for dropping it, function that writes it
GOOD: dict[str, tuple[str, Write]] = {}  # kind: name of the clip, function that writes it


def bad(name: str, reason: str) -> Callable[[Write], Write]:
    def register(write: Write) -> Write:
        BAD[write.__name__] = name, reason, write
        make = _dropped(name, reason, write)
        make.__name__ = write.__name__
        kind(make)
        return write

    return register


def good(name: str) -> Callable[[Write], Write]:
    def register(write: Write) -> Write:
        GOOD[write.__name__] = name, write
        make = _used(name, write)
        make.__name__ = write.__name__
        kind(make)
        return write

    return register


def _dropped(name: str, reason: str, write: Write) -> Callable[[Path], Expected]:
    def make(folder: Path) -> Expected:
        root = corpus_of(folder)
        write(root / name)
        add_row(root, audio=name, label="sad", speaker="s0")
        return used(root, 1, GOOD_CLIPS, reason)

    return make


def _used(name: str, write: Write) -> Callable[[Path], Expected]:
    def make(folder: Path) -> Expected:
        root = corpus_of(folder)
        write(root / name)
        add_row(root, audio=name, label="sad", speaker="s0")
        return used(root, 0, GOOD_CLIPS + 1)

    return make


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@bad("zero.wav", "unreadable: the file is empty (zero bytes)")
def zero_bytes(path: Path) -> None:
    path.write_bytes(b"")


@bad("header.wav", "there are no samples")
def header_only(path: Path) -> None:
    soundfile.write(path, np.zeros(0, np.float32), 16_000)


@bad("cut.wav", "is cut off")
def truncated_wav(path: Path) -> None:
    soundfile.write(path, sine(16_000, 1.0), 16_000)
    halve(path)


@bad("cut.flac", "unreadable")
def truncated_flac(path: Path) -> None:
    soundfile.write(path, sine(16_000, 1.0), 16_000)
    halve(path)


@bad("cut.ogg", "unreadable")
def truncated_ogg(path: Path) -> None:
    soundfile.write(path, sine(16_000, 2.0), 16_000)
    halve(path)


@bad("cut.mp3", "is cut off")
def truncated_mp3(path: Path) -> None:
    soundfile.write(path, sine(16_000, 2.0), 16_000)
    halve(path)


@bad("cut.mp4", "is cut off")
def truncated_mp4(path: Path) -> None:
    halve(encode(path, "aac"))


@bad("text.wav", "cannot be decoded")
def text_named_wav(path: Path) -> None:
    path.write_text("this is no sound\n" * 10)


@bad("pointer.wav", "git lfs pull")
def git_lfs_pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


@bad("nan.wav", "some samples are NaN or infinite")
def nan_samples(path: Path) -> None:
    soundfile.write(path, np.array([0.1, np.nan] * 4000, np.float32), 16_000, subtype="FLOAT")


@bad("inf.wav", "some samples are NaN or infinite")
def infinite_samples(path: Path) -> None:
    soundfile.write(path, np.array([0.1, np.inf] * 4000, np.float32), 16_000, subtype="FLOAT")


@bad("silent.wav", "silent: no sample above -80 dBFS")
def silence(path: Path) -> None:
    soundfile.write(path, np.zeros(8000, np.float32), 16_000)


@bad("cancel.wav", "channels cancel: the channels cancel each other (their mean loses ")
def channels_of_opposite_phase(path: Path) -> None:
    soundfile.write(path, np.stack([sine(16_000), -sine(16_000)], axis=1), 16_000)


@bad("integers.wav", "integer scale: the samples reach 16,384, but full scale is 1; divide them by 32768")
def floats_on_the_scale_of_integers(path: Path) -> None:
    soundfile.write(path, 32_768 * sine(16_000), 16_000, subtype="FLOAT")


@bad("long.ogg", "is cut off (its last page is not whole)")
def truncated_ogg_of_several_pages(path: Path) -> None:
    soundfile.write(path, np.tile(sine(16_000, 2.0), 5), 16_000)
    halve(path)


@bad("rates.wav", "holds recordings of 16000 and 44100 Hz one after the other")
def joined_recordings_of_two_rates(path: Path) -> None:
    for rate in (16_000, 44_100):
        soundfile.write(path.parent / f"{rate}.wav", sine(rate), rate)
    path.write_bytes(b"".join((path.parent / f"{rate}.wav").read_bytes() for rate in (16_000, 44_100)))


@bad("one.wav", "too short: 0.000 s is under dataset.minimum_seconds=0.1")
def one_sample(path: Path) -> None:
    soundfile.write(path, np.array([0.5], np.float32), 16_000)


@bad("one_hertz.wav", "a sampling rate of 1 Hz cannot be right")
def a_header_of_one_hertz(path: Path) -> None:
    """Resampled, these 100 kB would be 3 GB."""
    soundfile.write(path, sine(16_000, 3.0), 1)


@bad("hour.flac", "too long: lasts 3600.0 s or more, over dataset.maximum_seconds=60.0")
def an_hour_long(path: Path) -> None:
    soundfile.write(path, np.tile(sine(8_000, 1.0), 3600), 8_000, subtype="PCM_S8")


@bad("mute.mp4", "has no audio stream")
def mp4_without_sound(path: Path) -> None:
    encode(path, "mpeg4", sound=False)


@bad("missing.wav", "no audio file")
def a_file_that_is_not_there(path: Path) -> None:
    pass


@bad("folder.wav", "no audio file")
def a_folder_named_wav(path: Path) -> None:
    path.mkdir()


@bad("pipe.wav", "no audio file")
def a_pipe_named_wav(path: Path) -> None:
    """Opening it would wait for ever."""
    os.mkfifo(path)


@bad("device.wav", "no audio file")
def a_device_named_wav(path: Path) -> None:
    """Reading it would never end."""
    path.symlink_to("/dev/zero")


@bad("loop.wav", "no audio file")
def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


@bad("link.wav", "outside the root: the path or its link leaves the corpus folder")
def a_link_out_of_the_root(path: Path) -> None:
    soundfile.write(path.parent.parent / "outside.wav", sine(16_000), 16_000)
    path.symlink_to(path.parent.parent / "outside.wav")


@bad("door/outside.wav", "outside the root: the path or its link leaves the corpus folder")
def a_linked_folder_out_of_the_root(path: Path) -> None:
    elsewhere = path.parents[2] / "elsewhere"
    elsewhere.mkdir()
    soundfile.write(elsewhere / path.name, sine(16_000), 16_000)
    path.parent.symlink_to(elsewhere)


@bad("n" * 300 + ".wav", "no audio file")
def a_name_longer_than_any_file(path: Path) -> None:
    pass


@good("twice.flac")
def joined_recordings(path: Path) -> None:
    soundfile.write(path, sine(16_000), 16_000)
    path.write_bytes(2 * path.read_bytes())


@good("placeholder.wav")
def a_placeholder_for_the_length(path: Path) -> None:
    soundfile.write(path, sine(16_000), 16_000)
    overwrite(path, 40, (10**9).to_bytes(4, "little"))


@good("zero.au")
def a_length_of_zero_before_samples(path: Path) -> None:
    soundfile.write(path, sine(16_000), 16_000)
    overwrite(path, 8, bytes(4))


@good("eight.wav")
def eight_bit(path: Path) -> None:
    soundfile.write(path, sine(16_000), 16_000, subtype="PCM_U8")


@good("deep.wav")
def twenty_four_bit(path: Path) -> None:
    soundfile.write(path, sine(16_000), 16_000, subtype="PCM_24")


@good("fast.wav")
def ninety_six_kilohertz(path: Path) -> None:
    soundfile.write(path, sine(96_000), 96_000)


@good("surround.wav")
def six_channels(path: Path) -> None:
    soundfile.write(path, np.repeat(sine(48_000)[:, None], 6, axis=1), 48_000)


@good("Grüße 你好 😀 [red] $x$.wav")
def a_name_in_unicode(path: Path) -> None:
    soundfile.write(path, sine(16_000), 16_000)


@good("n" * 200 + ".wav")
def a_very_long_name(path: Path) -> None:
    soundfile.write(path, sine(16_000), 16_000)


@good("two\nlines.wav")
def a_line_end_in_a_name(path: Path) -> None:
    soundfile.write(path, sine(16_000), 16_000)
