"""`import melt_ser`: train, label, read corpora and runs from Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from matplotlib import pyplot

import melt_ser
from checkout import CHECKOUT
from small_runs import CLASSES, SMALL, corpus

ARCHITECTURE = dict(
    override.removeprefix("+backbone.architecture.").split("=") for override in SMALL if override.startswith("+")
)
SETTINGS = {
    "backbone": "hubert_tiny_random",
    "backbone.architecture": {name: int(value) for name, value in ARCHITECTURE.items()},
    "dataset": "csv",
    "dataset.table": "table.csv",
    "augment": "nothing",
    "trainer.batch_size": 8,
    "trainer.label_smoothing": 0.0,
    "trainer.refit": False,
    "device": "cpu",
}


def two_folds(root: Path) -> dict[str, object]:
    return {**SETTINGS, "dataset.root": root, "dataset.folds": 2, "dataset.fold": "all"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("corpus") / "c")


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> melt_ser.Run:
    """A run of two folds."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELT_SER_CACHE", str(folder / "cache"))
        return melt_ser.train(two_folds(root), trainer={"epochs": 1}, out=folder)


def python(code: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)


def test_importing_the_library_imports_nothing_heavy() -> None:
    heavy = "'torch', 'pandas', 'numpy', 'hydra', 'omegaconf', 'transformers', 'matplotlib', 'rich'"
    done = python(f"import sys, melt_ser; sys.exit(str({{{heavy}}} & set(sys.modules) or ''))")
    assert done.stderr.strip() == ""


def test_the_library_keeps_its_functions_when_a_verb_is_imported() -> None:
    import melt_ser.predict
    import melt_ser.train
    from melt_ser.train import main

    assert callable(melt_ser.train) and callable(melt_ser.predict) and callable(main)
    assert sorted(name for name in melt_ser.__all__ if not hasattr(melt_ser, name)) == []
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        melt_ser.trian  # noqa: B018


def test_training_gives_the_run_and_its_tables(run: melt_ser.Run) -> None:
    assert (run.corpora, run.classes) == (["csv"], list(CLASSES))
    assert any("speaker" in sentence or "random weights" in sentence for sentence in run.warnings)
    everything, first = run.predictions(), run.predictions("csv", fold=1)
    columns = ["utterance", "file", "speaker", "fold", "reference", "prediction", "correct"]
    assert list(everything) == [*columns, *CLASSES]
    assert len(everything) == 24 and set(first["utterance"]) < set(everything["utterance"])
    counts = pd.crosstab(everything["reference"], everything["prediction"])
    pd.testing.assert_frame_equal(
        run.confusion(), counts.reindex(index=CLASSES, columns=CLASSES, fill_value=0), check_names=False
    )
    assert run.calibration()["n"].sum() == 24
    assert {"by", "value", "n", "ua", "wa"} == set(run.slices())


