"""`tune`: real searches on dev, from the command to the run of the best settings; the test part is never read."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from melt_ser.cli.compose import load_config
from melt_ser.data import datasets
from melt_ser.reporting.collect import collect
from melt_ser.runs.plan import make_plan
from melt_ser.train import main as train
from melt_ser.training.features import FeatureCache
from small_runs import corpus, typed
from small_studies import FROZEN, HEADS, RATES, noisy, study_of, tune, words
from stopped_runs import stop

pytestmark = pytest.mark.slow

optuna = pytest.importorskip("optuna", reason="optuna is not installed: pip install 'melt-ser[tune]'")

DEAD = "trainer.head_learning_rate: [0.01, 0.0]\n"  # one that learns, and one that does not


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noisy(tmp_path_factory.mktemp("corpus") / "c")


@pytest.mark.parametrize("own_yamls", [False, True])
def test_a_search_ends_in_a_table_a_plot_and_a_yaml_that_runs_to_the_same_dev_ua(
    own_yamls: bool, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf" / "head").mkdir(parents=True)
    (tmp_path / "conf" / "head" / "mine.yaml").write_text("defaults: [mlp]\nname: mine\nhidden_sizes: [8]\n")
    own = ["--config-dir", str(tmp_path / "conf")] if own_yamls else []
    space = RATES + ("head: [mine]\n" if own_yamls else HEADS)
    assert tune(monkeypatch, *own, *words(tmp_path, root, space, *FROZEN, "--trials", "4")) == 0
    shown, said = capsys.readouterr()
    trials = study_of(tmp_path)
    assert list(trials["state"]) == ["finished"] * 4
    assert "The best trials by dev UA (4 finished)" in shown
    assert shown.splitlines()[-1] == f"result: {tmp_path}/runs/tune/small/study.csv"
    assert re.search(r"note: 4 trials were compared on one dev part \(\d+ utterances of \d speakers?\): the best", said)
    folder = tmp_path / "runs" / "tune" / "small"
    assert (folder / "search.png").read_bytes().startswith(b"\x89PNG")
    assert not [path for path in folder.rglob("*") if path.suffix in (".safetensors", ".pt")]  # no model is kept
    assert not list(folder.glob(".trial*"))
    found = collect([tmp_path / "runs"])
    assert (found.runs, found.unfinished, found.failed) == ([], [], [])  # trials are no runs

    [command] = re.findall(r"^run it: python -m melt_ser.train (.*)$", said, re.MULTILINE)
    monkeypatch.setattr(sys, "argv", ["melt_ser.train", *shlex.split(command)])
    assert train() == 0
    [run] = collect([tmp_path / "runs"]).runs
    best = trials.loc[trials["dev_ua"].idxmax()]
    assert run.result.train.dev_ua == pytest.approx(best["dev_ua"])
    assert run.result.config["head"]["name"] == best["head"]
    assert run.result.config["trainer"]["head_learning_rate"] == best["trainer.head_learning_rate"]
    [file] = (folder / "best" / "experiment").glob("*.yaml")
    assert {"override /head": best["head"]} in yaml.safe_load(file.read_text())["defaults"]


@pytest.mark.parametrize(
    ("settings", "space"),
    [
        (FROZEN, HEADS),
        (("trainer=probe", "dataset.folds=leave_one_out"), "head.pooling: [mean, statistics]"),
        (("augment=light", "trainer.epochs=2", "dataset.folds=leave_one_out"), "trainer.weight_decay: [0.0, 0.01]"),
    ],
    ids=["frozen", "probe", "finetune"],
)
def test_no_trial_reads_a_test_clip(
    settings: Sequence[str], space: str, tmp_path: Path, root: Path, empty_cache: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()

    def noted(path: Path, *others: Any, **named: Any) -> Any:
        read.add(Path(path).name)
        return whole(path, *others, **named)

    whole = datasets.read_audio
    monkeypatch.setattr(datasets, "read_audio", noted)
    assert tune(monkeypatch, *words(tmp_path, root, space, *settings, "--trials", "2")) == 0
    [split] = make_plan(load_config(*typed(tmp_path / "runs", root, *settings))).splits
    assert len(split.test) == 12
    assert read == {Path(name).name for part in (split.train, split.dev) for name in part["audio"]}


def test_labels_of_the_test_part_change_nothing(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [split] = make_plan(load_config(*typed(tmp_path / "runs", root, *FROZEN))).splits
    other = noisy(tmp_path / "other")
    table = pd.read_csv(other / "table.csv")
    is_test = table["audio"].isin(split.test["audio"])
    table.loc[is_test, "label"] = list(table.loc[is_test, "label"])[::-1]  # the split is drawn by speakers
    assert table["label"].tolist() != pd.read_csv(root / "table.csv")["label"].tolist()
    table.to_csv(other / "table.csv", index=False)
    for name, place in (("one", root), ("two", other)):
        assert tune(monkeypatch, *words(tmp_path / name, place, RATES, *FROZEN, "--trials", "2")) == 0
    one, two = (study_of(tmp_path / name).drop(columns="seconds") for name in ("one", "two"))
    assert one.equals(two)


def test_a_frozen_backbone_is_computed_once_for_all_trials(
    tmp_path: Path, root: Path, empty_cache: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[Path] = []
    write = FeatureCache._write

    def counted(cache: FeatureCache, folder: Path, *others: Any) -> None:
        written.append(folder)
        write(cache, folder, *others)

    monkeypatch.setattr(FeatureCache, "_write", counted)
    search = words(tmp_path, root, RATES, *FROZEN)
    assert tune(monkeypatch, *search, "--trials", "3") == 0
    assert len(written) == 1
    assert len(study_of(tmp_path)) == 3
    assert tune(monkeypatch, *search, "--trials", "4") == 0  # the same command goes on
    assert len(written) == 1
    assert len(study_of(tmp_path)) == 4
    assert "(3 trials so far; searched: trainer.head_learning_rate;" in capsys.readouterr().err


@pytest.mark.parametrize("pruning", [[], ["--no-pruning"]])
def test_a_trial_that_learns_nothing_is_pruned(
    pruning: list[str], tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("melt_ser.tuning.study.PATIENT_TRIALS", 1)
    settings = ("trainer=frozen", "trainer.epochs=20", "dataset.folds=leave_one_out", "seed=1")
    assert tune(monkeypatch, *words(tmp_path, root, DEAD, *settings, *pruning)) == 0
    trials = study_of(tmp_path)
    assert list(trials["trainer.head_learning_rate"]) == [0.01, 0.0]  # in this order with seed 1
    assert list(trials["state"]) == ["finished", "finished" if pruning else "pruned"]
    epochs = {
        yaml.safe_load(path.with_name("config.yaml").read_text())["trainer"]["head_learning_rate"]: _epochs(path)
        for path in (tmp_path / "runs" / "tune" / "small" / "trials").glob("*/config.yaml")
    }
    assert epochs[0.01] == 20
    assert epochs[0.0] == (20 if pruning else 0)


def _epochs(config: Path) -> int:
    """Return the number of epochs in metrics.csv, which a head on cached features writes after each tenth epoch."""
    path = config.with_name("metrics.csv")
    return len(pd.read_csv(path)) if path.is_file() else 0


def test_a_search_over_folds_scores_their_mean(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("trainer=probe", "dataset.folds=leave_one_out", "dataset.fold=all")
    assert tune(monkeypatch, *words(tmp_path, root, "trainer.balance: [loss]", *settings)) == 0
    said = capsys.readouterr().err
    assert "compared on the dev parts of 4 folds (" in said
    assert "The dev part of one fold is tested on in another" in said
    storage = f"sqlite:///{tmp_path / 'runs' / 'tune' / 'small' / 'study.db'}"
    [trial] = optuna.load_study(study_name="small", storage=storage).trials
    assert list(trial.intermediate_values) == [9_999, 19_999, 29_999]
    values = [0.0, *trial.intermediate_values.values(), trial.value]
    folds = [4 * (after - before) for before, after in itertools.pairwise(values)]
    assert [
        json.loads((path / "probe.json").read_text())["dev_ua"]
        for path in sorted((tmp_path / "runs").glob("tune/small/trials/*/folds/*"))
    ] == pytest.approx(folds)


def test_every_combination_of_a_small_space_is_tried_once(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = "head.pooling: [mean, statistics]\ntrainer.balance: [loss, nothing]\n"
    search = words(tmp_path, root, space, "trainer=probe", "dataset.folds=leave_one_out")
    assert tune(monkeypatch, *search) == 0
    trials = study_of(tmp_path)
    assert len(trials) == 4
    assert len(trials[["head.pooling", "trainer.balance"]].drop_duplicates()) == 4


def test_a_trial_finds_the_seconds_of_auto_once_and_keeps_them(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (*FROZEN, "trainer.step_seconds=auto", "--trials", "1")
    assert tune(monkeypatch, *words(tmp_path / "cpu", root, RATES, *settings[:-1], "3")) == 2
    assert "this device is cpu; give a number of seconds, such as trainer.step_seconds=120" in capsys.readouterr().err

    search, found = words(tmp_path, root, RATES, *settings), []
    with monkeypatch.context() as patch:
        patch.setattr("melt_ser.runs.step_seconds.can_measure", lambda _: True)
        patch.setattr("melt_ser.training.largest_step.largest_step_seconds", lambda *_: found.append(1) or 1)
        patch.setattr("melt_ser.runs.fold.fit", stop)
        assert tune(patch, *search) == 130
    assert tune(monkeypatch, *search) == 0  # goes on even without a GPU
    assert list(study_of(tmp_path)["state"]) == ["stopped", "finished"] and found == [1]
    [written] = tmp_path.glob("runs/tune/small/trials/*/config.yaml")
    assert yaml.safe_load(written.read_text())["trainer"]["step_seconds"] == 1
    assert collect([tmp_path / "runs"]).unfinished == []  # a trial is no run


def test_a_changed_corpus_or_space_is_another_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = corpus(tmp_path / "c")
    search = words(tmp_path, root, RATES, *FROZEN, "--trials", "1")
    assert tune(monkeypatch, *search) == 0
    (tmp_path / "space.yaml").write_text(HEADS)
    assert tune(monkeypatch, *search) == 1
    assert "The study 'small' was begun with another space; choose another --study." in capsys.readouterr().err
    (tmp_path / "space.yaml").write_text(RATES)
    table = pd.read_csv(root / "table.csv")
    table.iloc[1:].to_csv(root / "table.csv", index=False)
    assert tune(monkeypatch, *search) == 1
    assert "was begun with another corpus" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--trails", "5"], "There is no option --trails; did you mean '--trials'?"),
        (["--multirun"], "tune searches by itself; leave --multirun out"),
        (["--steps", "20"], "--steps is for --range"),
        (["--range", "--trials", "5"], "--trials has no effect with --range"),
        (["--space", "nowhere.yaml"], "--space nowhere.yaml cannot be read: No such file or directory"),
        (["trainer.epochz=3"], "There is no key 'epochz' in 'trainer'; did you mean 'epochs'?"),
        (["force=true"], "force=true is for train; to begin a search again, choose another --study."),
        (["experiment=superb_er"], "tune takes one configuration, and this experiment is a sweep; add hydra.mode=RUN."),
        (["trainer=probe", "--range"], "trainer=probe takes no steps, so it has no learning rate"),
        (["--storage", "nosql://x"], "--storage nosql://x cannot be opened"),
        (["--study", "a/b"], "--study 'a/b' cannot name files and folders"),
    ],
)
def test_a_mistake_is_one_sentence_before_the_first_trial(
    more: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(HEADS)
    space = [] if {"--range", "--space"} & set(more) else ["--space", "s.yaml"]
    typed_words = ["backbone=hubert_tiny_random", "device=cpu", "out=runs", *space, *more]
    if "trainer=probe" not in more:
        typed_words.append("trainer=frozen")
    assert tune(monkeypatch, *typed_words) == 2
    said = capsys.readouterr().err
    assert f"error: {sentence}" in said
    assert not list(tmp_path.glob("runs/tune/*/study.db"))


@pytest.mark.parametrize(
    ("settings", "parts"),
    [(("trainer=frozen",), ["head"]), (("trainer.freeze=nothing", "head=linear"), ["head", "backbone"])],
)
def test_a_range_test_raises_the_rates_and_suggests_values(
    settings: Sequence[str],
    parts: list[str],
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    search = typed(tmp_path / "runs", root, *settings, "dataset.folds=leave_one_out")
    assert tune(monkeypatch, *search, "--range", "--steps", "40") == 0
    [file] = (tmp_path / "runs" / "tune" / "range").glob("*/range.csv")
    table = pd.read_csv(file)
    assert list(table["part"].unique()) == parts
    for _, curve in table.groupby("part"):
        factors = curve["rate"].to_numpy()[1:] / curve["rate"].to_numpy()[:-1]
        assert factors == pytest.approx(factors[0]) and factors[0] > 1
        assert curve["loss"].iloc[0] == pytest.approx(1.1, abs=0.6)
    assert file.with_name("range.png").is_file()
    said = capsys.readouterr().err
    [rate] = re.findall(r"^trainer.head_learning_rate=(\S+) is a tenth of the rate", said, re.MULTILINE)
    assert 1e-5 < float(rate) < 0.1
