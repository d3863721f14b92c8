"""Turns of speakers and stretches of speech: a row each, with the label of the clip alone, and every fault told."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile

import melt_ser
from make_audio import encode
from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.decode import read_native, read_segments
from melt_ser.evaluation.labelling import Model
from melt_ser.predict import main as predict
from small_runs import CLASSES, corpus, train


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return train(folder / "runs", corpus(folder / "c"))[0]


class Interview(NamedTuple):
    """A recording of clips of speech, with silence or noise between them."""

    path: Path
    clips: list[Path]
    turns: list[tuple[float, float, str]]  # start, end (seconds), speaker


def joined(clips: list[Path], folder: Path) -> Interview:
    """Join clips to a recording: 1.5 s of silence after every second clip, and faint noise after the others."""
    generator = np.random.default_rng(0)
    waves, turns, place = [], [], 0
    rate = soundfile.info(clips[0]).samplerate
    for number, clip in enumerate(clips):
        wave, own_rate = soundfile.read(clip, dtype="int16")
        assert own_rate == rate and wave.ndim == 1
        pause = (60 * (number % 2) * generator.standard_normal(round(1.5 * rate))).astype("int16")
        turns.append((place / rate, (place + len(wave)) / rate, f"S{number % 2}"))
        waves += [wave, pause]
        place += len(wave) + len(pause)
    path = folder / "interview.wav"
    soundfile.write(path, np.concatenate(waves), rate, subtype="PCM_16")
    return Interview(path, clips, turns)


@pytest.fixture(scope="module")
def interview(tmp_path_factory: pytest.TempPathFactory) -> Interview:
    """Clips of the demo corpus, joined."""
    clips = sorted((Path(melt_ser.__file__).with_name("demo") / "en" / "audio").iterdir())[:24:4]
    folder = tmp_path_factory.mktemp("interview")
    for clip in clips:
        wave, rate = soundfile.read(clip, dtype="int16")
        soundfile.write(folder / f"{clip.stem}.wav", wave, rate)
    return joined([folder / f"{clip.stem}.wav" for clip in clips], folder)


@pytest.fixture(scope="module")
def real_interview(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Interview:
    """Clips of EmoDB, joined."""
    clips = sorted((shared_data / "emodb" / "wav").glob("*.wav"))[:240:24]
    if not clips:
        pytest.skip("EmoDB is not here")
    return joined(clips, tmp_path_factory.mktemp("real"))


def rttm(interview: Interview, path: Path, *more: str) -> Path:
    lines = [
        f"SPEAKER interview 1 {start:.7f} {end - start:.7f} <NA> <NA> {speaker} <NA> <NA>"
        for start, end, speaker in interview.turns
    ]
    path.write_text("\n".join([*lines, *more]) + "\n")
    return path


def rows_of(arguments: list[Any], capsys: pytest.CaptureFixture[str], code: int = 0) -> tuple[list[Any], str]:
    """Return the rows of `predict` and what it said, apart from its progress."""
    capsys.readouterr()
    assert predict([*map(str, arguments), "--format", "json", "--device", "cpu"]) == code
    captured = capsys.readouterr()
    said = [line for line in captured.err.splitlines() if not line.startswith("labelling:")]
    return json.loads(captured.out), "\n".join(said)


@pytest.mark.parametrize("kind", ["interview", "real_interview"])
def test_a_turn_has_the_label_of_its_clip_alone(
    kind: str, run_folder: Path, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    recording: Interview = request.getfixturevalue(kind)
    alone, _ = rows_of([run_folder, *recording.clips], capsys)
    turns, said = rows_of([run_folder, recording.path, "--turns", rttm(recording, tmp_path / "interview.rttm")], capsys)
    assert said == ""
    assert list(turns[0]) == ["file", "start", "end", "speaker", "label", *CLASSES]
    assert [(row["start"], row["speaker"]) for row in turns] == [
        (pytest.approx(start, abs=1e-6), speaker) for start, _, speaker in recording.turns
    ]
    assert len({row["label"] for row in alone}) > 1  # otherwise equal labels would show nothing
    for row, clip in zip(turns, alone, strict=True):
        assert [row[name] for name in ("label", *CLASSES)] == [clip[name] for name in ("label", *CLASSES)]


def test_speech_is_found_between_silence_and_noise(
    run_folder: Path, real_interview: Interview, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("silero_vad")
    rows, said = rows_of([run_folder, real_interview.path, "--voice-activity"], capsys)
    assert said == ""
    assert list(rows[0]) == ["file", "start", "end", "label", *CLASSES]
    inside = [
        [row for row in rows if start - 0.3 <= row["start"] and row["end"] <= end + 0.3]  # of a pause of 1.5 s
        for start, end, _ in real_interview.turns
    ]
    assert sum(map(len, inside)) == len(rows)  # no stretch is in a pause
    for (start, end, _), found in zip(real_interview.turns, inside, strict=True):
        assert sum(row["end"] - row["start"] for row in found) > 0.6 * (end - start)
    for row in rows:
        wave, rate = read_native(real_interview.path, row["start"], row["end"])
        soundfile.write(tmp_path / "part.wav", wave, rate, subtype="FLOAT")
        [part], _ = rows_of([run_folder, tmp_path / "part.wav"], capsys)
        assert [part[name] for name in CLASSES] == [row[name] for name in CLASSES]


def test_a_recording_without_speech_is_told(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("silero_vad")
    noise = 0.01 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE)
    soundfile.write(tmp_path / "noise.wav", noise, SAMPLE_RATE)
    (tmp_path / "text.wav").write_text("this is text")
    rows, said = rows_of([run_folder, tmp_path / "noise.wav", tmp_path / "text.wav", "--voice-activity"], capsys, 1)
    assert rows[0]["error"] == f"{tmp_path / 'noise.wav'}: no speech was found."
    assert "cannot be decoded" in rows[1]["error"]
    assert said.strip() == "2 of 2 stretches of speech could not be labelled."


def test_voice_activity_names_its_package_if_it_is_missing(
    run_folder: Path, interview: Interview, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib.metadata import PackageNotFoundError

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("melt_ser.audio.speech.version", missing)
    assert predict([str(run_folder), str(interview.path), "--voice-activity"]) == 2
    assert capsys.readouterr().err == (
        "error: Finding speech needs silero-vad: pip install 'melt-ser[voice_activity]'.\n"
    )


def test_finding_speech_leaves_the_threads_of_torch(interview: Interview) -> None:
    pytest.importorskip("silero_vad")
    import torch

    from melt_ser.audio.speech import find_speech

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert find_speech(interview.path, 60.0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_speech_does_not_depend_on_the_recording_before_and_the_detector_is_loaded_once(
    interview: Interview, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("silero_vad")
    from melt_ser.audio.speech import find_speech

    first = find_speech(interview.path, 60.0)
    monkeypatch.delattr("silero_vad.load_silero_vad")
    find_speech(interview.clips[0], 60.0)
    assert find_speech(interview.path, 60.0) == first


def test_a_turn_without_a_label_is_a_row_with_its_reason_and_is_counted(
    run_folder: Path, interview: Interview, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = interview.turns[0], interview.turns[-1]
    silent = (first[1] + 0.2, 1.0)
    more = (
        f"SPEAKER interview 1 {last[0]} 500 <NA> <NA> late <NA> <NA>",
        "SPEAKER interview 1 700 2 <NA> <NA> later <NA> <NA>",
        "SPEAKER interview 1 1 0.05 <NA> <NA> short <NA> <NA>",
        "SPEAKER interview 1 2 0 <NA> <NA> empty <NA> <NA>",
        f"SPEAKER interview 1 {silent[0]} {silent[1]} <NA> <NA> silent <NA> <NA>",
    )
    turns = rttm(interview, tmp_path / "interview.rttm", *more)
    rows, said = rows_of([run_folder, interview.path, "--turns", turns], capsys, code=1)
    assert len(rows) == len(interview.turns) + len(more)
    assert [row["start"] for row in rows] == sorted(row["start"] for row in rows)
    reasons = {row["speaker"]: row["error"] for row in rows if "error" in row}
    line = len(interview.turns)
    seconds = soundfile.info(interview.path).duration
    assert reasons == {
        "late": f"{turns}, line {line + 1}: the turn ends at {last[0] + 500:g} s, but {interview.path} already at "
        f"{seconds:.2f} s.",
        "later": f"{turns}, line {line + 2}: the turn ends at 702 s, but {interview.path} before it begins.",
        "short": f"{turns}, line {line + 3}: the turn cannot be labelled (too short: 0.050 s is under "
        "dataset.minimum_seconds=0.1).",
        "empty": f"{turns}, line {line + 4}: the turn is empty, from 2 to 2 s.",
        "silent": f"{turns}, line {line + 5}: the turn cannot be labelled (silent: no sample above -80 dBFS).",
    }
    assert f"5 of {len(rows)} turns could not be labelled." in said
    assert "turns begin before another ends" in said


def test_turns_may_overlap_and_be_longer_than_the_model_hears_at_once(
    run_folder: Path,
    interview: Interview,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("melt_ser.evaluation.turn_labelling.LONGEST_SECONDS", 1.0)
    monkeypatch.setattr("melt_ser.evaluation.labelling.LONGEST_SECONDS", 1.0)
    (tmp_path / "turns.csv").write_text("start,end,speaker\n0.5,4,a\n1,2.25,b\n0.5,1.2,c\n")
    rows, said = rows_of([run_folder, interview.path, "--turns", tmp_path / "turns.csv"], capsys)
    assert [row["speaker"] for row in rows] == ["c", "a", "b"]
    for row in rows:
        wave, rate = read_native(interview.path, row["start"], row["end"])
        soundfile.write(tmp_path / "part.wav", wave, rate, subtype="FLOAT")
        [part], _ = rows_of([run_folder, tmp_path / "part.wav"], capsys)
        assert [row[name] for name in CLASSES] == pytest.approx([part[name] for name in CLASSES], abs=1e-12)
    assert (
        f"{interview.path}: 2 of 3 turns begin before another ends, the first in {tmp_path / 'turns.csv'}, row 1; each "
        "is labelled with all voices in it." in said
    )


def test_a_fault_in_the_middle_of_a_file_leaves_the_turns_before_it(
    run_folder: Path, interview: Interview, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "interview.flac"
    wave, rate = soundfile.read(interview.path, dtype="int16")
    soundfile.write(cut, wave, rate)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    turns = rttm(interview, tmp_path / "interview.rttm")
    rows, said = rows_of([run_folder, cut, "--turns", turns], capsys, code=1)
    assert len(rows) == len(interview.turns)
    failed = ["error" in row for row in rows]
    assert failed == sorted(failed) and True in failed  # each turn after the fault has its row
    assert f"{sum(failed)} of {len(rows)} turns could not be labelled." in said


def test_out_goes_on_with_turns_and_starts_again_with_others(
    run_folder: Path, interview: Interview, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = tmp_path / "second.wav"
    second.write_bytes(interview.path.read_bytes())
    turns = rttm(interview, tmp_path / "all.rttm", "SPEAKER second 1 0 1 <NA> <NA> S <NA> <NA>")
    command = [str(run_folder), str(interview.path), str(second), "--turns", str(turns), "--device", "cpu", "--out"]
    assert predict([*command, str(tmp_path / "whole.csv")]) == 0
    original, seen = Model.probabilities, []

    def until(limit: int) -> Any:
        def probabilities(self: Model, waveform: np.ndarray) -> list[float]:
            if len(seen) == limit:
                raise KeyboardInterrupt
            seen.append(len(waveform))
            return original(self, waveform)

        return probabilities

    out, number = tmp_path / "labels.csv", len(interview.turns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "probabilities", until(number))  # the first file is done
        assert predict([*command, str(out)]) == 130
    assert not out.exists() and out.with_name("labels.csv.unfinished").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "probabilities", until(-1))
        assert predict([*command, str(out)]) == 0
    assert len(seen) == number + 1  # nothing was labelled twice
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        seen.clear()
        patch.setattr(Model, "probabilities", until(number))
        assert predict([*command, str(out)]) == 130
    turns.write_text(turns.read_text().replace(" S1 ", " S2 "))
    capsys.readouterr()
    assert predict([*command, str(out)]) == 0
    assert "is from another model or turns; labelling starts again" in capsys.readouterr().err
    assert "S2" in out.read_text()


def test_the_tables_have_the_speaker(
    run_folder: Path, interview: Interview, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(run_folder), str(interview.path), "--turns", str(rttm(interview, tmp_path / "i.rttm"))]
    assert predict([*command, "--format", "csv", "--device", "cpu"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["file", "start", "end", "speaker", "label", *CLASSES, "error"]
    assert [row["speaker"] for row in rows] == [speaker for *_, speaker in interview.turns]
    assert predict([*command, "--device", "cpu"]) == 0
    header, first, *_ = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "start", "end", "speaker", "label", "probability"]
    assert first.split()[1:4] == ["0.00", f"{interview.turns[0][1]:.2f}", "S0"]


@pytest.mark.parametrize("pair", [("--window", "2", "--voice-activity"), ("--turns", "a.rttm", "--window", "2")])
def test_one_way_of_cutting_is_chosen(pair: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        predict(["run", "a.wav", *pair])
    assert stopped.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.m4a"])
def test_segments_have_the_samples_of_read_native(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    if path.suffix == ".m4a":
        encode(path, "aac")
    else:
        generator = np.random.default_rng(0)
        soundfile.write(path, (0.1 * generator.standard_normal((66_150, 2))), 22_050)
    monkeypatch.setattr("melt_ser.audio.decoders.BLOCK", 5000)
    seconds = len(read_native(path)[0]) / read_native(path)[1]
    shares = [(0.0, 0.05), (0.02, 1.0), (0.02, 0.03), (0.3, 0.6), (0.5, 0.52), (0.9, 1.01)]
    places = [(first * seconds, last * seconds) for first, last in shares]
    segments = list(read_segments(path, places))
    for (start, end), (waveform, rate) in zip(places, segments, strict=True):
        expected, expected_rate = read_native(path, start, end)
        assert rate == expected_rate
        np.testing.assert_array_equal(waveform, expected)
    [(beyond, _)] = read_segments(path, [(seconds + 5, seconds + 6)])
    assert len(beyond) == 0


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    peaks = []
    for minutes in (5, 20):
        path = tmp_path / f"{minutes}.flac"
        with soundfile.SoundFile(path, "w", 22_050, 1) as file:
            for _ in range(minutes):
                file.write(np.zeros(60 * 22_050, dtype=np.float32))
        places = [(float(start), start + 7.0) for start in range(0, 60 * minutes - 10, 5)]
        tracemalloc.start()
        assert all(len(waveform) == 7 * 22_050 for waveform, _ in read_segments(path, places))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 30 * 2**20  # the whole recording takes 106 MiB
