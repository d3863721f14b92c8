"""Long recordings: blocks give the same samples, windows are labelled one by one, and memory stays bounded."""

from __future__ import annotations

import csv
import io
import json
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from make_audio import encode
from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.decode import in_pieces, read_audio, stream_audio
from melt_ser.audio.resample import resample, resample_blocks
from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError
from melt_ser.corpora.table import make_table
from melt_ser.corpora.verification import judge, verify
from melt_ser.predict import main as predict
from melt_ser.runs.finished_run import load_model
from small_runs import CLASSES, corpus, train


def noise(seconds: float, rate: int = SAMPLE_RATE) -> np.ndarray:
    generator = np.random.default_rng(0)
    return (0.1 * generator.standard_normal(round(seconds * rate))).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_414, 44_100, 48_000, 15_987, 16_001])
def test_resample_blocks_gives_the_samples_of_resample(rate: int) -> None:
    wave, generator = noise(7.3, rate), np.random.default_rng(1)
    for sizes in ([len(wave)], [1024] * (len(wave) // 1024 + 1), generator.integers(1, 3 * rate, 20).tolist()):
        blocks = [block for block in np.split(wave, np.cumsum(sizes)) if len(block)]
        joined = np.concatenate(list(resample_blocks(blocks, rate, SAMPLE_RATE)))
        whole = resample(wave, rate, SAMPLE_RATE)
        assert abs(len(joined) - len(whole)) <= (0 if rate not in (24_414, 15_987, 16_001) else 0.001 * len(whole))
        shared = min(len(joined), len(whole))
        np.testing.assert_allclose(joined[:shared], whole[:shared], atol=1e-6)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.m4a", "a.mkv"])
def test_stream_audio_gives_the_samples_of_read_audio(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    if path.suffix in (".wav", ".flac"):
        soundfile.write(path, np.stack([noise(3.1, 22_050), noise(3.1, 22_050)], axis=1), 22_050)
    else:
        encode(path, "aac" if path.suffix == ".m4a" else "flac")
    monkeypatch.setattr("melt_ser.audio.decoders.BLOCK", 5000)
    blocks = list(stream_audio(path))
    np.testing.assert_allclose(np.concatenate(blocks), read_audio(path), atol=1e-6)


def test_in_pieces_gives_pieces_of_one_size() -> None:
    wave = noise(1.0)
    pieces = list(in_pieces(np.split(wave, [10, 5000, 5001, 9000]), 3000))
    assert [len(piece) for piece in pieces] == [3000] * 5 + [1000]
    assert (np.concatenate(pieces) == wave).all()
    assert [len(piece) for piece in in_pieces([wave[:6000]], 3000)] == [3000, 3000]


def test_stream_audio_refuses_a_bad_file_in_one_sentence(tmp_path: Path) -> None:
    wave = noise(3.0)
    wave[40_000] = np.nan
    soundfile.write(tmp_path / "nan.wav", wave, SAMPLE_RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "none.wav", wave[:0], SAMPLE_RATE)
    (tmp_path / "text.wav").write_text("this is text")
    soundfile.write(tmp_path / "whole.wav", noise(3.0), SAMPLE_RATE)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[:40_000])
    reasons = {"nan": "some samples are NaN", "none": "no samples", "text": "cannot be decoded", "cut": "is cut off"}
    for name, reason in {**reasons, "absent": "there is no such file"}.items():
        with pytest.raises(InputError, match=reason):
            list(stream_audio(tmp_path / f"{name}.wav"))


def test_stream_audio_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    peaks = []
    for minutes in (5, 20):
        with soundfile.SoundFile(tmp_path / "long.flac", "w", 22_050, 1) as file:
            for _ in range(minutes):
                file.write(np.zeros(60 * 22_050, dtype=np.float32))
        tracemalloc.start()
        seconds = (
            sum(len(piece) for piece in in_pieces(stream_audio(tmp_path / "long.flac"), SAMPLE_RATE)) / SAMPLE_RATE
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert seconds == minutes * 60
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 30 * 2**20  # the whole recording takes 77 MiB at 16 kHz


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return train(folder / "runs", corpus(folder / "c"))[0]


def rows_of(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> list[dict[str, object]]:
    capsys.readouterr()
    assert predict([*arguments, "--format", "json", "--device", "cpu"]) == code
    rows: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return rows


def test_predict_windows_cover_the_recording_and_each_is_an_utterance_of_its_own(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wave = noise(2.5)
    soundfile.write(tmp_path / "a.wav", wave, SAMPLE_RATE, subtype="FLOAT")
    (tmp_path / "bad.wav").write_text("this is text")
    files = [str(tmp_path / name) for name in ("a.wav", "bad.wav")]
    *rows, bad = rows_of([str(run_folder), *files, "--window", "1"], capsys, code=1)
    assert [(row["start"], row["end"]) for row in rows] == [(0.0, 1.0), (1.0, 2.0), (2.0, 2.5)]
    assert set(bad) == {"file", "error"}
    for number, row in enumerate(rows):
        part = tmp_path / f"part{number}.wav"
        soundfile.write(part, wave[number * SAMPLE_RATE : (number + 1) * SAMPLE_RATE], SAMPLE_RATE, subtype="FLOAT")
        [alone] = rows_of([str(run_folder), str(part)], capsys)
        assert [alone[name] for name in CLASSES] == [row[name] for name in CLASSES]
    assert predict([str(run_folder), *files, "--window", "1", "--format", "csv", "--device", "cpu"]) == 1
    captured = capsys.readouterr()
    table = list(csv.DictReader(io.StringIO(captured.out)))
    assert list(table[0]) == ["file", "start", "end", "label", *CLASSES, "error"]
    said = [line for line in captured.err.splitlines() if not line.startswith("labelling:")]
    assert said == ["1 of 2 files could not be labelled."]
    assert predict([str(run_folder), *files, "--window", "1", "--device", "cpu"]) == 1
    assert "2.00" in capsys.readouterr().out


def test_predict_searches_a_folder_for_audio_and_counts_other_files(
    run_folder: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.wav", "b.aiff", "sub/c.au", "d.FLAC"):
        soundfile.write(tmp_path / name, noise(0.5), SAMPLE_RATE)
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    soundfile.write(elsewhere / "linked.wav", noise(0.5), SAMPLE_RATE)
    (tmp_path / "session").symlink_to(elsewhere)
    (elsewhere / "circle").symlink_to(tmp_path)
    for name in ("._a.wav", "notes.txt"):
        (tmp_path / name).write_text("no audio")
    assert predict([str(run_folder), str(tmp_path), "--format", "json", "--device", "cpu"]) == 1
    captured = capsys.readouterr()
    rows = {Path(row["file"]).name: row for row in json.loads(captured.out)}
    assert sorted(rows) == ["a.wav", "b.aiff", "c.au", "d.FLAC", "gone.wav", "linked.wav"]
    assert [name for name, row in rows.items() if "error" in row] == ["gone.wav"]
    assert "2 files ignored in" in captured.err


def test_predict_gives_a_long_recording_the_mean_over_its_parts(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "long.wav", noise(2.5) * np.linspace(0, 1, 40_000, dtype=np.float32), SAMPLE_RATE)
    windows = rows_of([str(run_folder), str(tmp_path / "long.wav"), "--window", "1"], capsys)
    [whole] = rows_of([str(run_folder), str(tmp_path / "long.wav")], capsys)
    monkeypatch.setattr("melt_ser.evaluation.labelling.LONGEST_SECONDS", 1.0)
    assert predict([str(run_folder), str(tmp_path / "long.wav"), "--format", "json", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    [mean] = json.loads(captured.out)
    weights = [row["end"] - row["start"] for row in windows]  # type: ignore[operator]
    for name in CLASSES:
        assert mean[name] == pytest.approx(np.average([row[name] for row in windows], weights=weights))
    assert mean["file"] == whole["file"]
    assert set(mean) == set(whole)
    assert "long.wav has 2 s; its label is from the mean over 3 parts of up to 1 s." in captured.err


@pytest.mark.parametrize("window", ["0", "61", "ten", "nan"])
def test_predict_refuses_an_impossible_window(window: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        predict([str(tmp_path), "a.wav", "--window", window])
    assert stopped.value.code == 2
    assert f"is a number of seconds from 0.1 to 60, not '{window}'" in capsys.readouterr().err


def test_predict_refuses_what_prepare_refuses_in_the_same_words(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wave, config = noise(1.0), DatasetConfig()
    clips = {
        "silent.wav": np.zeros(SAMPLE_RATE),
        "short.wav": wave[:800],
        "clipped.wav": np.sign(wave),
        "cancel.wav": np.stack([wave, -wave], axis=1),
        "integers.wav": 32_768 * wave,
    }
    for name, samples in clips.items():
        soundfile.write(tmp_path / name, samples, SAMPLE_RATE, subtype="FLOAT")
    rows = rows_of([str(run_folder), *(str(tmp_path / name) for name in clips)], capsys, code=1)
    table = make_table([{"utterance": name, "source": name, "audio": name, "label": "x"} for name in clips])
    reasons = judge(verify(tmp_path, table)[0], config)
    assert len(set(reasons)) == len(clips)
    model = load_model(run_folder, device="cpu")
    for row, reason, samples in zip(rows, reasons, clips.values(), strict=True):
        assert "label" not in row
        words = reason if reason.split(":")[0] in ("silent", "too short", "clipped") else reason.split(": ")[1]
        assert words in str(row["error"])
        with pytest.raises(InputError, match=re.escape(words)):
            model.predict(samples, SAMPLE_RATE)


def test_predict_says_how_many_windows_hold_no_sound(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wave = noise(3.05)
    wave[SAMPLE_RATE : 2 * SAMPLE_RATE] = 0
    soundfile.write(tmp_path / "a.wav", wave, SAMPLE_RATE)
    assert predict([str(run_folder), str(tmp_path / "a.wav"), "--window", "1", "--device", "cpu"]) == 0
    assert (
        "a.wav: 2 windows have labels that mean nothing; the first is from 1 s on (silent: no sample above -80 dBFS)."
        in capsys.readouterr().err
    )


def test_predict_says_what_it_found_beside_the_header(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1.0), SAMPLE_RATE)
    (tmp_path / "b.wav").write_bytes(2 * (tmp_path / "a.wav").read_bytes())
    assert predict([str(run_folder), str(tmp_path / "b.wav"), "--device", "cpu"]) == 0
    found = "b.wav holds 2 recordings one after the other, and all were read as one."
    assert found in capsys.readouterr().err


def test_a_long_silent_recording_is_refused(run_folder: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(61 * SAMPLE_RATE), SAMPLE_RATE)
    (row,) = load_model(run_folder, device="cpu").label_file(tmp_path / "a.flac")
    assert "a.flac: cannot be labelled (silent: no sample above -80 dBFS)." in row["error"]
