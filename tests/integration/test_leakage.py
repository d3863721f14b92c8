"""No model is scored on a recording that it was trained on, even if the recording comes in another corpus."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from corpus_trees import meld_row, meld_tree, melt_row, melt_tables, tone
from melt_ser.cli.compose import compose
from melt_ser.core.errors import InputError
from melt_ser.evaluate import evaluate
from melt_ser.runs.run import run
from small_runs import CLASSES, SMALL, corpus, outcome, train

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
    pitches = itertools.count(200)
    meld_tree(root, annotations, lambda path: tone(path, frequency=next(pitches)))
    kept = {"train": annotations["train"][:30], "test": annotations["test"][:9]}
    melt_tables(root, {split: [melt_row(row, row[3]) for row in rows] for split, rows in kept.items()})
    return root


@pytest.fixture(scope="module")
def melt_run(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    return run(compose([*SMALL, "dataset=melt", f"dataset.root={release}", f"out={out}"])).parent


def score(melt_run: Path, release: Path, *overrides: str) -> list[dict[str, Any]]:
    """Evaluate the run on MELD and return the rows of the result."""
    typed = [f"run={melt_run}", "dataset=meld", f"dataset.root={release}", "device=cpu", *overrides]
    evaluate(compose(typed, "evaluate"))
    rows = json.loads((melt_run / "result.json").read_text())["evals"]
    return [row for row in rows if row["corpus"] == "meld"]


def test_a_run_has_no_dialogue_and_no_recording_in_two_parts(melt_run: Path) -> None:
    splits = pd.read_csv(melt_run / "splits.csv", keep_default_na=False)
    splits["dialogue"] = splits["source"].str.rsplit("_", n=1).str[0]
    for column in ("source", "dialogue"):
        assert (splits.groupby(column)["split"].nunique() == 1).all()
    assert dict(splits["split"].value_counts()).keys() == {"train", "dev", "test"}


def test_evaluate_refuses_to_score_a_melt_run_on_melds_training_data(melt_run: Path, release: Path) -> None:
    sentence = r"30 of the 36 recordings of 'meld' \(train\) were trained on; .*eval\.allow_overlap=true"
    with pytest.raises(InputError, match=sentence):
        score(melt_run, release, "eval.split=train")
    assert [row["overlap"] for row in score(melt_run, release)] == [0, 0]  # MELD's test part was not trained on
    rows = score(melt_run, release, "eval.split=train", "eval.allow_overlap=true")
    assert [row["overlap"] for row in rows if row["split"] == "train"] == [30, 30]


def test_train_refuses_an_overlapping_test_corpus_before_it_trains(release: Path, tmp_path: Path) -> None:
    typed = [*SMALL, "dataset=melt", f"dataset.root={release}", f"out={tmp_path}", "eval.corpora=[meld]"]
    with pytest.raises(InputError, match="30 of the 36 recordings of 'meld'"):
        run(compose([*typed, f"+eval.roots.meld={release}", "eval.split=train"]))
    assert not list(tmp_path.rglob("metrics.csv"))


def test_evaluate_recognises_a_copy_under_another_name_by_its_samples(tmp_path: Path) -> None:
    root, other = corpus(tmp_path / "c"), tmp_path / "other"
    folder, result = train(tmp_path / "runs", root)
    trained_on = result["train"]["n"] + result["train"]["folds"][0]["n_dev"]
    (other / "flac").mkdir(parents=True)
    table = pd.read_csv(root / "table.csv").drop(columns="speaker")
    for number, name in enumerate(table["audio"]):
        soundfile.write(other / "flac" / f"{number}.flac", *soundfile.read(root / name, dtype="int16"))
    table.assign(audio=[f"flac/{number}.flac" for number in table.index]).to_csv(other / "table.csv", index=False)
    again = [f"run={folder}", "dataset=csv", "dataset.name=mine", f"dataset.root={other}", "dataset.table=table.csv"]
    with pytest.raises(InputError, match=rf"{trained_on} of the 24 recordings of 'mine' \(all\) were trained on"):
        evaluate(compose([*again, "device=cpu"], "evaluate"))
    evaluate(compose([*again, "device=cpu", "eval.allow_overlap=true"], "evaluate"))
    rows = json.loads((folder / "result.json").read_text())["evals"]
    assert {row["overlap"] for row in rows if row["corpus"] == "mine"} == {trained_on}


def test_the_size_of_evaluation_batches_does_not_change_the_trained_model(tmp_path: Path) -> None:
    """In bf16 the batch size changes the third digit of a score, and scores on dev choose the epoch."""
    root = corpus(tmp_path / "c", each=9)
    settings = ("trainer.precision=bf16", "trainer.epochs=2", "dataset.folds=4")
    runs = [train(tmp_path / size, root, *settings, f"eval.batch_size={size}")[0] for size in ("1", "32")]
    assert runs[0].name == runs[1].name
    one, other = ({path: digest for path, digest in outcome(run).items() if "result" not in path} for run in runs)
    learned = {"metrics.csv", "model/model.safetensors", "fold.json"}
    assert {path: one[path] for path in learned} == {path: other[path] for path in learned}


def test_the_size_of_evaluation_batches_does_not_change_predictions(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c", each=9)
    folder, result = train(tmp_path / "runs", root, "eval.batch_size=32", "dataset.folds=4")
    together = pd.read_csv(folder / result["evals"][0]["predictions"])
    typed = [f"run={folder}", "dataset=csv", f"dataset.root={root}", "dataset.table=table.csv", "device=cpu"]
    evaluate(compose([*typed, "eval.batch_size=1", "dataset.folds=4"], "evaluate"))
    alone = pd.read_csv(folder / "predictions" / "csv.csv")
    assert list(alone["utterance"]) == list(together["utterance"])
    assert np.abs(alone[list(CLASSES)] - together[list(CLASSES)]).to_numpy().max() < 1e-4
