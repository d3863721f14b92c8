"""eGeMAPS features: openSMILE's values, for every clip that the audio rules let through."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.egemaps import HIGHEST, NUMBER, SHORTEST, functionals, import_opensmile
from melt_ser.core.errors import SetupError

opensmile = pytest.importorskip("opensmile", reason="opensmile, of the extra acoustics, is not installed")


def buzz(hertz: float, seconds: float = 0.5) -> np.ndarray:
    """Return a voice-like sound: a fundamental and its harmonics."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    waves = [np.sin(2 * np.pi * hertz * number * time) / number for number in range(1, 9)]
    return (0.2 * sum(waves)).astype(np.float32)


def test_the_features_are_those_of_opensmile_in_its_order() -> None:
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    theirs = smile.process_signal(buzz(150), SAMPLE_RATE)
    [ours] = functionals([buzz(150)], threads=1)
    assert ours.tolist() == theirs.iloc[0].tolist() and len(ours) == NUMBER
    pitch = list(theirs).index("F0semitoneFrom27.5Hz_sma3nz_amean")
    assert ours[pitch] == pytest.approx(12 * np.log2(150 / 27.5), abs=0.2)


def test_the_features_of_a_clip_depend_on_it_alone() -> None:
    clips = [buzz(100 + 20 * number, 0.3 + 0.1 * number) for number in range(6)]
    together = functionals(clips, threads=3)
    assert np.array_equal(together, functionals(clips[::-1], threads=2)[::-1])
    assert np.array_equal(together, np.concatenate([functionals([clip], threads=1) for clip in clips]))


@pytest.mark.parametrize(
    "clip",
    [
        np.zeros(1, np.float32),
        np.zeros(SAMPLE_RATE, np.float32),
        np.full(SAMPLE_RATE, 0.5, np.float32),
        buzz(150)[: SHORTEST - 1],
        np.random.default_rng(0).normal(0, 0.1, 400).astype(np.float32),
        np.sign(buzz(150)),
        np.eye(1, 4000, 2000, dtype=np.float32)[0],
    ],
    ids=["one sample", "silence", "constant", "just too short", "short noise", "clipped", "click"],
)
def test_every_feature_of_a_strange_clip_is_a_number(clip: np.ndarray) -> None:
    assert np.isfinite(functionals([clip], threads=1)).all()


def test_a_short_clip_is_itself_and_silence() -> None:
    clip = buzz(200)[:500]
    padded = np.concatenate([clip, np.zeros(SHORTEST - 500, np.float32)])
    assert np.array_equal(functionals([clip], threads=1), functionals([padded], threads=1))


def test_a_sample_of_full_scale_does_not_wrap_around() -> None:
    """Resampling overshoots a loud recording, and openSMILE's 16 bits would turn 1.0 into -1.0."""
    loud = 8 * buzz(150)
    assert loud.max() > 1.0
    ours, cut = functionals([loud, loud.clip(-1.0, HIGHEST)], threads=1)
    assert np.array_equal(ours, cut)


def test_without_opensmile_a_sentence_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(SetupError, match=r"^This needs opensmile: pip install 'melt-ser\[acoustics\]'\.$"):
        import_opensmile("This")