def test_the_same_settings_from_python_are_the_same_run(run: melt_ser.Run, root: Path) -> None:
    from melt_ser.cli.compose import load_config
    from melt_ser.runs.identity import identity

    folds = ("dataset.folds=2", "dataset.fold=all")
    config = load_config(*SMALL, "dataset=csv", "dataset.table=table.csv", *folds, f"dataset.root={root}")
    assert identity(config) == run.folder.name


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"trainer": {"epochz": 3}}, "There is no key 'epochz' in 'trainer'; did you mean 'epochs'?"),
        ({"backbone": "wavlmm"}, "There is no backbone 'wavlmm'; did you mean 'wavlm'?"),
        ({"trainer.epochs": 0}, "trainer.epochs is at least 1, not 0."),
        ({"trainer.epochs": "many"}, "trainer.epochs: Value 'many' of type 'str' could not be converted to Integer."),
        ({"labels": {"classes": ["angry", "sad"]}}, "labels.classes has entries, each with a name: '"),
        ({"labels": {"classes": "angry"}}, "labels.classes has entries, each with a name: '"),
        ("trainer.epochs=3", "The settings are a mapping, such as {'trainer.epochs': 3}, not 'trainer.epochs=3'."),
        ({"eval.rootz": {"emodb": "/data"}}, "There is no key 'rootz' in 'eval'; did you mean 'roots'?"),
        ({"dataset": "emodb", "dataset.root": "/no where"}, "Corpus 'emodb' is not at /no where; give its folder"),
    ],
)
def test_a_wrong_setting_from_python_is_the_sentence_of_the_command(
    settings: Any, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(melt_ser.SetupError) as raised:
        melt_ser.train(settings, out=tmp_path)
    assert str(raised.value).startswith(sentence)


@pytest.mark.parametrize(
    "value", ["it's", "a b/ü=(1)", "50%", "null", "true", "1e3", "[a]", "{a}", "a,b", " ", "", "\\'", "a\\", '"q"']
)
def test_a_text_setting_from_python_arrives_as_it_is(value: str) -> None:
    from melt_ser.cli.compose import compose_settings

    assert compose_settings({"experiment_name": value}).experiment_name == value
    assert compose_settings({"dataset": {"label_map": {value: "sad"}}}).dataset.label_map[value] == "sad"


def test_other_values_from_python_arrive_as_they_are() -> None:
    from melt_ser.cli.compose import compose_settings

    settings = {"trainer.patience": None, "force": True, "seed": np.int64(3), "eval.corpora": ("a b", "c")}
    composed = compose_settings({**settings, "out": Path("a b"), "cache.max_gib": 0.5})
    assert (composed.trainer.patience, composed.force, composed.seed) == (None, True, 3)
    assert (composed.eval.corpora, composed.out, composed.cache.max_gib) == (["a b", "c"], "a b", 0.5)


def test_a_fold_is_chosen_to_load_a_model(run: melt_ser.Run) -> None:
    assert len(melt_ser.load_model(run, device="cpu").classifiers) == 2
    with pytest.raises(melt_ser.SetupError, match=r"has no fold 3; choose from: 1, 2\."):
        melt_ser.load_model(run.folder, fold=3, device="cpu")
    by_fold = melt_ser.load_model(str(run.folder), fold=2, device="cpu")
    by_folder = melt_ser.load_model(run.folder / "folds" / "2" / "model", device="cpu")
    wave = np.sin(np.arange(8000)).astype(np.float32)
    pd.testing.assert_frame_equal(by_fold.predict(wave, 16000), by_folder.predict(wave, 16000))


@pytest.fixture(scope="module")
def model(run: melt_ser.Run) -> melt_ser.Model:
    return melt_ser.load_model(run, fold=1, device="cpu")


def test_an_array_is_labelled_as_its_file(model: melt_ser.Model, tmp_path: Path) -> None:
    stereo = 0.1 * np.random.default_rng(0).standard_normal((22_050, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", stereo, 22_050, subtype="FLOAT")
    of_file = model.predict(tmp_path / "a.wav")
    assert list(of_file) == ["file", "label", *CLASSES]
    pd.testing.assert_frame_equal(model.predict(stereo, 22_050), of_file.drop(columns="file"))
    integers = np.round(stereo * 2**15).astype(np.int16)
    np.testing.assert_allclose(model.predict(integers, 22_050)[list(CLASSES)], of_file[list(CLASSES)], atol=1e-3)
    windows = model.predict(stereo, 22_050, window=0.4)
    assert windows[["start", "end"]].to_numpy().tolist() == [[0.0, 0.4], [0.4, 0.8], [0.8, 1.0]]
    pd.testing.assert_frame_equal(melt_ser.predict(model, tmp_path / "a.wav", window=0.4).drop(columns="file"), windows)


def test_a_long_array_is_labelled_as_its_file(
    model: melt_ser.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave = 0.1 * np.random.default_rng(0).standard_normal(40_000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    monkeypatch.setattr("melt_ser.evaluation.labelling.LONGEST_SECONDS", 1.0)
    of_file = model.predict(tmp_path / "a.wav").drop(columns="file")
    pd.testing.assert_frame_equal(model.predict(wave, 16_000), of_file)


def test_a_folder_has_a_row_for_each_file_and_the_reason_of_a_bad_one(model: melt_ser.Model, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "good.wav", np.sin(np.arange(8000)), 16_000)
    (tmp_path / "bad.wav").write_text("no audio")
    table = model.predict(tmp_path).set_index("file")
    bad, good = table.loc[str(tmp_path / "bad.wav")], table.loc[str(tmp_path / "good.wav")]
    assert (bad["label"], good["error"]) == ("", "") and good["label"] in CLASSES
    assert "cannot be decoded" in bad["error"] and bad[list(CLASSES)].isna().all()
    with pytest.raises(melt_ser.InputError, match="cannot be decoded"):
        model.predict(str(tmp_path / "bad.wav"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(melt_ser.InputError, match="holds no audio files"):
        model.predict(tmp_path / "empty")


@pytest.mark.parametrize(
    ("array", "rate", "sentence"),
    [
        (np.zeros(8000), None, "needs its sampling_rate in Hz"),
        (np.zeros(8000), 0, "sampling_rate is a whole number from 1000 to 384000 Hz, not 0"),
        (np.zeros((2, 8000)), 16_000, r"more channels than samples; give its transpose, \.T\."),
        (np.zeros((2, 2, 2)), 16_000, r"the shape \(samples,\) or \(samples, channels\), not \(2, 2, 2\)"),
        (np.zeros(0), 16_000, "the shape"),
        (np.full(8000, np.nan), 16_000, "the waveform: some samples are NaN or infinite"),
        (np.zeros(8000, dtype=complex), 16_000, "floats or signed integers, not complex128"),
        (np.zeros(8000), 16_000.5, "sampling_rate is a whole number"),
    ],
)
def test_an_array_that_is_no_sound_is_told(
    model: melt_ser.Model, array: np.ndarray, rate: int | None, sentence: str
) -> None:
    with pytest.raises(melt_ser.MeltSerError, match=sentence):
        model.predict(array, rate)


def test_a_wrong_argument_of_predict_is_told(model: melt_ser.Model, tmp_path: Path) -> None:
    with pytest.raises(melt_ser.SetupError, match=r"window is from 0\.1 to 60 seconds, not 61"):
        model.predict(np.zeros(8000), 16_000, window=61)
    with pytest.raises(melt_ser.SetupError, match="sampling_rate is for a waveform"):
        model.predict(tmp_path / "a.wav", 16_000)
    for audio, kind in ((torch.zeros(8000), "Tensor of Tensor"), ([0.0, 0.1], "list of float"), (3, "int")):
        with pytest.raises(melt_ser.SetupError, match=f"a path or a list of paths, not {kind}; of a tensor give"):
            model.predict(audio, 16_000)  # type: ignore[arg-type]


def test_a_corpus_is_a_table_with_its_folds(root: Path) -> None:
    ours = melt_ser.load_corpus("csv", root=root, table="table.csv", folds=4)
    assert (ours.name, ours.root, ours.classes, len(ours.table)) == ("csv", root, list(CLASSES), 24)
    assert {"utterance", "audio", "speaker", "class"} <= set(ours.table)
    assert [fold.fold for fold in ours.folds] == [1, 2, 3, 4]
    for fold in ours.folds:
        assert len(fold.train) + len(fold.dev) + len(fold.test) == 24
        assert not set(fold.test["speaker"]) & (set(fold.train["speaker"]) | set(fold.dev["speaker"]))
    [second] = melt_ser.load_corpus("csv", root=root, table="table.csv", folds=4, fold=2).folds
    pd.testing.assert_frame_equal(second.test, ours.folds[1].test)
    demo = melt_ser.load_corpus("demo", labels={"classes": {"low": ["sad"], "high": ["angry", "happy"]}})
    assert demo.classes == ["low", "high"] and [fold.fold for fold in demo.folds] == [None]


def test_runs_are_a_table_and_are_compared(run: melt_ser.Run, root: Path, tmp_path: Path) -> None:
    table = melt_ser.read_runs(run.folder.parents[2])
    assert list(dict.fromkeys(table["folder"])) == [str(run.folder)]
    assert table["ua"].between(0, 1).all()
    second = melt_ser.train(two_folds(root), head="mlp", trainer={"epochs": 1}, out=tmp_path)
    compared = melt_ser.compare_runs(run.folder, second.folder)
    assert len(compared) == 1 and compared["low"].item() <= compared["difference"].item() <= compared["high"].item()
    assert 0 <= compared["p"].item() <= 1
    with pytest.raises(melt_ser.SetupError, match=r"There is no folder .*nowhere"):
        melt_ser.read_runs(tmp_path / "nowhere")


@pytest.mark.slow
def test_a_program_that_uses_the_library_is_silent(root: Path, tmp_path: Path) -> None:
    code = (
        "import melt_ser\n"
        f"settings = { ({**SETTINGS, 'dataset.root': str(root), 'trainer.epochs': 1})!r}\n"
        f"run = melt_ser.train(settings, out='runs')\n"
        f"melt_ser.predict(run, {str(root / 'wav')!r})"
    )
    done = python(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_ten_lines_of_the_readme_run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = [(CHECKOUT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/library.md")]
    blocks = [block for page in pages for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]
    lines = next(block for block in blocks if "confusion" in block)
    assert len([line for line in lines.splitlines() if line]) <= 12
    single = melt_ser.train({**SETTINGS, "dataset.root": root}, trainer={"epochs": 1}, out=tmp_path / "runs")
    assert single.classes == list(CLASSES)
    shutil.copy(root / "wav" / "s0_0.wav", tmp_path / "clip.wav")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    exec(lines, {})
    pyplot.close("all")
    assert any(name in capsys.readouterr().out for name in CLASSES)
    assert (tmp_path / "confusion.png").stat().st_size > 0


@pytest.mark.slow
def test_the_lines_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    [lines] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    soundfile.write(tmp_path / "clip.wav", np.sin(np.arange(16_000)), 16_000)
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    assert "speaker" in capsys.readouterr().out


USER = """
import numpy as np
import pandas as pd
import melt_ser

run: melt_ser.Run = melt_ser.train(backbone="wavlm", trainer={"epochs": 3})
model = melt_ser.load_model(run, fold=1)
table: pd.DataFrame = melt_ser.predict(model, np.zeros(16_000), 16_000)
model.predict(["a.wav", "b.wav"], window=1.0)
corpus = melt_ser.load_corpus("emodb", root="/data", folds=5)
sizes: list[int] = [len(fold.train) for fold in corpus.folds]
reveal_type(melt_ser.read_runs("runs"))
melt_ser.load_model(3)
"""


@pytest.mark.slow
def test_a_users_code_is_type_checked_against_the_library(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = true\nfollow_imports = silent\nignore_missing_imports = true\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "user.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(CHECKOUT / "src")},
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("user.py")]
    assert len(said) == 2, done.stdout
    assert 'Revealed type is "pandas' in said[0]
    assert 'Argument 1 to "load_model" has incompatible type "int"' in said[1]
