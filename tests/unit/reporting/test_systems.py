"""Runs of a report: their systems, and the summaries, comparisons and ranks of these."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melt_ser.evaluation.results import ONE_SPEAKER
from melt_ser.reporting.collect import collect
from melt_ser.reporting.matrix import matrices
from melt_ser.reporting.overview import figure, system_scores
from melt_ser.reporting.systems import method_names, system_names
from report_runs import answering, copy, edit, rename, report, results


def test_runs_with_other_seeds_are_one_system_and_systems_are_named_by_their_differences(runs: Path) -> None:
    found = collect([runs]).runs
    names = system_names(found)
    by_seed: dict[str, list[int]] = {}
    for run in found:
        by_seed.setdefault(names[run.system] + " on " + run.result.train.corpus, []).append(run.result.run.seed)
    assert {name: sorted(seeds) for name, seeds in by_seed.items()} == {
        "hubert_tiny_random linear epochs=2 on first": [0, 1],
        "hubert_tiny_random mlp epochs=2 on first": [0],
        "hubert_tiny_random linear epochs=1 on second": [0],
    }


def test_systems_of_the_same_groups_are_named_by_their_settings(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    copy(one, tmp_path / "a")
    copy(one, tmp_path / "b", lambda result: result["config"]["trainer"].update(epochs=7))
    copy(one, tmp_path / "c", lambda result: result["config"].update(out="elsewhere", device="cuda"))
    assert sorted(system_names(collect([tmp_path]).runs).values()) == [
        "hubert_tiny_random epochs=2",
        "hubert_tiny_random epochs=7",
    ]


def mixed_runs(one: Path, folder: Path) -> Path:
    """Copy a run with other trainers, heads, labels, checkpoints, data and balance, on two corpora and two seeds."""
    changes: dict[str, dict[str, Any]] = {
        "plain": {},
        "frozen": {"trainer": {"name": "frozen", "freeze": "everything", "backbone_learning_rate": 0.0}},
        "labels": {"labels": {"name": "four", "classes": {"angry": ["angry"], "happy": ["happy"]}}},
        "balance": {"trainer": {"balance": "sampling"}},
        "checkpoint": {"backbone": {"checkpoint": "facebook/hubert-base-ls960"}},
        "data": {"dataset": {"label_file": "/labels/ours.csv"}},
    }

    def changed(name: str, corpus: str, seed: int) -> Any:
        def change(result: dict[str, Any]) -> None:
            rename(result, corpus)
            result["run"]["seed"] = result["config"]["seed"] = seed
            for group, settings in changes[name].items():
                result["config"][group].update(settings)

        return change

    for name in changes:
        for corpus in ("first", "third") if name in ("plain", "frozen") else ("first",):
            for seed in (0, 1):
                copy(one, folder / f"{name}-{corpus}-{seed}", changed(name, corpus, seed))
    return folder


def test_no_two_systems_share_a_name_and_each_has_one_name_everywhere(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    found = collect([mixed_runs(one, tmp_path)]).runs
    names = system_names(found)
    assert len({(names[run.system], run.result.train.corpus) for run in found}) == len(names) == 8
    by_folder = {run.folder.name.rsplit("-", 1)[0]: names[run.system] for run in found}
    assert by_folder["plain-first"] == "hubert_tiny_random finetune native balance=loss"
    assert by_folder["plain-third"] == by_folder["plain-first"]
    assert by_folder["frozen-third"] == "hubert_tiny_random frozen native"
    assert by_folder["checkpoint-first"].endswith("checkpoint=hubert-base-ls960 balance=loss")
    assert by_folder["data-first"].endswith("label_file=ours.csv")
    assert set(method_names(found).values()) == {name.split(" label_file")[0] for name in names.values()}
    assert {one.system for one in system_scores(found)} == set(names.values())
    for form in ("csv", "md", "html"):
        text = report(tmp_path, "--format", form, capsys=capsys)[1].replace("\\", "")
        assert all(name in text for name in names.values()), form


def test_a_name_does_not_repeat_the_head_and_the_augmentation_that_its_trainer_brings(
    runs: Path, tmp_path: Path
) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    chosen = {
        "probe": ("probe", "probe", "nothing"),
        "finetune": ("finetune", "one_layer", "speed"),
        "other_head": ("finetune", "mlp", "speed"),
        "own": ("my_trainer", "probe", "nothing"),  # it is not in `conf`, so nothing is known of what it brings
    }
    for folder, (trainer, head, augment) in chosen.items():

        def change(result: dict[str, Any], names: tuple[str, ...] = (trainer, head, augment)) -> None:
            for group, name in zip(("trainer", "head", "augment"), names, strict=True):
                result["config"][group]["name"] = name
            result["config"]["trainer"]["epochs"] = len(names[0])
            result["config"]["head"]["hidden_sizes"] = [len(names[1])]

        copy(one, tmp_path / folder, change)
    found = collect([tmp_path]).runs
    names = {run.folder.name: name for run, name in ((run, system_names(found)[run.system]) for run in found)}
    assert names == {
        "probe": "hubert_tiny_random trainer=probe",
        "finetune": "hubert_tiny_random finetune",
        "other_head": "hubert_tiny_random finetune mlp",
        "own": "hubert_tiny_random my_trainer head=probe augment=nothing",
    }


def test_a_name_lists_at_most_three_settings_and_prefers_those_that_are_rare(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    settings: list[dict[str, Any]] = [
        {},
        {"epochs": 7},
        {"batch_size": 3},
        {"weight_decay": 0.5},
        {"warmup_fraction": 0.2},
        {"epochs": 9, "batch_size": 5, "weight_decay": 0.7, "warmup_fraction": 0.3},
    ]
    for number, changed in enumerate(settings):
        copy(one, tmp_path / str(number), lambda result, new=changed: result["config"]["trainer"].update(new))
    names = {run.folder.name: name for run in collect([tmp_path]).runs for name in [system_names([run])[run.system]]}
    assert set(names.values()) == {"hubert_tiny_random"}  # alone, each needs no more than its backbone
    found = collect([tmp_path]).runs
    told = {run.folder.name: system_names(found)[run.system] for run in found}
    assert told["0"] == "hubert_tiny_random" and told["1"] == "hubert_tiny_random epochs=7"
    assert re.fullmatch(r"hubert_tiny_random #\w{6}", told["5"])


def test_seeds_are_summarised_and_pooled_folds_are_not_counted_again(runs: Path) -> None:
    found = system_scores(collect([runs]).runs)
    linear = [one for one in found if "linear" in one.system and one.train == "first"]
    assert {(one.corpus, one.answer_set) for one in linear} == {
        ("first", "closed = open"),
        ("second", "closed"),
        ("second", "open"),
    }
    for one in linear:
        values = [
            row["ua"]
            for result in results(runs).values()
            for row in result["evals"]
            if result["config"]["head"]["name"] == "linear"
            and result["train"]["corpus"] == "first"
            and (row["corpus"], row["fold"]) in ((one.corpus, "all"), (one.corpus, "mean"))
            and row["answer_set"] == one.answer_set.split()[0]
        ]
        assert (one.summary.over, one.summary.count) == ("seed", 2)
        assert one.summary.mean["ua"] == pytest.approx(np.mean(values))
        assert one.summary.standard_deviation["ua"] == pytest.approx(np.std(values, ddof=1))


def test_a_copy_of_a_run_is_no_further_seed(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = next(folder for folder, result in results(runs).items() if result["train"]["corpus"] == "second")
    copy(one, tmp_path / "a" / one.name)
    copy(one, tmp_path / "b" / one.name)
    for form in ("md", "html"):
        code, text, said = report(tmp_path, "--format", form, capsys=capsys)
        assert code == 0
        assert f"left out: {tmp_path / 'b' / one.name}: the same run as {tmp_path / 'a' / one.name}" in said
        assert "Copies of runs" in text and "2 seeds" not in text


def test_other_data_of_the_same_name_is_another_system(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["train"]["corpus"] == "second")
    copy(one, tmp_path / "a" / one.name)
    copy(one, tmp_path / "b" / one.name, lambda result: result["train"].update(digest="beef" * 16))
    found = collect([tmp_path]).runs
    assert len(found) == len({run.system for run in found}) == 2
    assert all(re.search(r" digest=\w{6}$", name) for name in system_names(found).values())


def test_test_sets_of_the_same_name_are_not_summarised_together(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["train"]["corpus"] == "second")

    def other_table(result: dict[str, Any]) -> None:
        result["run"]["seed"] = result["config"]["seed"] = 7
        for row in result["evals"]:
            row["digest"] = "beef" * 16

    copy(one, tmp_path / "a")
    copy(one, tmp_path / "b", other_table)
    found = system_scores(collect([tmp_path]).runs)
    assert [one.summary.count for one in found] == [1, 1]
    [matrix] = matrices(found)
    assert len(matrix.columns) == 2


def test_folds_that_were_run_one_by_one_are_summarised_over_folds(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["train"]["corpus"] == "second")

    def of_fold(number: int) -> Any:
        def change(result: dict[str, Any]) -> None:
            result["config"]["dataset"]["fold"] = number
            for row in result["evals"]:
                row.update(fold=number, ua=number / 10)

        return change

    for number in (1, 2, 3):
        copy(one, tmp_path / str(number), of_fold(number))
    [standing] = system_scores(collect([tmp_path]).runs)
    assert (standing.summary.over, standing.summary.count, standing.fold) == ("fold", 3, "1, 2, 3")
    assert standing.summary.mean["ua"] == pytest.approx(0.2)


def test_folds_of_one_speaker_each_are_compared_over_the_speakers_of_all(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["train"]["corpus"] == "second")
    for head, sizes in (("right", [5]), ("wrong", [7])):
        for number in (1, 2, 3, 4):

            def of_fold(result: dict[str, Any], number: int = number, sizes: list[int] = sizes) -> None:
                result["config"]["dataset"]["fold"] = number
                result["config"]["head"]["hidden_sizes"] = sizes
                for row in result["evals"]:
                    row.update(fold=number, ci_unit="utterance")

            folder = copy(one, tmp_path / f"{head}{number}", of_fold)
            answering(folder, head == "right")
            for path in (folder / "predictions").glob("*.csv"):
                table = pd.read_csv(path, dtype=str)
                table["utterance"] = f"{number}/" + table["utterance"]
                table.assign(speaker=f"s{number}").to_csv(path, index=False)
    for matrix in matrices(system_scores(collect([tmp_path]).runs)):
        assert matrix.notes == [] and "Speakers are resampled." in matrix.compared, matrix
        [comparison] = [cell.comparison for cell in matrix.cells if cell.comparison is not None]
        assert (comparison.unit, comparison.units) == ("speaker", 4)


def test_a_mean_over_seeds_has_its_interval_beside_its_spread(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next(folder for folder, result in results(runs).items() if result["train"]["corpus"] == "second")
    for seed, bounds in ((1, [0.2, 0.6]), (2, [0.3, 0.8])):
        edit(
            copy(one, tmp_path / str(seed)),
            lambda row, at=bounds: row.update(ua=sum(at) / 2, ua_ci95=at, interval_note=ONE_SPEAKER),
        )
        result = json.loads((tmp_path / str(seed) / "result.json").read_text())
        result["run"]["seed"] = result["config"]["seed"] = seed
        (tmp_path / str(seed) / "result.json").write_text(json.dumps(result))
    [score] = system_scores(collect([tmp_path]).runs)
    assert figure(score, "ua") == "47.5 ± 10.6 [25.0, 70.0]¹"  # its fold has one speaker
    assert figure(score, "ua", interval=False) == "47.5 ± 10.6"
    text = report(tmp_path, capsys=capsys)[1]
    assert r"47.5 ± 10.6 \[25.0, 70.0\]¹" in text and "¹ over the utterances of one speaker" in text
    for folder in (tmp_path / "1", tmp_path / "2"):
        edit(folder, lambda row: row.update(ci_unit="speaker", interval_note=""))
    assert figure(system_scores(collect([tmp_path]).runs)[0], "ua").endswith("]ˢ")
    edit(tmp_path / "2", lambda row: row.update(ua_ci95=None, interval_note="No interval of UA: a reason."))
    assert figure(system_scores(collect([tmp_path]).runs)[0], "ua") == "47.5 ± 10.6 [–]"
    assert "[–] on second: no interval, since a reason." in report(tmp_path, capsys=capsys)[1]
