"""What was trained on is not scored: recordings are known by their identity, whatever corpus they come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from corpus_trees import meld_row, meld_tree, melt_row, melt_tables
from melt_ser.errors import InputError
from melt_ser.evaluate import evaluate
from melt_ser.launch import compose
from melt_ser.training.run import run
from small_runs import CLASSES, SMALL, corpus, train

EMOTIONS = ("joy", "anger", "sadness")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MELD with twelve train, two dev and four test dialogues of three utterances, ten and three of them in MELT."""
    root = tmp_path_factory.mktemp("meld")
    annotations = {
        split: [
            meld_row(dialogue, number, emotion=EMOTIONS[number]) for dialogue in range(count) for number in range(3)
        ]
        for split, count in (("train", 12), ("dev", 2), ("test", 4))
    }
    meld_tree(root, annotations)
    kept = {"train": annotations["train"][:30], "test": annotations["test"][:9]}
    melt_tables(root, {split: [melt_row(row, row[3]) for row in rows] for split, rows in kept.items()})
    return root


@pytest.fixture(scope="module")
def melt_run(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    return run(compose([*SMALL, "dataset=melt", f"dataset.root={release}", f"out={out}"])).parent


def score(melt_run: Path, release: Path, *overrides: str) -> list[dict[str, Any]]:
    """The rows of evaluating the run on MELD."""
    typed = [f"run={melt_run}", "dataset=meld", f"dataset.root={release}", "device=cpu", *overrides]
    evaluate(compose(typed, "evaluate"))
    rows = json.loads((melt_run / "result.json").read_text())["evals"]
    return [row for row in rows if row["corpus"] == "meld"]


def test_no_dialogue_and_no_recording_is_in_two_parts(melt_run: Path) -> None:
    splits = pd.read_csv(melt_run / "splits.csv", keep_default_na=False)
    splits["dialogue"] = splits["source"].str.rsplit("_", n=1).str[0]
    for column in ("source", "dialogue"):
        assert (splits.groupby(column)["split"].nunique() == 1).all()
    assert dict(splits["split"].value_counts()).keys() == {"train", "dev", "test"}


def test_melt_is_not_scored_on_melds_training_data(melt_run: Path, release: Path) -> None:
    sentence = r"30 of the 36 recordings of 'meld' \(train\) were trained on; .*eval\.allow_overlap=true"
    with pytest.raises(InputError, match=sentence):
        score(melt_run, release, "eval.split=train")
    assert [row["overlap"] for row in score(melt_run, release)] == [0, 0]  # MELD's test is allowed
    rows = score(melt_run, release, "eval.split=train", "eval.allow_overlap=true")
    assert [row["overlap"] for row in rows if row["split"] == "train"] == [30, 30]


def test_the_training_command_refuses_it_too_and_before_it_trains(release: Path, tmp_path: Path) -> None:
    typed = [*SMALL, "dataset=melt", f"dataset.root={release}", f"out={tmp_path}", "eval.corpora=[meld]"]
    with pytest.raises(InputError, match="30 of the 36 recordings of 'meld'"):
        run(compose([*typed, f"+eval.roots.meld={release}", "eval.split=train"]))
    assert not list(tmp_path.rglob("metrics.csv"))


def test_the_size_of_evaluation_batches_does_not_change_predictions(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c", each=9)
    folder, result = train(tmp_path / "runs", root, "eval.batch_size=32", "dataset.folds=4")
    together = pd.read_csv(folder / result["evals"][0]["predictions"])
    typed = [f"run={folder}", "dataset=csv", f"dataset.root={root}", "dataset.table=table.csv", "device=cpu"]
    evaluate(compose([*typed, "eval.batch_size=1", "dataset.folds=4"], "evaluate"))
    alone = pd.read_csv(folder / "predictions" / "csv.csv")
    assert list(alone["utterance"]) == list(together["utterance"])
    assert np.abs(alone[list(CLASSES)] - together[list(CLASSES)]).to_numpy().max() < 1e-4
