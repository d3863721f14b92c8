"""The study: which trials are pruned and continued, and what its report says of the best."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock
from matplotlib.axes import Axes

pytest.importorskip("optuna", reason="optuna is not installed: pip install 'melt-ser[tune]'")

from melt_ser.config import Config
from melt_ser.core.errors import InputError
from melt_ser.core.files import read_typed
from melt_ser.corpora.fold_split import FoldSplit
from melt_ser.runs.figures import new_figure
from melt_ser.tuning import figures
from melt_ser.tuning.figures import search_figure
from melt_ser.tuning.search import search
from melt_ser.tuning.space import Choice, Range, Space
from melt_ser.tuning.study import Study, storage_url
from melt_ser.tuning.study_report import best_of, best_table, standard_error, trials_table
from melt_ser.tuning.trial import Outcome, Pruned, ReportStep, Trainer

RATES = Space({"trainer.head_learning_rate": Range(1e-4, 1e-2, log=True)}, "a test")


def opened(folder: Path, space: Space = RATES, prune_after: int | None = 2) -> Study:
    return Study(folder, storage_url(None, folder), space, {"space": space.digest}, seed=0, prune_after=prune_after)


def finish(study: Study, dev_ua: float, epochs: int = 5, folds: int = 1) -> None:
    """Begin a trial, report the same dev UA in each epoch of each fold, and end it."""
    begun = study.begin(None)
    assert begun is not None
    for fold in range(folds):
        for epoch in range(1, epochs + 1):
            begun.report(10_000 * fold + epoch, dev_ua * (fold + 1) / folds)
    study.end(begun, Outcome(dev_ua, [1], 0.0))


def test_a_trial_is_pruned_below_the_median_of_five_but_not_in_its_first_epochs(tmp_path: Path) -> None:
    study = opened(tmp_path / "s")
    for dev_ua in (0.5, 0.6, 0.7, 0.8):
        finish(study, dev_ua)
    finish(study, 0.1)  # there are too few to compare it with
    begun = study.begin(None)
    assert begun is not None
    begun.report(1, 0.59)
    begun.report(2, 0.59)
    with pytest.raises(Pruned):
        begun.report(3, 0.59)
    study.end(begun, None)
    finish(study, 0.61)
    assert list(trials_table(study)["state"]) == ["finished"] * 5 + ["pruned", "finished"]


def test_a_search_of_two_workers_gives_up_if_every_trial_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, other, failing = opened(tmp_path / "s"), opened(tmp_path / "s"), Failing()

    def of_the_other_worker(*_: object) -> Config:
        begun = other.begin(None)
        assert begun is not None
        other.end(begun, None, "It fails too.")
        return Config()

    monkeypatch.setattr("melt_ser.tuning.search.configured", of_the_other_worker)
    with pytest.raises(InputError, match="It fails"):
        search(study, failing, [], trials=20, hours=None)
    assert study.count() == 6 and not study.has_score()


class Failing(Trainer):
    """A trainer whose every trial fails."""

    def __init__(self) -> None:
        pass

    def train(self, config: Config, report: ReportStep) -> Outcome:
        raise InputError("It fails.")


def test_a_trial_that_ends_while_another_worker_looks_for_stopped_ones_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending, other = opened(tmp_path / "s"), opened(tmp_path / "s")
    begun = ending.begin(None)
    assert begun is not None
    end = threading.Thread(target=ending.end, args=(begun, Outcome(0.5, [1], 0.0)))
    look_at_lock = Study._lock_of

    def after_the_states(study: Study, number: int) -> FileLock:
        if number == begun.number and not end.ident:
            end.start()
            end.join(timeout=1)
        return look_at_lock(study, number)

    monkeypatch.setattr(other, "_lock_of", partial(after_the_states, other))
    following = other.begin(None)
    end.join()
    assert following is not None
    other.end(following, Outcome(0.6, [1], 0.0))
    assert list(trials_table(other)["state"]) == ["finished", "finished"]


def test_the_figure_of_few_trials_warns_moves_no_value_and_goes_on_to_the_last_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "new_figure", lambda *size: drawn.append(new_figure(*size)) or drawn[-1])
    study = opened(tmp_path / "s", Space({"trainer.batch_size": Choice(("16", "32")), **RATES.settings}, "a test"))
    for dev_ua in (0.5, 0.7, 0.6, 0.8, 0.7):
        finish(study, dev_ua)
    begun = study.begin(None)
    assert begun is not None
    begun.report(1, 0.1)
    study.end(begun, None)
    search_figure(study, tmp_path / "search.png")
    history, importance, *settings = drawn[0].findobj(Axes)
    [setting] = [axes for axes in settings if axes.get_title() == "trainer.batch_size"]
    [best] = [line for line in history.get_lines() if line.get_label() == "the best so far"]
    assert list(best.get_xdata())[-1] == 5 and list(best.get_ydata())[-1] == pytest.approx(80)
    assert (
        "a guess, from few trials" in importance.get_xlabel() and "1 pruned trial left out" in importance.get_xlabel()
    )
    assert {float(line.get_xdata()[0]) for line in setting.get_lines()} <= {0.0, 1.0}


def test_a_long_value_of_a_trial_stays_in_one_line() -> None:
    heads = {
        "trial": [0],
        "state": ["finished"],
        "dev_ua": [0.5],
        "best_epoch": ["1"],
        "head": ["attentive_statistics"],
    }
    table = best_table(pd.DataFrame(heads | {"seconds": [1.0]}), ["head"], "ua")
    assert table.columns[-1].min_width == len("attentive_statistics")


def test_a_trial_is_pruned_in_its_second_fold_by_the_sum_of_both(tmp_path: Path) -> None:
    study = opened(tmp_path / "s")
    for _ in range(5):
        finish(study, 0.6, folds=2)
    begun = study.begin(None)
    assert begun is not None
    for epoch in range(1, 6):
        begun.report(epoch, 0.35)  # the first fold has 70 %, the others 60 %
    begun.report(9_999, 0.35)
    for epoch in (1, 2):  # the first epochs of each fold say little
        begun.report(10_000 + epoch, 0.55)
    with pytest.raises(Pruned):
        begun.report(10_003, 0.59)
    study.end(begun, None)


def test_without_pruning_no_trial_is_pruned(tmp_path: Path) -> None:
    study = opened(tmp_path / "s", prune_after=None)
    for dev_ua in (0.5, 0.6, 0.7, 0.8, 0.9, 0.1):
        finish(study, dev_ua)


def test_a_trial_whose_worker_has_ended_is_begun_again_first(tmp_path: Path) -> None:
    study = opened(tmp_path / "s")
    stopped, beside = study.begin(3), study.begin(3)
    assert stopped is not None and beside is not None
    stopped._lock.release()  # as the system does when a process ends
    other = opened(tmp_path / "s")
    again = other.begin(3)
    assert again is not None and (again.number, again.settings) == (2, stopped.settings)
    assert [trial.state.name for trial in other.trials] == ["FAIL", "RUNNING", "RUNNING"]
    assert other.count() == 2  # the stopped one does not count
    other.end(again, Outcome(0.5, [1], 0.0))
    study.end(beside, Outcome(0.4, [1], 0.0))
    last = other.begin(3)
    assert last is not None and last.number == 3
    assert other.begin(3) is None
    assert list(trials_table(other)["state"]) == ["stopped", "finished", "finished", "running"]


def test_a_search_that_goes_on_draws_as_one_that_was_not_stopped(tmp_path: Path) -> None:
    whole = opened(tmp_path / "whole")
    drawn = []
    for number in range(12):  # the last two by the model of the sampler
        begun = whole.begin(None)
        assert begun is not None
        drawn.append(begun.settings)
        whole.end(begun, Outcome(number / 12, [1], 0.0))
    again = []
    for number in range(12):
        begun = opened(tmp_path / "parts").begin(None)  # each time a new process
        assert begun is not None
        again.append(begun.settings)
        opened(tmp_path / "parts").end(begun, Outcome(number / 12, [1], 0.0))
    assert again == drawn
    assert len({str(settings) for settings in drawn}) == 12


def test_a_small_space_is_tried_in_full_and_in_an_order_of_its_seed(tmp_path: Path) -> None:
    space = Space({"head": Choice(["linear", "mlp"]), "head.dropout": Range(0.0, 0.2, step=0.1)}, "a test")
    study = opened(tmp_path / "s", space)
    tried = []
    for most in (2, 2, 2, *[20] * 9):  # the first two are drawn by the sampler
        begun = study.begin(most)
        if begun is None:
            continue
        tried.append(tuple(begun.settings.values()))
        study.end(begun, Outcome(0.5, [1], 0.0))
    assert sorted(set(tried)) == [(head, dropout) for head in ("linear", "mlp") for dropout in ("0.0", "0.1", "0.2")]
    assert len(tried) <= 7  # the sampler may have drawn one twice
    assert opened(tmp_path / "t", space).begin(0) is None


def test_a_study_of_another_score_names_it_and_the_outcome_of_an_older_trial_is_read(tmp_path: Path) -> None:
    study = Study(tmp_path / "s", storage_url(None, tmp_path / "s"), RATES, {}, 0, None, "-kl")
    for value in (-0.5, -0.3):
        begun = study.begin(None)
        assert begun is not None
        study.end(begun, Outcome(None, [1], 0.0, value))
    assert study.study.best_trial.number == 1 and study.score(-0.3) == "dev -KL -0.300"
    assert list(trials_table(study)["dev_-kl"]) == [-0.5, -0.3]
    (tmp_path / "trial.json").write_text('{"dev_ua": 0.25, "best_epochs": [1], "seconds": 2.0}')
    assert read_typed(tmp_path / "trial.json", Outcome, "").value == 0.25


def test_a_place_without_a_scheme_is_a_sqlite_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage_url("tune.db", tmp_path / "s") == f"sqlite:///{tmp_path}/tune.db"
    assert storage_url(None, tmp_path / "s") == f"sqlite:///{tmp_path}/s/study.db"
    assert storage_url("postgresql://me:secret@host/db", tmp_path) == "postgresql://me:secret@host/db"


def test_the_error_of_a_dev_ua_and_the_luck_of_the_best() -> None:
    dev = pd.DataFrame({"class": ["angry"] * 50 + ["sad"] * 50})
    split = FoldSplit(1, dev, dev, dev[:0])
    assert standard_error(split, 0.5) == pytest.approx(0.05)  # that of a share of 100
    assert 0.0 < standard_error(split, 1.0) < 0.02
    assert best_of(1) == 0.0
    assert best_of(20) == pytest.approx(1.87, abs=0.01)  # the expected maximum of 20 normal numbers
