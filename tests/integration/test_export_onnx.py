"""`export RUN --format onnx`: the file answers as the run without melt_ser, and no file stays that does not."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile

import small_runs
from checkout import CHECKOUT
from melt_ser import load_model
from melt_ser.export import TYPES, main
from melt_ser.models import onnx_types
from melt_ser.runs import onnx_export


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_runs.corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe on every layer, of one of two folds."""
    return small_runs.train(tmp_path_factory.mktemp("runs"), corpus, "trainer=probe", "dataset.folds=2")[0]


def test_an_exported_run_labels_a_clip_without_melt_ser(
    run: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run), "--format", "onnx"]) == 0
    printed = capsys.readouterr().out
    folder = run / "onnx" / "float32"
    assert printed.splitlines()[-1] == f"result: {folder / 'model.onnx'}"
    assert "12 clips of csv, alone and in batches" in printed and "100.0% of the labels agree" in printed
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "run_onnx.py"]

    clip = corpus / "wav" / "s0_0.wav"
    done = run_alone(folder / "run_onnx.py", folder / "model.onnx", clip)
    samples, rate = soundfile.read(clip)
    answer = load_model(run).predict(samples, rate).iloc[0]
    shares = ", ".join(f"{name} {answer[name]:.3f}" for name in small_runs.CLASSES)
    assert done.stdout == f"{clip}: {answer['label']} ({shares})\n"


