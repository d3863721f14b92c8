"""Folders of noise and impulse responses: a missing or empty one is told, and what cannot be used is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.sounds import read_sounds

KEY = "augment.noise_folder"


def write(path: Path, value: float = 0.1, samples: int = 800) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(samples, value), 16_000)


def test_a_folder_is_searched_and_its_digest_follows_the_samples(tmp_path: Path) -> None:
    write(tmp_path / "b.wav")
    write(tmp_path / "inner" / "a.flac", samples=1600)
    write(tmp_path / ".hidden.wav")
    (tmp_path / "licence.txt").write_text("free")
    sounds = read_sounds(KEY, str(tmp_path))
    assert sounds.names == ("b.wav", "inner/a.flac") and sounds.seconds == (0.05, 0.1)
    assert read_sounds(KEY, str(tmp_path)).digest == sounds.digest
    write(tmp_path / "b.wav", value=0.2)
    assert read_sounds(KEY, str(tmp_path)).digest != sounds.digest


def test_a_missing_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"augment\.noise_folder: there is no folder .*nowhere\."):
        read_sounds(KEY, str(tmp_path / "nowhere"))
    (tmp_path / "notes.txt").write_text("no audio")
    with pytest.raises(SetupError, match=r"augment\.noise_folder: the folder .* has no audio files"):
        read_sounds(KEY, str(tmp_path))


def test_recordings_that_cannot_be_used_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "silent.wav", value=0.0)
    (tmp_path / "text.wav").write_text("this is text")
    with pytest.raises(InputError, match=r"2 of 2 recordings in .* cannot be used; the first: silent\.wav \(silent"):
        read_sounds(KEY, str(tmp_path))
    write(tmp_path / "good.wav")
    assert read_sounds(KEY, str(tmp_path)).names == ("good.wav",)
    assert "note: augment.noise_folder: 2 of 3 recordings in" in capsys.readouterr().err
