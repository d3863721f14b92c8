"""Make runs for tests of the report: a few real runs on tones, and copies of them with other figures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import small_runs
from melt_ser.cli.compose import compose
from melt_ser.evaluate import evaluate
from melt_ser.report import main

SCORES = {  # UA of three backbones by (training, test)
    ("first", "first"): (0.9, 0.8, 0.7),
    ("first", "second"): (0.5, 0.4, 0.6),
    ("second", "second"): (0.7, 0.6, 0.1),
}
EMOBOX_RUN = {  # settings with which a run has the protocol of EmoBox's HuBERT-base
    "backbone": {"family": "hubert", "checkpoint": "facebook/hubert-base-ls960"},
    "dataset": {"folds": "emobox"},
    "trainer": {"freeze": "everything"},
    "labels": {"name": "four"},
}
HOSTILE = '<script>alert(1)</script> & $x_1$ 50% \\end{x} `a|b` "q"'


def real_runs(folder: Path) -> Path:
    """Train a system with two seeds, a second system, and one on another corpus; return the folder of the runs.

    The first two systems are tested on both corpora.
    """
    first = small_runs.corpus(folder / "first", speakers=4, each=6)
    second = small_runs.corpus(folder / "second", speakers=3, each=6, classes=("angry", "happy"), seed=1)
    out = folder / "runs"
    own = ["dataset.name=first", "dataset.folds=2", "dataset.fold=all"]
    runs = [small_runs.train(out, first, *own, f"seed={seed}", "trainer.epochs=2")[0] for seed in (0, 1)]
    runs.append(small_runs.train(out, first, *own, "head=mlp", "trainer.epochs=2")[0])
    small_runs.train(out, second, "dataset.name=second", "dataset.folds=3")
    for run in runs:
        typed = ["dataset=csv", "dataset.name=second", f"dataset.root={second}", "dataset.table=table.csv"]
        evaluate(compose([f"run={run}", "device=cpu", *typed], "evaluate"))
    return out


def results(folder: Path) -> dict[Path, dict[str, Any]]:
    """Return the results below a folder, by the folder of their run."""
    return {path.parent: json.loads(path.read_text()) for path in sorted(folder.rglob("result.json"))}


def copy(run: Path, to: Path, change: Callable[[dict[str, Any]], None] = lambda result: None) -> Path:
    """Copy a run without its models, with the folder's name as its id; `change` edits its result."""
    shutil.copytree(run, to, ignore=shutil.ignore_patterns("model"))
    result = json.loads((to / "result.json").read_text())
    result["run"]["id"] = to.name
    change(result)
    (to / "result.json").write_text(json.dumps(result))
    return to


def as_older(run: Path) -> None:
    """Rewrite a run of several folds as an older one: models pooled on other corpora, and files of groups."""
    result = json.loads((run / "result.json").read_text())
    result["evals"] = [row for row in result["evals"] if row["fold"] != "ensemble"]
    (run / "groups").mkdir()
    for row in result["evals"]:
        models = row.pop("models")
        row.pop("spread")
        path = run / row["predictions"]
        table = pd.read_csv(path, dtype={"fold": str})
        if row["fold"] == "mean":
            row |= {"fold": "all", "n": models * row["n"]}
            row["confusion"] = [[round(models * count) for count in line] for line in row["confusion"]]
            row["predicted"] = {name: round(models * count) for name, count in row["predicted"].items()}
            for point in row["calibration"]["curve"]:
                point["n"] = round(models * point["n"])
        row["groups"] = f"groups/{path.name}"
        if "speaker" not in table:
            continue  # the other answer set's row had the same file
        if table["utterance"].duplicated().any():
            table["utterance"] += "#" + table["fold"]
        table.rename(columns={"speaker": "group"})[["utterance", "group"]].to_csv(run / row["groups"], index=False)
        table.drop(columns=["file", "speaker", "fold", "correct"]).to_csv(path, index=False)
    (run / "result.json").write_text(json.dumps(result))


def answering(run: Path, right: bool) -> None:
    """Make all predictions of a run right or wrong, and set its UA and WA to 1 or 0."""
    result = json.loads((run / "result.json").read_text())
    closed = {row["predictions"]: row["classes"] for row in result["evals"] if row["answer_set"] == "closed"}
    for path, answers in closed.items():
        table = pd.read_csv(run / path)
        classes = result["train"]["classes"]
        for number, reference in enumerate(table["reference"]):
            answer = reference if right else answers[answers.index(reference) - 1]
            table.loc[number, classes] = [float(name == answer) for name in classes]
        table.to_csv(run / path, index=False)
    for row in result["evals"]:
        row["ua"] = row["wa"] = float(right)
    (run / "result.json").write_text(json.dumps(result))


def edit(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change each evaluation of a run's result."""
    result = json.loads((run / "result.json").read_text())
    for row in result["evals"]:
        change(row)
    (run / "result.json").write_text(json.dumps(result))


def rename(result: dict[str, Any], corpus: str) -> None:
    """Give the training corpus of a result another name, as a user's own corpus may have."""
    before = result["train"]["corpus"]
    result["train"]["corpus"] = result["config"]["dataset"]["name"] = corpus
    for row in result["evals"]:
        row["corpus"] = corpus if row["corpus"] == before else row["corpus"]


def scored(one: Path, folder: Path, scores: dict[tuple[str, str], tuple[float, ...]] = SCORES) -> Path:
    """Copy a run of `real_runs` for each training corpus and each of the backbones a, b, c, with the UA of `scores`."""

    def with_scores(train: str, number: int) -> Callable[[dict[str, Any]], None]:
        def change(result: dict[str, Any]) -> None:
            result["config"]["backbone"]["name"] = "abc"[number]
            result["config"]["dataset"].update(name=train, split_seed=len(train))
            result["train"]["corpus"] = train
            rows = [row for row in result["evals"] if row["corpus"] == "second" and row["fold"] == "mean"]
            result["evals"] = [
                {**row, "corpus": test, "ua": values[number]}
                for (own, test), values in scores.items()
                if own == train
                for row in rows
            ]

        return change

    for train in dict.fromkeys(train for train, _ in scores):
        for number in range(3):
            copy(one, folder / f"{train}-{'abc'[number]}", with_scores(train, number))
    return folder


def report(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run `report`; return its exit code, standard output and standard error."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err
