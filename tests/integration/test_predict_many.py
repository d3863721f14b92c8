"""`predict` for many files: rows as they come, `--out` that goes on, patterns, lists, and the mean of the folds."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import melt_ser
from melt_ser.core.errors import SetupError
from melt_ser.evaluation.labelling import Model
from melt_ser.predict import main as predict
from melt_ser.runs.finished_run import load_model
from small_runs import corpus, train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return train(folder / "runs", corpus(folder / "c"))[0]


@pytest.fixture(scope="module")
def run_of_folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folds")
    data = corpus(folder / "c")
    return train(folder / "runs", data, "dataset.folds=3", "dataset.fold=all", "trainer=frozen")[0]


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "clips"
    folder.mkdir()
    paths = [folder / f"{number}.wav" for number in range(4)]
    for number, path in enumerate(paths):
        noise = np.random.default_rng(number).normal(0, 0.1, 8_000)
        soundfile.write(path, noise, 16_000)
    return paths


class Interrupted(Exception):
    """The command ends in the middle."""


def labels_until(monkeypatch: pytest.MonkeyPatch, last: Path) -> list[str]:
    """Let `predict` fail at a file; return the list of files that are labelled, which grows."""
    labelled: list[str] = []
    original = Model.label_file

    def label_file(self: Model, path: Path, window: float | None = None) -> object:
        if path == last:
            raise Interrupted
        labelled.append(path.name)
        return original(self, path, window)

    monkeypatch.setattr(Model, "label_file", label_file)
    return labelled


@pytest.mark.parametrize("form", ["table", "csv", "jsonl"])
def test_a_row_is_on_standard_output_before_the_next_file_is_read(
    run: Path, clips: list[Path], form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels_until(monkeypatch, clips[2])
    with pytest.raises(Interrupted):
        predict([str(run), *map(str, clips), "--format", form, "--device", "cpu"])
    printed = capsys.readouterr().out
    assert "0.wav" in printed and "1.wav" in printed and "2.wav" not in printed


@pytest.mark.parametrize("name", ["labels.csv", "labels.json", "labels.jsonl"])
def test_out_goes_on_after_an_interruption_and_ends_as_if_there_were_none(
    run: Path, clips: list[Path], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, out = tmp_path / "whole" / name, tmp_path / name
    command = [str(run), str(clips[0].parent), "--device", "cpu", "--window", "0.2", "--out"]
    assert predict([*command, str(whole)]) == 0
    with pytest.MonkeyPatch.context() as patch:
        labels_until(patch, clips[2])
        with pytest.raises(Interrupted):
            predict([*command, str(out)])
    assert not out.exists()
    unfinished = tmp_path / f"{name}.unfinished"
    with unfinished.open("a") as cut:
        cut.write('{"file": "')  # as a kill leaves it
    with pytest.MonkeyPatch.context() as patch:
        labelled = labels_until(patch, Path("never"))
        assert predict([*command, str(out)]) == 0
    assert labelled == ["2.wav", "3.wav"]
    assert "2 of 4 files have labels; labelling the rest." in capsys.readouterr().err
    assert out.read_bytes() == whole.read_bytes()
    assert not unfinished.exists()


def test_another_window_and_a_changed_file_are_not_taken_from_an_interrupted_out(
    run: Path, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels.csv"
    command = [str(run), *map(str, clips), "--device", "cpu", "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        labels_until(patch, clips[3])
        with pytest.raises(Interrupted):
            predict(command)
    soundfile.write(clips[1], np.full(8_000, 0.1), 16_000, subtype="FLOAT")
    labelled = labels_until(monkeypatch, clips[3])
    with pytest.raises(Interrupted):
        predict(command)
    assert labelled == ["1.wav"]
    labelled.clear()
    with pytest.raises(Interrupted):
        predict([*command, "--window", "0.5"])
    assert "is from another model or window; labelling starts again" in capsys.readouterr().err
    assert labelled == ["0.wav", "1.wav", "2.wav"]


def test_a_file_without_a_label_is_tried_again(
    run: Path, clips: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = clips[0].read_bytes()
    clips[0].write_text("no audio")
    out = tmp_path / "labels.csv"
    command = [str(run), *map(str, clips), "--device", "cpu", "--out", str(out)]
    assert predict(command) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert (
        told.startswith(f"1 of 4 files could not be labelled. The first: {clips[0]}: ") and "under 'error'" not in told
    )
    clips[1].write_text("no audio")
    assert predict([*command[:-1], str(tmp_path / "two.csv")]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith(f" The other reasons are in {tmp_path / 'two.csv'}, under 'error'.")
    clips[1].write_bytes(good)
    assert pd.read_csv(out)["error"].notna().sum() == 1
    clips[0].write_bytes(good)
    assert predict(command) == 0
    assert pd.read_csv(out)["error"].isna().all()


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\0"])
def test_a_list_of_files_comes_from_standard_input(run: Path, clips: list[Path], separator: bytes) -> None:
    paths = [*map(str, clips), str(clips[0].with_name("not there.wav"))]
    command = [sys.executable, "-m", "melt_ser.predict", str(run), "-", "--format", "csv", "--device", "cpu"]
    content = separator.join(path.encode() for path in paths) + separator
    done = subprocess.run(command, input=content, capture_output=True)
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    assert [row["file"] for row in rows] == paths
    assert [bool(row["error"]) for row in rows] == [False] * 4 + [True]
    assert done.returncode == 1


def test_an_empty_list_is_told(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n\n")))
    assert predict([str(run), "-"]) == 2
    assert "error: Standard input names no file; give a path on each line." in capsys.readouterr().err


def test_a_pattern_is_expanded_unless_a_file_has_that_name(
    run: Path, clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = clips[0].parent
    literal = clips[3].rename(folder / "[3].wav")
    for pattern, names in (
        (folder / "[01].wav", ["0.wav", "1.wav"]),
        (folder.parent / "**" / "*.wav", ["0.wav", "1.wav", "2.wav", "[3].wav"]),
        (literal, ["[3].wav"]),
    ):
        assert predict([str(run), str(pattern), "--format", "json", "--device", "cpu"]) == 0
        assert sorted(Path(row["file"]).name for row in json.loads(capsys.readouterr().out)) == names
    assert predict([str(run), str(folder / "*.flac"), "--format", "json", "--device", "cpu"]) == 1
    [row] = json.loads(capsys.readouterr().out)
    assert "there is no such file" in row["error"]


def test_a_file_that_is_named_twice_is_labelled_once(
    run: Path, clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict([str(run), str(clips[0]), str(clips[0].parent), "--format", "jsonl", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 4
    assert "note: 1 path is repeated; each file is labelled once." in captured.err


def test_a_run_of_several_folds_answers_with_the_mean_of_its_models(
    run_of_folds: Path, clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict([str(run_of_folds), str(clips[0]), "--format", "json", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert "has 3 folds; each answer is the mean of the probabilities of their models." in captured.err
    [mean] = json.loads(captured.out)
    single = [load_model(run_of_folds, fold, "cpu") for fold in (1, 2, 3)]
    rows = [model.predict(clips[0]).iloc[0] for model in single]
    for name in single[0].classes:
        assert mean[name] == pytest.approx(np.mean([row[name] for row in rows]), abs=1e-6)
    assert predict([str(run_of_folds), str(clips[0]), "--fold", "2", "--format", "json", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)[0][single[1].classes[0]] == pytest.approx(rows[1][single[1].classes[0]], abs=1e-6)
    assert "mean" not in captured.err
    with pytest.raises(SetupError, match="has no fold 9; choose from: 1, 2, 3"):
        melt_ser.load_model(run_of_folds, fold=9, device="cpu")


def test_folds_with_one_frozen_backbone_share_it_in_memory(run_of_folds: Path) -> None:
    models = load_model(run_of_folds, device="cpu").classifiers
    assert len(models) == 3
    assert len({id(model.backbone) for model in models}) == 1
    assert len({id(model.head) for model in models}) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out", "labels.txt"], "--out labels.txt must end in .csv, .json or .jsonl, which is also the format."),
        (
            ["--out", "labels.csv", "--format", "json"],
            "--out labels.csv is not of the format json; leave out --format.",
        ),
    ],
)
def test_an_out_of_another_format_is_refused(
    run: Path, clips: list[Path], arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict([str(run), str(clips[0]), *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_out_writes_through_a_pipe(run: Path, clips: list[Path]) -> None:
    arguments = [str(run), str(clips[0]), "--device", "cpu", "--out", "/dev/stdout"]
    command = [sys.executable, "-m", "melt_ser.predict", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [row["file"] for row in csv.DictReader(io.StringIO(done.stdout))] == [str(clips[0])]


def test_the_table_keeps_its_columns_for_names_of_wide_letters(
    run: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.cells import cell_len

    monkeypatch.chdir(clips[0].parent)
    clips[0].rename("感情.wav")
    assert predict([str(run), "感情.wav", "1.wav", "--device", "cpu"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    ends = {cell_len(line) - len(line.split()[-1]) for line in lines}
    assert ends == {cell_len(header) - len("probability")}
