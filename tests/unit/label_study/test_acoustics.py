"""`acoustics`: described loudness and pitch against openSMILE's measurements, on tones and on real acted speech."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from melt_ser.acoustics import main
from melt_ser.core.errors import InputError
from melt_ser.label_study.acoustics import FEATURES, LEVELS, acoustic_check, sections

RATE = 16_000


def buzz(hertz: float, gain: float) -> np.ndarray:
    """Return half a second with the harmonics of a voice."""
    seconds = np.arange(RATE // 2) / RATE
    return gain * sum(np.sin(2 * np.pi * hertz * n * seconds) / n for n in range(1, 9))


def described(folder: Path) -> Path:
    """Write ten clips of rising loudness and, in another order, rising pitch, with true descriptions in rare words."""
    rows = []
    for number in range(10):
        pitch = (number * 3) % 10
        soundfile.write(folder / f"{number}.wav", buzz(120 + 5 * pitch, 0.002 * 1.8**number), RATE)
        loudness, height = ("low" if at < 3 else "mid" if at < 7 else "high" for at in (number, pitch))
        rows.append({"filename": f"{number}.wav", "loudness": loudness, "pitch": height})
    table = pd.DataFrame(rows)
    table.loc[0, "loudness"] = "Soft"  # in another case, a word for low
    table.loc[9, "pitch"] = "trembling"  # not a known word
    table.to_csv(folder / "labels.csv", index=False)
    audio = [f"{number}.wav" for number in range(10)]
    pd.DataFrame({"utterance": audio, "audio": audio, "start": "", "end": ""}).to_csv(folder / "t.csv", index=False)
    return folder / "labels.csv"


def check(folder: Path, *more: str, code: int, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    pytest.importorskip("opensmile", reason="opensmile, of the extra acoustics, is not installed")
    files = [str(folder / "labels.csv"), str(folder / "t.csv"), "--keys", "filename=utterance", "--root", str(folder)]
    assert main([*files, "--format", "json", *more]) == code
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_acoustics_confirms_true_descriptions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described(tmp_path)
    loudness, pitch = check(tmp_path, code=0, capsys=capsys)["checks"]
    assert loudness["ua"] == 1.0 and loudness["n"] == 10
    assert np.diag(loudness["confusion"]).tolist() == [3, 4, 3]
    assert pitch["ua"] == 1.0 and pitch["n"] == 9
    assert pitch["left_out"] == {"not described": 0, "described as 'trembling'": 1, "not measured": 0}
    low, high = pitch["bounds"]  # semitones above 27.5 Hz
    assert 12 * np.log2(120 / 27.5) < low < high < 12 * np.log2(170 / 27.5)


def test_acoustics_counts_audio_that_is_missing_or_without_a_voice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    described(tmp_path)
    (tmp_path / "1.wav").unlink()
    soundfile.write(tmp_path / "4.wav", np.random.default_rng(0).normal(0, 0.05, RATE // 2), RATE)
    loudness, pitch = check(tmp_path, code=1, capsys=capsys)["checks"]
    assert loudness["left_out"]["not measured"] == 1
    assert pitch["left_out"]["not measured"] == 2


def test_acoustics_measures_segments_between_their_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described(tmp_path)
    whole = [soundfile.read(tmp_path / f"{number}.wav")[0] for number in range(10)]
    soundfile.write(tmp_path / "all.wav", np.concatenate(whole), RATE)
    table = pd.read_csv(tmp_path / "t.csv")
    one_by_one = check(tmp_path, code=0, capsys=capsys)
    table = table.assign(audio="all.wav", start=np.arange(10) / 2, end=np.arange(1, 11) / 2)
    table.to_csv(tmp_path / "t.csv", index=False)
    assert check(tmp_path, code=0, capsys=capsys) == one_by_one


def test_acoustics_finds_acted_anger_higher_than_sadness(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """EmoDB's clips described by their emotion: W anger, F happiness, A fear; N neutral, E disgust; T sad, L bored."""
    clips = sorted((shared_data / "emodb" / "wav").glob("*.wav"))[::12]
    levels = {**dict.fromkeys("WFA", "high"), **dict.fromkeys("NE", "mid"), **dict.fromkeys("TL", "low")}
    rows = [
        {"filename": clip.name, "audio": clip.name, "speaker": clip.name[:2], "pitch": levels[clip.name[5]]}
        for clip in clips
    ]
    table = pd.DataFrame(rows)
    table.drop(columns=["audio", "speaker"]).to_csv(tmp_path / "labels.csv", index=False)
    table[["audio", "speaker"]].assign(utterance=table["filename"]).to_csv(tmp_path / "t.csv", index=False)
    root = ["--root", str(clips[0].parent)]
    [pitch] = check(tmp_path, *root, code=0, capsys=capsys)["checks"]
    assert pitch["n"] == len(clips) and pitch["ci_unit"] == "speaker"
    assert pitch["ua"] > 0.4 and pitch["ua_ci95"][0] < pitch["ua"] < pitch["ua_ci95"][1]


