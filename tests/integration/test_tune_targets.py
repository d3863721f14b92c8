"""`tune` for attributes, votes and several targets: the score that chooses an epoch chooses the trial."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from melt_ser.reporting.collect import collect
from melt_ser.train import main as train
from small_runs import CLASSES, corpus, typed
from small_studies import study_of, tune, words

pytestmark = pytest.mark.slow

pytest.importorskip("optuna", reason="optuna is not installed: pip install 'melt-ser[tune]'")

RATES = "trainer.head_learning_rate: [0.01, 0.0001, 0.0]\n"
FROZEN = ("trainer=frozen", "trainer.epochs=3", "labels=native")
VOTES = [f"+dataset.votes.{name}=n_{name}" for name in CLASSES]
TARGETS = {
    "attributes": ("ccc", "CCC", ()),
    "distribution": ("-kl", "-KL", VOTES),
    "several": ("ua+ccc", "UA and CCC", ()),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones with a label, two attributes that follow from it, and votes for each class."""
    folder = corpus(tmp_path_factory.mktemp("corpus") / "c", each=9)
    table = pd.read_csv(folder / "table.csv")
    generator = np.random.default_rng(0)
    for number, name in enumerate(("arousal", "valence")):
        table[name] = [
            1 + 2 * CLASSES.index(label) + generator.normal(0, 0.5) * (number + 1) for label in table["label"]
        ]
    for name in CLASSES:
        table[f"n_{name}"] = generator.integers(0, 3, len(table)) + 3 * (table["label"] == name)
    table.to_csv(folder / "table.csv", index=False)
    return folder


def test_a_probe_of_attributes_is_searched_without_the_method_that_is_for_classes(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search = [*typed(tmp_path / "runs", root, "trainer=probe", "dataset.target=attributes"), "--study", "small"]
    assert tune(monkeypatch, *search) == 0
    trials = study_of(tmp_path)
    assert len(trials) == 6 and "trainer.method" not in trials
    own = tmp_path / "own.yaml"
    own.write_text("trainer.method: [logistic_regression, linear_svm]\n")
    capsys.readouterr()
    assert tune(monkeypatch, *search, "--space", str(own)) == 2
    assert "with trainer.method=linear_svm: trainer.method=linear_svm is for classes" in capsys.readouterr().err


@pytest.mark.parametrize("target", TARGETS)
def test_the_trial_with_the_best_score_of_the_target_is_chosen_named_and_trained_again(
    target: str, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metric, label, settings = TARGETS[target]
    search = words(tmp_path, root, RATES, *FROZEN, f"dataset.target={target}", *settings)
    assert tune(monkeypatch, *search) == 0
    shown, said = capsys.readouterr()
    trials = study_of(tmp_path)
    assert list(trials["state"]) == ["finished"] * 3
    assert f"The best trials by dev {label} (3 finished)" in shown
    best = trials.loc[trials[f"dev_{metric}"].idxmax()]
    assert re.search(
        rf"^trial 0 .*: dev {label} -?\d\.\d{{3}} in .* \(best: -?\d\.\d{{3}}, trial 0\)$", said, re.MULTILINE
    )
    assert f"best: trial {best['trial']}, dev {label} {best[f'dev_{metric}']:.3f}: " in said
    assert f"the best dev {label} is too high" in said and "dev UA (%)" not in shown
    assert ("The standard error of such a CCC is about 0." in said) == (target == "attributes")
    [command] = re.findall(r"^run it: python -m melt_ser.train (.*)$", said, re.MULTILINE)
    monkeypatch.setattr(sys, "argv", ["melt_ser.train", *shlex.split(command)])
    assert train() == 0
    [run] = collect([tmp_path / "runs"]).runs
    assert (run.result.train.target, run.result.train.dev_metric) == (target, metric)
    assert run.result.train.dev_value == pytest.approx(best[f"dev_{metric}"], abs=1e-5)
    capsys.readouterr()
    assert tune(monkeypatch, *search, "--trials", "0") == 0  # the outcomes can be read again
    assert f"best: trial {best['trial']}, dev {label} {best[f'dev_{metric}']:.3f}: " in capsys.readouterr().err


def test_the_score_rises_over_folds_also_if_it_is_negative(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    settings = ("dataset.target=distribution", "dataset.folds=2", "dataset.fold=all", *VOTES)
    space = "trainer.head_learning_rate: [0.01]\n"
    assert tune(monkeypatch, *words(tmp_path, root, space, *FROZEN, *settings)) == 0
    storage = f"sqlite:///{tmp_path}/runs/tune/small/study.db"
    [trial] = optuna.load_study(study_name="small", storage=storage).trials
    values = list(trial.intermediate_values.values())
    assert len(values) == 7 and values == sorted(values)  # three epochs of two folds, and the end of the first
    assert trial.value == pytest.approx(values[-1]) and -1 < trial.value < 0


def test_a_range_test_suggests_rates_for_attributes(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    assert (
        tune(monkeypatch, *typed(tmp_path, root, *FROZEN, "dataset.target=attributes"), "--range", "--steps", "20") == 0
    )
    table = pd.read_csv(next(tmp_path.rglob("range.csv")))
    assert len(table) == 20 and np.isfinite(table["loss"]).all()
