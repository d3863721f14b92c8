"""A run whose family is the user's own module: `predict`, `evaluate` and the library load it by its name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import melt_ser
from melt_ser.core.errors import SetupError
from melt_ser.evaluate import main as evaluate
from melt_ser.predict import main as predict
from small_runs import corpus, train

MODULE = """
from dataclasses import replace
from melt_ser.models.families import wav2vec2

def load_backbone(config, *more):
    backbone = wav2vec2.load_backbone(replace(config, family="hubert"), *more)
    backbone.family = "colleague"
    return backbone
"""
REFUSED = "was trained with backbone.family=colleague, a module that is not melt_ser's; if you trust it, name it: "


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "modules").mkdir()
    (folder / "modules" / "colleague.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "modules")
        return train(folder / "runs", corpus(folder / "c"), "backbone.family=colleague", "trainer=frozen")[0]


@pytest.fixture(autouse=True)
def unknown(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Python find the module, as in a new process that has not imported it."""
    monkeypatch.delitem(sys.modules, "colleague", raising=False)
    monkeypatch.syspath_prepend(run.parents[3] / "modules")


@pytest.fixture
def errors(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capsys.readouterr().err


def test_predict_imports_the_named_family_only(run: Path, errors: Callable[[], str]) -> None:
    clip = str(next((run.parents[3] / "c").rglob("*.wav")))
    assert predict([str(run), clip, "--device", "cpu"]) == 2
    assert f"{REFUSED}predict … --family colleague" in errors()
    assert "colleague" not in sys.modules
    assert predict([str(run), clip, "--device", "cpu", "--family", "json"]) == 2
    assert "--family (family= in Python) 'json' is the module" in errors()
    assert predict([str(run), clip, "--device", "cpu", "--family", "colleague"]) == 0


def test_evaluate_asks_for_the_family_before_it_reads_the_corpus(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, errors: Callable[[], str]
) -> None:
    words = ["melt_ser", str(run), "dataset=csv", "dataset.name=other", "dataset.table=table.csv", "device=cpu"]
    monkeypatch.setattr(sys, "argv", [*words, f"dataset.root={tmp_path / 'not there'}"])
    assert evaluate() == 2
    assert REFUSED in errors()
    monkeypatch.setattr(sys, "argv", [*words, f"dataset.root={corpus(tmp_path / 'other', seed=5)}", "family=colleague"])
    assert evaluate() == 0
    assert melt_ser.Run(run).corpora == ["csv", "other"]


def test_the_library_takes_the_name_of_the_family(run: Path) -> None:
    with pytest.raises(SetupError, match=r"load_model\(…, family='colleague'\) in Python"):
        melt_ser.load_model(run, device="cpu")
    assert melt_ser.load_model(run, device="cpu", family="colleague").classes == ["angry", "happy", "sad"]
