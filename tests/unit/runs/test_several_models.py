"""A run with several folds on another corpus: the mean over its models, and their ensemble, with each clip once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import melt_ser
from melt_ser.cli.compose import compose
from melt_ser.core.errors import SetupError
from melt_ser.evaluate import evaluate
from melt_ser.evaluation.metrics import METRICS
from melt_ser.models.backbone import Backbone
from melt_ser.reporting.collect import collect
from melt_ser.reporting.utterances import read_answers
from melt_ser.runs.table import evaluation_table
from small_runs import CLASSES, corpus, train

pytestmark = pytest.mark.slow

FOLDS = ("dataset.name=own", "dataset.folds=3", "dataset.fold=all")
FROZEN = ("trainer.freeze=everything", "trainer.epochs=2")
COLUMNS = ["utterance", "file", "speaker", "fold", "reference", "prediction", "correct"]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The corpora `own` of three speakers and `other` of two, without happy speech."""
    folder = tmp_path_factory.mktemp("corpora")
    return {
        "own": corpus(folder / "own", speakers=3),
        "other": corpus(folder / "other", speakers=2, each=10, classes=("angry", "sad"), seed=1),
    }


@pytest.fixture(scope="module")
def scored(roots: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of three folds that learn, scored on `other`: its folder and its result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELT_SER_CACHE", str(tmp_path_factory.mktemp("cache")))
        folder, _ = train(tmp_path_factory.mktemp("runs"), roots["own"], *FOLDS, "trainer.head_learning_rate=1e-2")
        score(folder, roots["other"])
        return folder, json.loads((folder / "result.json").read_text())


def score(run: Path, root: Path) -> None:
    typed = [f"run={run}", "dataset=csv", "dataset.name=other", f"dataset.root={root}", "dataset.table=table.csv"]
    evaluate(compose([*typed, "device=cpu"], "evaluate"))


def rows_of(result: dict[str, Any], corpus: str, answer_set: str = "closed") -> dict[Any, dict[str, Any]]:
    return {row["fold"]: row for row in result["evals"] if (row["corpus"], row["answer_set"]) == (corpus, answer_set)}


def test_each_clip_counts_once_in_the_mean_and_in_the_ensemble(scored: tuple[Path, dict[str, Any]]) -> None:
    _, result = scored
    for answer_set in ("closed", "open"):
        rows = rows_of(result, "other", answer_set)
        assert list(rows) == ["mean", "ensemble", 1, 2, 3]
        assert [(row["n"], row["models"]) for row in rows.values()] == [(20, 3), (20, 3), (20, 1), (20, 1), (20, 1)]
        mean, folds = rows["mean"], [rows[number] for number in (1, 2, 3)]
        for name in METRICS:
            of_models = [row[name] for row in folds]
            assert mean[name] == pytest.approx(np.mean(of_models))
            assert mean["spread"][name] == pytest.approx(np.std(of_models, ddof=1))
        assert mean["confusion"] == pytest.approx(np.mean([row["confusion"] for row in folds], axis=0))
        assert [sum(line) for line in mean["confusion"] if sum(line)] == pytest.approx([10, 10])
        for name in ("recall", "predicted"):
            for key, value in mean[name].items():
                of_models = [row[name][key] for row in folds]
                assert value == (None if None in of_models else pytest.approx(np.mean(of_models)))
        for key in ("ece", "temperature", "ece_with_temperature"):
            assert mean["calibration"][key] == pytest.approx(np.mean([row["calibration"][key] for row in folds]))
        assert sum(point["n"] for point in mean["calibration"]["curve"]) == pytest.approx(20)
        for part, *of_models in zip(mean["slices"], *(row["slices"] for row in folds), strict=True):
            assert (part["by"], part["value"], part["n"]) == tuple(of_models[0][key] for key in ("by", "value", "n"))
            assert part["ua"] == pytest.approx(np.mean([other["ua"] for other in of_models]))
        assert mean["ci_unit"] == "speaker" and rows[1]["spread"] == {}
    own = rows_of(result, "own")
    assert list(own) == ["all", 1, 2, 3] and (own["all"]["n"], own["all"]["models"]) == (18, 1)


def test_predictions_say_who_spoke_who_answered_and_who_was_right(scored: tuple[Path, dict[str, Any]]) -> None:
    folder, result = scored
    rows = rows_of(result, "other")
    assert [row["predictions"] for row in rows.values()] == [
        *("predictions/other.csv", "predictions/other_ensemble.csv"),
        *(f"predictions/other_fold{number}.csv" for number in (1, 2, 3)),
    ]
    everyone, ensemble, *folds = (pd.read_csv(folder / row["predictions"]) for row in rows.values())
    assert list(everyone.columns) == [*COLUMNS, *CLASSES]
    pd.testing.assert_frame_equal(everyone, pd.concat(folds, ignore_index=True))
    assert everyone["fold"].tolist() == [1] * 20 + [2] * 20 + [3] * 20
    assert (everyone["correct"] == (everyone["prediction"] == everyone["reference"])).all()
    assert (everyone["file"] == everyone["utterance"] + ".wav").all()
    assert set(everyone["speaker"]) == {"s0", "s1"} and not (folder / "groups").exists()
    assert "groups" not in rows["mean"] and set(ensemble["fold"]) == {"ensemble"}
    mean = everyone.groupby("utterance", sort=False)[list(CLASSES)].mean()
    np.testing.assert_allclose(ensemble[list(CLASSES)], mean, atol=1e-7)
    answers = ensemble[["angry", "sad"]].idxmax(axis="columns")
    assert rows["ensemble"]["wa"] == pytest.approx((answers == ensemble["reference"]).mean())


def test_training_with_other_corpora_scores_them_in_the_same_way(
    roots: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo corpus is scored by the training, and once more by `evaluate`: the rows are the same."""
    folder, result = train(tmp_path, roots["own"], *FOLDS, "eval.corpora=[own,demo_de]", "labels=four")
    rows = rows_of(result, "demo_de")
    assert list(rows) == ["mean", "ensemble", 1, 2, 3]
    assert {row["n"] for row in rows.values()} == {rows[1]["n"]}
    assert "±" in capsys.readouterr().out
    evaluate(compose([f"run={folder}", "dataset=demo_de", "device=cpu"], "evaluate"))
    again = rows_of(json.loads((folder / "result.json").read_text()), "demo_de")
    for fold, row in rows.items():
        assert again[fold]["confusion"] == row["confusion"], fold
        assert again[fold]["ua_ci95"] == row["ua_ci95"]


def test_readers_of_runs_take_the_mean(scored: tuple[Path, dict[str, Any]]) -> None:
    folder, result = scored
    [run] = collect([folder]).runs
    whole = run.whole_evals()
    assert {(row.corpus, row.fold) for row in whole} == {("own", "all"), ("other", "mean")}
    mean = next(row for row in whole if row.fold == "mean")
    tables = read_answers(run, mean)
    assert [len(table) for table in tables] == [20, 20, 20]
    assert all(table["utterance"].is_unique and set(table["group"]) == {"s0", "s1"} for table in tables)
    table = melt_ser.read_runs(folder)
    [row] = table[(table["fold"] == "mean") & (table["answer_set"] == "closed")].to_dict("records")
    assert (row["n"], row["models"]) == (20, 3)
    assert row["ua_spread"] == pytest.approx(rows_of(result, "other")["mean"]["spread"]["ua"])
    loaded = melt_ser.Run(folder)
    assert len(loaded.predictions("other")) == 60 and list(loaded.predictions("other"))[:7] == COLUMNS
    assert len(loaded.predictions("other", fold="ensemble")) == 20
    answers = loaded.predictions("other")
    assert (answers["correct"] == (answers["prediction"] == answers["reference"])).all()
    assert loaded.confusion("other").to_numpy().sum() == pytest.approx(20)
    with pytest.raises(SetupError, match="has no fold 7 of 'other'; choose from: ensemble, 1, 2, 3"):
        loaded.predictions("other", fold=7)
    columns = evaluation_table(loaded.result.evals).columns
    assert {"mean", "ensemble"} <= set(columns[1].cells)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of clips of each pass through the waveform encoder, the first part of every backbone."""
    clips: list[int] = []
    convolve = Backbone.convolve

    def counted(self: Backbone, audio: Any, lengths: Any) -> Any:
        clips.append(len(audio))
        return convolve(self, audio, lengths)

    monkeypatch.setattr(Backbone, "convolve", counted)
    return clips


@pytest.mark.parametrize("settings", [("head=attention",), ("head=linear", "cache.features=false")])
def test_a_frozen_backbone_is_computed_once_for_all_folds_on_another_corpus(
    settings: tuple[str, ...], roots: dict[str, Path], tmp_path: Path, passes: list[int]
) -> None:
    def clips(out: str, *overrides: str) -> tuple[Path, int]:
        passes.clear()
        folder, _ = train(tmp_path / out, roots["own"], *FOLDS, *FROZEN, "labels=four", *settings, *overrides)
        return folder, sum(passes)

    _, alone = clips("alone")
    if "cache.features=false" not in settings:
        _, alone = clips("cached")  # the features of the own corpus are now at hand
    folder, together = clips("together", "eval.corpora=[own,demo_de]")
    result = json.loads((folder / "result.json").read_text())
    number = rows_of(result, "demo_de")["mean"]["n"]
    assert together - alone == number
    passes.clear()
    evaluate(compose([f"run={folder}", "dataset=demo_de", "device=cpu"], "evaluate"))
    assert sum(passes) == number


def test_a_stopped_run_scores_finished_folds_together_with_the_others(roots: dict[str, Path], tmp_path: Path) -> None:
    settings = (*FOLDS, *FROZEN, "labels=four", "head=attention", "eval.corpora=[own,demo_de]")
    folder, before = train(tmp_path, roots["own"], *settings)
    answers = {path.name: path.read_text() for path in (folder / "predictions").iterdir()}
    (folder / "result.json").unlink()
    shutil.rmtree(folder / "folds" / "3")
    _, after = train(tmp_path, roots["own"], *settings)
    assert {path.name: path.read_text() for path in (folder / "predictions").iterdir()} == answers
    assert after["evals"] == before["evals"]