def run_alone(script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script where neither melt_ser nor torch can be imported."""
    blocked = "import sys; sys.modules['melt_ser'] = sys.modules['torch'] = None; import runpy; "
    start = blocked + "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", start, str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=script.parent)


def test_the_script_of_an_export_answers_bad_input_with_a_sentence(run: Path, corpus: Path, tmp_path: Path) -> None:
    assert main([str(run), "--out", str(tmp_path / "out")]) == 0
    script, model, clip = tmp_path / "out" / "run_onnx.py", tmp_path / "out" / "model.onnx", corpus / "wav" / "s0_0.wav"
    names = ("other_rate", "long", "empty", "text", "nothing")
    other_rate, long, empty, text, nothing = (tmp_path / f"{name}.wav" for name in names)
    soundfile.write(other_rate, np.zeros(100), 22_050)
    soundfile.write(long, np.zeros(61 * 16_000), 16_000)
    soundfile.write(empty, np.zeros(0), 16_000)
    text.write_text("no audio")
    done = run_alone(script, model, other_rate, long, empty, text, nothing, clip)
    assert done.returncode == 1 and done.stdout.startswith(f"{clip}: ") and done.stdout.count("\n") == 1
    assert done.stderr.splitlines() == [
        f"error: {other_rate} has 22050 Hz; resample it to 16000 Hz.",
        f"error: {long} has 61.0 s; cut it into parts of up to 60 s.",
        f"error: {empty} holds no audio.",
        f"error: {text} cannot be read (Format not recognised); give a WAV, FLAC, OGG or MP3 file.",
        f"error: {nothing} cannot be read (there is no such file); give a WAV, FLAC, OGG or MP3 file.",
    ]
    for wrong in ([], [model]):
        done = run_alone(script, *wrong)
        assert (done.returncode, done.stderr) == (2, "usage: python run_onnx.py model.onnx clip.wav …\n")
    for wrong in (text, nothing):
        done = run_alone(script, wrong, clip)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"error: {wrong} is no model that melt-ser export has written (")


def test_the_lines_of_the_documents_answer_as_the_run(run: Path, corpus: Path, tmp_path: Path) -> None:
    assert main([str(run), "--out", str(tmp_path / "out")]) == 0
    page = (CHECKOUT / "docs" / "deploy.md").read_text(encoding="utf-8")
    [lines] = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "onnxruntime" in block]
    script = tmp_path / "out" / "lines.py"
    script.write_text(lines)
    clip = shutil.copyfile(corpus / "wav" / "s0_0.wav", tmp_path / "out" / "clip.wav")
    done = run_alone(script)
    assert done.returncode == 0, done.stderr
    samples, rate = soundfile.read(clip)
    answer = load_model(run).predict(samples, rate).iloc[0]
    assert ast.literal_eval(done.stdout) == pytest.approx({name: answer[name] for name in small_runs.CLASSES}, abs=1e-4)


def test_the_metadata_tell_all_that_a_user_of_the_file_needs(run: Path, tmp_path: Path) -> None:
    assert main([str(run), "--dtype", "int8", "--out", str(tmp_path / "out")]) == 0
    model = onnx.load(tmp_path / "out" / "model.onnx")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["classes"]) == list(small_runs.CLASSES)
    assert (metadata["sampling_rate"], metadata["number_type"], metadata["model"]) == ("16000", "int8", run.name)
    assert metadata["digest"] == load_model(run).digest()
    assert int(metadata["opset"]) == next(entry.version for entry in model.opset_import if not entry.domain)


def test_a_file_that_differs_from_torch_is_not_left(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def damage(source: Path, target: Path, *_: object) -> None:
        convert(source, target, *_)
        model = onnx.load(target)
        bias = next(weight for weight in model.graph.initializer if weight.name.endswith("head.output.bias"))
        changed = onnx.numpy_helper.to_array(bias) + np.array([1, 0, 0], dtype=np.float32)
        bias.CopyFrom(onnx.numpy_helper.from_array(changed, bias.name))
        onnx.save(model, target)

    convert = onnx_types.convert
    monkeypatch.setattr(onnx_export, "convert", damage)
    assert main([str(run), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: No file was left: on 12 clips of csv the probabilities of the float32 file differ")
    assert "--tolerance" in error and list(tmp_path.iterdir()) == []
    assert main([str(run), "--out", str(tmp_path / "out"), "--tolerance", "1"]) == 0


def test_without_the_corpus_the_file_is_checked_on_noise(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "corpus"
    shutil.copytree(corpus, moved)
    run = small_runs.train(tmp_path / "runs", moved, "trainer=probe", "dataset.folds=2", "dataset.fold=all")[0]
    shutil.rmtree(moved)
    capsys.readouterr()
    assert main([str(run), "--fold", "2", "--clips", "4"]) == 0
    printed = capsys.readouterr()
    assert "4 clips of noise" in printed.out and "UA" not in printed.out
    assert "so the file is checked on noise" in printed.err
    assert (run / "onnx" / "float32_fold2" / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{run}", "--fold", "7"], "has no fold 7"),
        (["{run}", "--out", "{run}"], "has other files, such as config.yaml; name a folder of its own."),
        (["{run}/nothing"], "There is no finished run in"),
    ],
)
def test_a_wrong_argument_is_a_sentence(
    arguments: list[str], sentence: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.format(run=run) for argument in arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_egemaps_is_no_graph(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("opensmile")
    settings = ("backbone=egemaps", "backbone.checkpoint=null", "trainer=probe", "dataset.folds=2")
    run = small_runs.train(tmp_path / "runs", corpus, *settings)[0]
    assert main([str(run)]) == 2
    assert "whose features are measured by a library and are no graph" in capsys.readouterr().err


def test_a_missing_package_is_a_sentence(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("melt_ser.export.find_spec", lambda name: None)
    assert main([str(run)]) == 2
    assert capsys.readouterr().err.endswith("export needs onnx and onnxruntime: pip install 'melt-ser[onnx]'.\n")


def test_the_verb_offers_the_types_of_the_conversion() -> None:
    assert TYPES == onnx_types.TYPES


def test_the_ua_of_several_folds_is_told_to_be_of_trained_clips(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_runs.train(tmp_path / "runs", corpus, "trainer=probe", "dataset.folds=2", "dataset.fold=all")[0]
    capsys.readouterr()
    assert main([str(run), "--clips", "4", "--out", str(tmp_path / "all")]) == 0
    printed = capsys.readouterr()
    assert "UA on these clips" in printed.out
    assert "note: 2 models answer together, and each clip was in the training of all but one" in printed.err
    assert main([str(run), "--clips", "4", "--fold", "2", "--out", str(tmp_path / "one")]) == 0
    assert "answer together" not in capsys.readouterr().err
