"""The demo corpora that ship inside the package: small, whole, balanced and declared synthetic."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from checkout import CHECKOUT
from melt_ser.corpora.table import COLUMNS

DEMO = Path(str(files("melt_ser"))) / "demo"
SCRIPT = CHECKOUT / "scripts" / "render_demo.py"
LABELS = {
    "en": {"angry", "happy", "neutral", "sad", "fearful"},
    "de": {"wütend", "fröhlich", "neutral", "traurig", "ängstlich"},
}
SPLITS = {"en": {"train": 200, "dev": 40, "test": 80}, "de": {"train": 50, "dev": 25, "test": 25}}
SENTENCES = {"en": 8, "de": 5}
LANGUAGES = sorted(LABELS)


def read_table(language: str) -> pd.DataFrame:
    return pd.read_csv(DEMO / language / "table.csv", keep_default_na=False)


@pytest.mark.parametrize("language", LANGUAGES)
def test_table_has_the_columns_of_a_corpus_table(language: str) -> None:
    table = read_table(language)
    assert tuple(table.columns) == COLUMNS
    assert table["utterance"].is_unique
    assert (table["source"] == f"demo/{language}/" + table["utterance"]).all()
    assert set(table["language"]) == {language}
    assert (table[["start", "end", "session"]] == "").all().all()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_voice_says_every_sentence_in_every_emotion_once(language: str) -> None:
    """So labels are balanced, and neither the text nor the speaker gives the label away."""
    table = read_table(language)
    assert set(table["label"]) == LABELS[language]
    assert table["text"].nunique() == SENTENCES[language]
    once = table.groupby(["speaker", "text", "label"]).size()
    assert (once == 1).all()
    assert len(once) == table["speaker"].nunique() * SENTENCES[language] * len(LABELS[language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_splits_hold_different_speakers(language: str) -> None:
    table = read_table(language)
    assert table["split"].value_counts().to_dict() == SPLITS[language]
    assert (table.groupby("speaker")["split"].nunique() == 1).all()
    assert (table.groupby("speaker")["gender"].nunique() == 1).all()
    assert set(table["gender"]) == {"female", "male"}


def test_english_is_tested_on_both_genders() -> None:
    table = read_table("en")
    voices = table.drop_duplicates("speaker").groupby("split")["gender"].agg(sorted).to_dict()
    assert voices == {"train": ["female"] * 3 + ["male"] * 2, "dev": ["male"], "test": ["female", "male"]}


def median_pitch(audio: np.ndarray[Any, Any]) -> float:
    """Median over loud 50 ms frames of the autocorrelation's best pitch between 70 and 400 Hz."""
    frames = audio[: len(audio) // 800 * 800].reshape(-1, 800) * np.hanning(800)
    loud = frames[(frames**2).mean(axis=1) > (frames**2).mean()]
    correlation = np.fft.irfft(np.abs(np.fft.rfft(loud, 2048)) ** 2)
    return float(np.median(16_000 / (40 + correlation[:, 40:229].argmax(axis=1))))


@pytest.mark.parametrize("language", LANGUAGES)
def test_female_voices_sound_higher_than_male_ones(language: str) -> None:
    """espeak-ng falls back to its default male voice in silence where it ignores a variant."""
    table = read_table(language).query("label == 'neutral'")
    for (speaker, gender), clips in table.groupby(["speaker", "gender"]):
        pitches = [median_pitch(soundfile.read(DEMO / language / name)[0]) for name in clips["audio"]]
        assert (np.median(pitches) > 150) == (gender == "female"), speaker


def test_the_languages_share_no_speaker() -> None:
    assert not set(read_table("en")["speaker"]) & set(read_table("de")["speaker"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_file_decodes_to_its_duration(language: str) -> None:
    table = read_table(language)
    for row in table.itertuples():
        audio, rate = soundfile.read(DEMO / language / str(row.audio), always_2d=True)
        assert rate == 16_000 and audio.shape[1] == 1, row.audio
        assert len(audio) / rate == pytest.approx(float(str(row.duration)), abs=0.02), row.audio
        assert 0.8 < len(audio) / rate < 3.0, row.audio
        assert 0.005 < float((audio**2).mean() ** 0.5) < 0.3, f"{row.audio} is silent or overdriven"
        assert abs(audio).max() < 1.2, row.audio


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_folder_holds_what_the_table_lists_and_nothing_else(language: str) -> None:
    present = {path.relative_to(DEMO / language).as_posix() for path in (DEMO / language).rglob("*.*")}
    assert present == set(read_table(language)["audio"]) | {"table.csv", "README.md"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_readme_declares_it_synthetic(language: str) -> None:
    text = (DEMO / language / "README.md").read_text(encoding="utf-8")
    for words in ("SYNTHETIC", "never how good a model is", "espeak-ng", "MIT", "scripts/render_demo.py"):
        assert words in text
    assert f"{len(read_table(language))} clips" in text


def test_everything_takes_less_than_two_megabytes() -> None:
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) < 2_000_000


def test_rendering_without_espeak_names_the_fix(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "--out", str(tmp_path / "demo")],
        env={**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(DEMO.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("error: espeak-ng is not on the PATH; install it")
    assert not (tmp_path / "demo").exists()


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_the_same_prosody_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libsndfile numbers an Ogg stream by the clock; the script sets the number instead."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import render_demo

    corpus = render_demo.CORPORA[0]
    utterance, espeak = "f1_fearful_01", shutil.which("espeak-ng")
    assert espeak
    prosody = render_demo.clip_prosody("en", corpus.speakers[0], "fearful", utterance)
    for name in ("first.ogg", "second.ogg"):
        speech = render_demo.speak(espeak, corpus.speakers[0].voice, corpus.sentences[0], prosody)
        speech = render_demo.colour(speech, prosody, render_demo.generator("en", utterance, "colour"))
        render_demo.write_opus(tmp_path / name, speech, serial=7)
    assert (tmp_path / "first.ogg").read_bytes() == (tmp_path / "second.ogg").read_bytes()
    assert (tmp_path / "first.ogg").read_bytes()[14:18] == b"\x07\x00\x00\x00"
    assert soundfile.info(tmp_path / "first.ogg").frames == len(speech)