@given(st.lists(st.tuples(st.sampled_from(LEVELS), st.floats(-100, 100)), min_size=5, max_size=60))
@settings(max_examples=50)
def test_acoustic_bins_hold_thirty_forty_and_thirty_per_cent(rows: list[tuple[str, float]]) -> None:
    table = pd.DataFrame({"loudness": [word for word, _ in rows]})
    values = pd.DataFrame(
        {"loudness": [value for _, value in rows], "pitch": np.nan}, index=table.index, columns=list(FEATURES)
    )
    [checked] = acoustic_check(table, values, {}).checks
    in_bins = np.asarray(checked.confusion).sum(axis=1)
    assert in_bins.sum() == len(rows)
    if values["loudness"].nunique() == len(rows):
        assert np.abs(in_bins - np.asarray([0.3, 0.4, 0.3]) * len(rows)).max() < 2


def test_acoustics_names_its_extra_without_opensmile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    described(tmp_path)
    monkeypatch.setitem(sys.modules, "opensmile", None)
    assert (
        main([str(tmp_path / "labels.csv"), str(tmp_path / "t.csv"), "--keys", "filename=utterance", "--root", "."])
        == 2
    )
    assert capsys.readouterr().err.strip().endswith("needs opensmile: pip install 'melt-ser[acoustics]'.")


def test_acoustics_refuses_labels_without_descriptions() -> None:
    with pytest.raises(InputError, match="describe neither loudness nor pitch"):
        acoustic_check(pd.DataFrame({"emotion": ["joy"]}), pd.DataFrame({"loudness": [1.0], "pitch": [1.0]}), {})
    with pytest.raises(InputError, match="Only 1 utterances have a described and a measured loudness"):
        acoustic_check(pd.DataFrame({"loudness": ["low"]}), pd.DataFrame({"loudness": [1.0], "pitch": [1.0]}), {})


def test_acoustics_text_lists_the_utterances_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described(tmp_path)
    pytest.importorskip("opensmile", reason="opensmile, of the extra acoustics, is not installed")
    files = [str(tmp_path / "labels.csv"), str(tmp_path / "t.csv"), "--keys", "filename=utterance"]
    assert main([*files, "--root", str(tmp_path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Left out of pitch: 1 (described as 'trembling')." in text and "100.0 [" in text


def of_speakers(speakers: dict[str, tuple[float, float]], each: int = 20) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return described and measured utterances: each speaker (mean, deviation) is described relative to themselves."""
    rows, values = [], []
    for speaker, (mean, deviation) in speakers.items():
        own = mean + deviation * np.random.default_rng(len(rows)).standard_normal(each)
        low, high = np.quantile(own, [0.3, 0.7])
        rows += [(speaker, "low" if value <= low else "high" if value > high else "mid") for value in own]
        values += own.tolist()
    measured = pd.DataFrame({"loudness": np.nan, "pitch": values}, columns=list(FEATURES))
    return pd.DataFrame(rows, columns=["speaker", "pitch"]), measured


def test_a_rater_who_is_right_about_each_speaker_is_right_within_speakers() -> None:
    table, measured = of_speakers({"a": (28, 2), "b": (31, 2), "c": (36, 2), "d": (40, 2)})
    [overall] = acoustic_check(table, measured, {}).checks
    result = acoustic_check(table, measured, {}, within="speaker")
    assert overall.ua < 0.75 and overall.chance == pytest.approx(1 / 3)
    assert result.checks[0].ua == 1.0 and result.checks[0].n == 80 and result.within == "speaker"
    told = sections(result)
    assert "The bottom 30 % of the measured values of each speaker are low" in told[0].sentences[0]
    assert told[1].sentences == [f"{FEATURES['pitch']} is binned within each speaker."]


def test_speakers_with_few_utterances_are_counted_and_left_out_within_speakers() -> None:
    table, measured = of_speakers({"a": (28, 2), "b": (31, 2)})
    table.loc[20:30, "speaker"] = ["", "", *["c"] * 9]
    [pitch] = acoustic_check(table, measured, {}, within="speaker").checks
    assert pitch.n == 20, "of speaker b nine utterances are left"
    assert pitch.left_out["a speaker that is not known or has fewer than 10 measured utterances"] == 20
    with pytest.raises(InputError, match=r"no column 'speeker' \(--within\); did you mean 'speaker'"):
        acoustic_check(table, measured, {}, within="speeker")


def test_a_missing_interval_is_told_with_its_reason() -> None:
    table = pd.DataFrame({"loudness": ["low", "mid", "mid", "high", "high"] * 4, "speaker": ["a", "b"] * 10})
    measured = pd.DataFrame({"loudness": np.arange(20.0), "pitch": np.nan}, columns=list(FEATURES))
    result = acoustic_check(table, measured, {})
    assert result.checks[0].ua_ci95 is None
    told = "loudness: No interval of UA, WA, macro-F1: 2 speakers are too few; it needs 4."
    assert told in sections(result)[0].sentences


def test_a_uar_over_fewer_levels_is_told_with_its_chance() -> None:
    """Only quiet and middle voices are described; of the loud ones nothing is said."""
    table = pd.DataFrame({"loudness": ["low"] * 6 + ["mid"] * 8 + [""] * 6})
    measured = pd.DataFrame({"loudness": np.arange(20.0), "pitch": np.nan}, columns=list(FEATURES))
    result = acoustic_check(table, measured, {})
    [loudness] = result.checks
    assert loudness.chance == 0.5 and loudness.recall[2] is None and loudness.ua == 1.0
    sentence = "No described loudness is measured as high: its UAR is over 2 of 3 levels, and chance is 50.0 %."
    assert sentence in sections(result)[0].sentences
