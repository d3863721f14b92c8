"""The demo corpora inside the package: small, complete, balanced and declared synthetic."""

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
def test_a_demo_table_has_the_columns_of_a_corpus_table(language: str) -> None:
    table = read_table(language)
    assert tuple(table.columns) == COLUMNS
    assert table["utterance"].is_unique
    assert (table["source"] == f"demo/{language}/" + table["utterance"]).all()
    assert set(table["language"]) == {language}
    assert (table[["start", "end", "session"]] == "").all().all()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_demo_voice_says_every_sentence_in_every_emotion_once(language: str) -> None:
    """This balances the labels, and neither the text nor the speaker predicts the label."""
    table = read_table(language)
    assert set(table["label"]) == LABELS[language]
    assert table["text"].nunique() == SENTENCES[language]
    once = table.groupby(["speaker", "text", "label"]).size()
    assert (once == 1).all()
    assert len(once) == table["speaker"].nunique() * SENTENCES[language] * len(LABELS[language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_demo_splits_have_different_speakers(language: str) -> None:
    table = read_table(language)
    assert table["split"].value_counts().to_dict() == SPLITS[language]
    assert (table.groupby("speaker")["split"].nunique() == 1).all()
    assert (table.groupby("speaker")["gender"].nunique() == 1).all()
    assert set(table["gender"]) == {"female", "male"}


def test_the_english_demo_is_tested_on_both_genders() -> None:
    table = read_table("en")
    voices = table.drop_duplicates("speaker").groupby("split")["gender"].agg(sorted).to_dict()
    assert voices == {"train": ["female"] * 3 + ["male"] * 2, "dev": ["male"], "test": ["female", "male"]}


def median_pitch(audio: np.ndarray[Any, Any]) -> float:
    """Return the median, over loud 50 ms frames, of the pitch (70 to 400 Hz) with the highest autocorrelation."""
    frames = audio[: len(audio) // 800 * 800].reshape(-1, 800) * np.hanning(800)
    loud = frames[(frames**2).mean(axis=1) > (frames**2).mean()]
    correlation = np.fft.irfft(np.abs(np.fft.rfft(loud, 2048)) ** 2)
    return float(np.median(16_000 / (40 + correlation[:, 40:229].argmax(axis=1))))


@pytest.mark.parametrize("language", LANGUAGES)
def test_female_demo_voices_sound_higher_than_male_voices(language: str) -> None:
    """If espeak-ng ignores a variant, it uses its default male voice without a warning."""
    table = read_table(language).query("label == 'neutral'")
    for (speaker, gender), clips in table.groupby(["speaker", "gender"]):
        pitches = [median_pitch(soundfile.read(DEMO / language / name)[0]) for name in clips["audio"]]
        assert (np.median(pitches) > 150) == (gender == "female"), speaker


def test_the_demo_languages_share_no_speaker() -> None:
    assert not set(read_table("en")["speaker"]) & set(read_table("de")["speaker"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_demo_file_decodes_to_its_duration(language: str) -> None:
    table = read_table(language)
    for row in table.itertuples():
        audio, rate = soundfile.read(DEMO / language / str(row.audio), always_2d=True)
        assert rate == 16_000 and audio.shape[1] == 1, row.audio
        assert len(audio) / rate == pytest.approx(float(str(row.duration)), abs=0.02), row.audio
        assert 0.8 < len(audio) / rate < 3.0, row.audio
        assert 0.005 < float((audio**2).mean() ** 0.5) < 0.3, f"{row.audio} is silent or overdriven"
        assert abs(audio).max() < 1.2, row.audio


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_demo_folder_holds_the_files_of_its_table_and_no_others(language: str) -> None:
    present = {path.relative_to(DEMO / language).as_posix() for path in (DEMO / language).rglob("*.*")}
    assert present == set(read_table(language)["audio"]) | {"table.csv", "README.md"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_demo_readme_declares_the_corpus_synthetic(language: str) -> None:
    text = (DEMO / language / "README.md").read_text(encoding="utf-8")
    for words in ("SYNTHETIC", "never how good a model is", "espeak-ng", "MIT", "scripts/render_demo.py"):
        assert words in text
    assert f"{len(read_table(language))} clips" in text


def test_the_demo_corpora_take_less_than_two_megabytes() -> None:
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) < 2_000_000


def test_rendering_the_demo_without_espeak_names_the_fix(tmp_path: Path) -> None:
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
def test_rendering_the_demo_with_the_same_prosody_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libsndfile takes the number of an Ogg stream from the clock; the script sets it instead."""
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
