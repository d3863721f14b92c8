"""`export` of models of attributes, and of classes and attributes: outputs on their scale, checked against torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import soundfile

from melt_ser import load_model
from melt_ser.export import main
from melt_ser.models import onnx_types
from melt_ser.runs import onnx_export
from small_runs import CLASSES, corpus, train

SCALES = {"arousal": [1.0, 7.0], "valence": [-1.0, 1.0]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = corpus(tmp_path_factory.mktemp("corpus") / "c")
    table = pd.read_csv(folder / "table.csv")
    places = np.array([CLASSES.index(label) for label in table["label"]])
    table = table.assign(arousal=2.0 + 2 * places, valence=places - 1.0)
    table.loc[0, "valence"] = np.nan
    table.to_csv(folder / "table.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def runs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("runs")
    scales = [f"+dataset.attributes.{name}={scale}".replace(" ", "") for name, scale in SCALES.items()]
    common = [*scales, "dataset.folds=2", "trainer=frozen", "trainer.epochs=2"]
    return {
        target: train(out, root, *common, f"dataset.target={target}", *more)[0]
        for target, more in (("attributes", ["dataset.fold=all"]), ("several", []))
    }


@pytest.mark.parametrize("dtype", onnx_types.TYPES)
def test_an_exported_run_rates_a_clip_without_melt_ser(
    dtype: str, runs: dict[str, Path], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["attributes"]
    assert main([str(run), "--dtype", dtype]) == 0
    printed = capsys.readouterr().out
    assert "24 clips of csv, alone and in batches: attributes differ from torch's by up to" in printed
    assert "CCC on these clips: " in printed and "probabilities" not in printed and "UA" not in printed
    folder = run / "onnx" / dtype
    clip = root / "wav" / "s0_0.wav"
    command = [sys.executable, str(folder / "run_onnx.py"), str(folder / "model.onnx"), str(clip)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer = load_model(run).predict(*soundfile.read(clip)).iloc[0]
    name, shown = done.stdout.rstrip("\n").split(": ")
    assert name == str(clip)
    found = {word.split()[0]: float(word.split()[1]) for word in shown.split(", ")}
    assert list(found) == ["arousal", "valence"]
    for attribute, (low, high) in SCALES.items():
        bound = {"float32": 1e-3, "float16": 1e-2, "int8": 0.1}[dtype] * (high - low)
        assert found[attribute] == pytest.approx(answer[attribute], abs=bound)


def test_classes_and_attributes_are_outputs_side_by_side_and_the_metadata_have_both(
    runs: dict[str, Path], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(runs["several"]), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    for sentence in ("probabilities differ", "attributes differ", "UA on these clips", "CCC on these clips"):
        assert sentence in printed
    path = tmp_path / "out" / "model.onnx"
    model = onnx.load(path)
    assert [output.name for output in model.graph.output] == ["probabilities", "arousal", "valence"]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["classes"]) == list(CLASSES) and json.loads(metadata["attributes"]) == SCALES
    command = [sys.executable, str(path.parent / "run_onnx.py"), str(path), str(root / "wav" / "s0_0.wav")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "(angry 0." in done.stdout and "), arousal " in done.stdout and ", valence " in done.stdout


def test_a_file_whose_attributes_differ_from_torch_is_not_left(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def damage(source: Path, target: Path, *others: object) -> None:
        convert(source, target, *others)
        model = onnx.load(target)
        bias = next(weight for weight in model.graph.initializer if weight.name.endswith("head.output.bias"))
        changed = onnx.numpy_helper.to_array(bias) + np.array([0, 0.5], dtype=np.float32)
        bias.CopyFrom(onnx.numpy_helper.from_array(changed, bias.name))
        onnx.save(model, target)

    convert = onnx_types.convert
    monkeypatch.setattr(onnx_export, "convert", damage)
    for dtype in ("float32", "int8"):
        command = [str(runs["attributes"]), "--fold", "1", "--dtype", dtype, "--out", str(tmp_path / "out")]
        assert main(command) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert f"the attributes of the {dtype} file differ from torch's by up to 0.25 of the scale" in error
        assert list(tmp_path.iterdir()) == []
    assert main([*command, "--tolerance", "0.5"]) == 0
